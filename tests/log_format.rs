//! The bytes of a segment are a contract: old files open, and the same log makes the same bytes.

#![cfg(test)]

mod wal_support;

use std::path::{Path, PathBuf};

use bitacora::os::fake::MemDisk;
use bitacora::types::Index;
use bitacora::wal::Slot;
use bytes::Bytes;
use wal_support::{Rig, State, ignore, options, segment_path};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats/v1/segment.bin")
}

/// One segment with every kind of record but the seal.
fn sample() -> (MemDisk, State) {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    let handle = rig.handle.clone();
    let bytes = Bytes::from_static;
    handle.save(Slot::Vote, bytes(b"a vote"), ignore()).unwrap();
    let payloads = vec![bytes(b"zero"), bytes(b"one"), bytes(b""), bytes(b"three")];
    handle.append(Index::new(0), payloads, ignore()).unwrap();
    rig.process();
    handle.truncate_after(Some(Index::new(2)), ignore()).unwrap();
    handle.append(Index::new(3), vec![bytes(b"three again")], ignore()).unwrap();
    handle.save(Slot::Committed, bytes(b"a hint"), ignore()).unwrap();
    rig.process();
    handle.purge(Index::new(0), bytes(b"a note"), ignore()).unwrap();
    rig.process();
    let state = rig.state().unwrap();
    rig.writer.close().unwrap();
    (disk, state)
}

#[test]
fn the_same_log_makes_the_same_bytes_as_in_version_1() {
    let bytes = sample().0.bytes(&segment_path(1)).unwrap();
    let wanted = std::fs::read(golden()).unwrap();
    let differs = bytes.iter().zip(&wanted).position(|(new, old)| new != old);
    assert_eq!((differs, bytes.len()), (None, wanted.len()));
}

#[test]
fn a_segment_of_version_1_still_opens() {
    let disk = MemDisk::new();
    disk.put(&segment_path(1), &std::fs::read(golden()).unwrap());
    let rig = Rig::open(&disk, &options(8192)).unwrap();
    assert_eq!(rig.state().unwrap(), sample().1);
    assert_eq!(rig.state().unwrap().entries, ["one", "", "three again"]);
    assert_eq!(rig.recovered.torn, None);
}
