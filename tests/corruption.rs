//! Damage to a log at rest: every byte flipped, every length cut, files missing, swapped, foreign.
//!
//! Opening must refuse, or what is read back must be exactly right. The one loss that no log can
//! tell from a torn write is stated by a test of its own.

#![cfg(test)]

mod wal_support;

use std::path::Path;

use bitacora::os::fake::{MemDisk, Tear};
use bitacora::types::{ClusterId, Index, RaftId};
use bitacora::wal::{Damage, Options, Slot, Verdict, WalError, inspect};
use bytes::Bytes;
use wal_support::{DIR, Rig, State, ignore, options, segment_path};

const SEGMENT: u64 = 16 * 1024;

/// Two segments with everything that a log can hold. The writer is not closed.
fn filled(disk: &MemDisk) -> Rig {
    let mut rig = Rig::open(disk, &options(SEGMENT)).unwrap();
    rig.handle.save(Slot::Vote, Bytes::from_static(b"vote 1"), ignore()).unwrap();
    rig.process();
    for index in 0..30_u8 {
        let length = 200 + 17 * usize::from(index);
        let payload = Bytes::from(vec![index; length]);
        rig.handle.append(Index::new(index.into()), vec![payload], ignore()).unwrap();
        if index % 3 == 2 {
            rig.process();
        }
        if index % 10 == 9 {
            let committed = Bytes::from(format!("committed {index}"));
            rig.handle.save(Slot::Committed, committed, ignore()).unwrap();
        }
    }
    rig.handle.truncate_after(Some(Index::new(27)), ignore()).unwrap();
    rig.process();
    rig.handle.purge(Index::new(2), Bytes::from_static(b"two"), ignore()).unwrap();
    rig.process();
    rig.handle.save(Slot::Vote, Bytes::from_static(b"vote 2"), ignore()).unwrap();
    rig.handle.append(Index::new(28), vec![Bytes::from_static(b"last")], ignore()).unwrap();
    rig.process();
    rig
}

fn closed() -> (MemDisk, State) {
    let disk = MemDisk::new();
    let rig = filled(&disk);
    let state = rig.state().unwrap();
    rig.writer.close().unwrap();
    (disk.after_crash(Tear::Nothing, 0), state)
}

fn segments(disk: &MemDisk) -> u64 {
    let segments = disk
        .contents()
        .into_keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .count();
    segments as u64
}

fn reopen(disk: &MemDisk) -> Result<State, WalError> {
    Rig::open(disk, &options(SEGMENT)).and_then(|rig| rig.state())
}

/// A copy of the disk with one byte changed.
fn flipped(disk: &MemDisk, id: u64, at: u64, mask: u8) -> MemDisk {
    let copy = disk.after_crash(Tear::Everything, 0);
    copy.flip(&segment_path(id), at, mask).unwrap();
    copy
}

#[test]
fn any_flipped_byte_of_a_closed_log_is_refused_or_harmless() {
    let (disk, wanted) = closed();
    assert_eq!(segments(&disk), 2);
    let (mut refused, mut harmless) = (0, 0);
    for id in 1..=2 {
        for at in 0..SEGMENT {
            for mask in [1 << (at % 8), 0xFF] {
                let damaged = flipped(&disk, id, at, mask);
                let before = damaged.contents();
                let report = inspect(&damaged, Path::new(DIR)).unwrap();
                assert_eq!(damaged.contents(), before, "inspection changes nothing");
                let opened = reopen(&damaged);
                let is_refused = matches!(report.verdict, Verdict::Refused(_));
                assert_eq!(is_refused, opened.is_err(), "segment {id} byte {at}");
                if let Ok(state) = opened {
                    assert_eq!(state, wanted, "segment {id} byte {at}");
                    harmless += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert_eq!(refused + harmless, 4 * SEGMENT);
    assert!(refused > SEGMENT, "only {refused} were noticed");
}

#[test]
fn any_shortened_file_is_refused() {
    let (disk, _) = closed();
    for id in 1..=2 {
        for length in 0..SEGMENT {
            let copy = disk.after_crash(Tear::Nothing, 0);
            copy.truncate(&segment_path(id), length).unwrap();
            assert!(reopen(&copy).is_err(), "segment {id} cut to {length} bytes");
        }
    }
}

/// The ambiguity: rot of exactly the last durable batch, before a marker was written behind it,
/// looks like a torn write. It is cut, and inspection says so. Nothing else is ever lost.
#[test]
fn only_rot_of_the_last_batch_before_its_marker_is_taken_for_a_torn_write() {
    let disk = MemDisk::new();
    let mut rig = filled(&disk);
    let before = rig.state().unwrap();
    let newest = segments(&disk);
    let begin = inspect(&disk, Path::new(DIR)).unwrap().segments.last().unwrap().used_bytes;
    rig.handle
        .append(Index::new(29), vec![Bytes::from_static(b"the last batch")], ignore())
        .unwrap();
    rig.process();
    let after = rig.state().unwrap();
    let end = inspect(&disk, Path::new(DIR)).unwrap().segments.last().unwrap().used_bytes;
    let unmarked = disk.after_crash(Tear::Nothing, 0);
    rig.writer.idle();
    let marked = disk.after_crash(Tear::Everything, 0);
    let mut lost = 0;
    for at in 0..SEGMENT {
        match reopen(&flipped(&unmarked, newest, at, 0x40)) {
            Ok(state) if state == before => {
                assert!((begin..end).contains(&at), "byte {at} is not in the last batch");
                lost += 1;
            }
            Ok(state) => assert_eq!(state, after, "byte {at}"),
            Err(_) => assert!(at < begin, "byte {at}"),
        }
        if let Ok(state) = reopen(&flipped(&marked, newest, at, 0x40)) {
            assert_eq!(state, after, "byte {at}, with a marker");
        }
    }
    assert_eq!(lost, end - begin);
}

#[test]
fn damage_names_its_place_and_tells_the_operator_what_to_do() {
    let (disk, _) = closed();
    let error = reopen(&flipped(&disk, 2, 4096 + 60, 1)).err().unwrap();
    let text = error.to_string();
    for part in ["segment 2", "byte 4096", "entries from index", "Do not delete", "replace it"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(matches!(error, WalError::Corrupt { damage: Damage::Rot { .. }, .. }));
}

fn damage_of(result: Result<State, WalError>) -> (u64, Damage) {
    match result {
        Err(WalError::Corrupt { segment, damage, .. }) => (segment, damage),
        other => panic!("expected damage, found {other:?}"),
    }
}

/// Four segments, nothing purged.
fn long() -> MemDisk {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    for index in 0..12 {
        let payload = Bytes::from(vec![1; 1100]);
        rig.handle.append(Index::new(index), vec![payload], ignore()).unwrap();
        rig.process();
    }
    rig.writer.close().unwrap();
    assert!(segments(&disk) >= 4);
    disk
}

#[test]
fn a_missing_segment_is_named() {
    let newest = segments(&long());
    for missing in 1..=newest {
        let disk = long();
        disk.erase(&segment_path(missing));
        let (named, damage) = damage_of(reopen(&disk));
        assert_eq!(named, missing, "{damage}");
        assert!(matches!(damage, Damage::Absent | Damage::EntryAbsent), "{damage}");
    }
}

#[test]
fn duplicated_and_swapped_segments_are_named() {
    let disk = long();
    let newest = segments(&disk);
    let (second, third) =
        (disk.bytes(&segment_path(2)).unwrap(), disk.bytes(&segment_path(3)).unwrap());
    disk.put(&segment_path(newest + 1), &second);
    let named = damage_of(reopen(&disk));
    assert!(named == (newest + 1, Damage::Name(2)) || named == (newest, Damage::Unsealed));
    disk.erase(&segment_path(newest + 1));
    disk.put(&segment_path(2), &third);
    disk.put(&segment_path(3), &second);
    assert_eq!(damage_of(reopen(&disk)), (2, Damage::Name(3)));
}

#[test]
fn a_segment_of_the_same_node_from_another_history_is_named() {
    let (disk, other) = (long(), MemDisk::new());
    let mut rig = Rig::open(&other, &Options { salt_seed: 1, ..options(8192) }).unwrap();
    for index in 0..12 {
        rig.handle.append(Index::new(index), vec![Bytes::from(vec![2; 1100])], ignore()).unwrap();
        rig.process();
    }
    disk.put(&segment_path(2), &other.bytes(&segment_path(2)).unwrap());
    assert_eq!(damage_of(reopen(&disk)), (2, Damage::Chain));
}

#[test]
fn a_foreign_log_is_refused_and_named() {
    let disk = long();
    let foreign = [
        Options { cluster: ClusterId::from_bytes([9; 16]), ..options(8192) },
        Options { node: RaftId::new(4), ..options(8192) },
    ];
    for options in foreign {
        let error = Rig::open(&disk, &options).err().unwrap();
        assert!(matches!(error, WalError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("00000000000000000001.wal"));
    }
}

#[test]
fn an_unknown_file_is_refused_and_a_temporary_one_removed() {
    let disk = long();
    disk.put(&Path::new(DIR).join("spare.7.tmp"), b"half");
    reopen(&disk).unwrap();
    assert!(disk.bytes(&Path::new(DIR).join("spare.7.tmp")).is_err());
    disk.put(&Path::new(DIR).join("notes.txt"), b"mine");
    let error = reopen(&disk).err().unwrap();
    assert!(matches!(&error, WalError::UnknownFile(name) if name == "notes.txt"), "{error}");
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let disk = long();
    let mut bytes = disk.bytes(&segment_path(1)).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..4096]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.put(&segment_path(1), &bytes);
    let error = reopen(&disk).err().unwrap();
    assert!(matches!(error, WalError::Version { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_node_that_has_run_before_does_not_start_without_its_log() {
    let must_exist = Options { presence: bitacora::wal::Presence::MustExist, ..options(8192) };
    let error = Rig::open(&MemDisk::new(), &must_exist).err().unwrap();
    assert!(matches!(error, WalError::Missing(_)), "{error}");
    assert!(Rig::open(&long(), &must_exist).is_ok());
}

#[test]
fn an_entry_that_rots_while_the_node_runs_is_found_when_it_is_read() {
    let disk = long();
    let rig = Rig::open(&disk, &options(8192)).unwrap();
    let file =
        bitacora::os::disk::Disk::open(&disk, &segment_path(1), bitacora::os::disk::Open::Write);
    file.unwrap().write_all_at(b"rot", 4096 + 100).unwrap();
    let error = rig.handle.read(Index::new(0), Index::new(1), 1000).err().unwrap();
    assert!(matches!(error, WalError::Corrupt { segment: 1, damage: Damage::Entry, .. }));
}
