//! The log against a naive model: what shows at once, what is read in pieces, what a reopen keeps.

#![cfg(test)]

mod wal_support;

use bitacora::os::fake::MemDisk;
use bitacora::types::Index;
use bitacora::wal::{Options, Slot};
use proptest::prelude::*;
use wal_support::{Model, Op, Rig, Workload, ignore};

fn submit(rig: &Rig, op: &Op) {
    let handle = &rig.handle;
    match op {
        Op::Append(first, payloads) => {
            handle.append(Index::new(*first), payloads.clone(), ignore()).unwrap();
        }
        Op::TruncateAfter(after) => {
            handle.truncate_after(after.map(Index::new), ignore()).unwrap();
        }
        Op::Vote(bytes) => handle.save(Slot::Vote, bytes.clone(), ignore()).unwrap(),
        Op::Committed(bytes) => handle.save(Slot::Committed, bytes.clone(), ignore()).unwrap(),
        Op::Purge(upto, note) => {
            handle.purge(Index::new(*upto), note.clone(), ignore()).unwrap();
        }
        Op::Process | Op::Idle | Op::Reopen => {}
    }
}

/// Reads from every index with every kind of limit.
fn check_reads(rig: &Rig, model: &Model) {
    for (index, payload) in &model.entries {
        for limit in [0, 100, 5000] {
            let read = rig.handle.read(Index::new(*index), Index::new(index + 4), limit).unwrap();
            let wanted = model.entries.range(index..&(index + 4)).map(|(_, payload)| payload);
            assert!(!read.is_empty() && wanted.clone().zip(&read).all(|(a, b)| a == b));
            let bytes: usize = read.iter().map(bytes::Bytes::len).sum();
            assert!(read.len() == 1 || bytes as u64 <= limit);
            if bytes as u64 > limit {
                assert_eq!(&read, std::slice::from_ref(payload));
            }
            if limit == 5000 && wanted.clone().map(bytes::Bytes::len).sum::<usize>() < 5000 {
                assert_eq!(read.len(), wanted.count());
            }
        }
    }
    if let Some((upto, _)) = &model.purged {
        assert!(rig.handle.read(Index::new(*upto), Index::new(upto + 1), 1).is_err());
    }
    let after = Index::new(model.next().unwrap_or(0) + 1);
    assert!(rig.handle.read(after, after.next(), 1).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_log_agrees_with_a_map(
        seed in any::<u64>(),
        length in 1_usize..90,
        cache_bytes in prop_oneof![Just(0_u64), Just(700), Just(100_000)],
    ) {
        let workload = Workload::generate(seed, length);
        let options = Options { cache_bytes, ..workload.options.clone() };
        let disk = MemDisk::new();
        let mut rig = Rig::open(&disk, &options).unwrap();
        let mut model = Model::default();
        for op in &workload.ops {
            submit(&rig, op);
            model.apply(op);
            match op {
                Op::Process => rig.process(),
                Op::Idle => {
                    rig.process();
                    rig.writer.idle();
                }
                Op::Reopen => {
                    rig.process();
                    rig.writer.close().unwrap();
                    rig = Rig::open(&disk, &options).unwrap();
                    prop_assert_eq!(rig.recovered.torn, None);
                }
                _ => {}
            }
            prop_assert_eq!(rig.state().unwrap(), model.state());
        }
        check_reads(&rig, &model);
        rig.process();
        check_reads(&rig, &model);
        let last = model.next().and_then(|next| next.checked_sub(1)).map(Index::new);
        prop_assert_eq!(rig.handle.synced(), last);
        rig.writer.close().unwrap();
        let rig = Rig::open(&disk, &options).unwrap();
        prop_assert_eq!(rig.state().unwrap(), model.state());
        check_reads(&rig, &model);
    }
}
