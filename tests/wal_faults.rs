//! Failing disks, full queues, recycled files and the threads that drive the log.

#![cfg(test)]

mod wal_support;

use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bitacora::os::clock::SystemClock;
use bitacora::os::disk::SystemDisk;
use bitacora::os::fake::{ManualClock, MemDisk, Tear};
use bitacora::types::Index;
use bitacora::wal::thread::{Limits, spawn};
use bitacora::wal::{self, NoObserver, Queue, Refused, Request, Slot, WalError};
use bytes::Bytes;
use wal_support::{DIR, Rig, Workload, check_allowed, ignore, note, options, run, segment_path};

fn entry(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

#[test]
fn w3_after_one_failed_call_everyone_gets_its_cause_and_nothing_is_written() {
    let mut call = 0;
    loop {
        let disk = MemDisk::new();
        let mut rig = Rig::open(&disk, &options(8192)).unwrap();
        disk.fail_at(disk.calls() + call);
        let limit = disk.calls() + call;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut asked = 0;
        for index in 0..8 {
            let payload = vec![Bytes::from(vec![1; 1500])];
            let before = rig.handle.append(Index::new(index), payload, note(&heard));
            asked += 1;
            let after = rig.handle.save(Slot::Vote, Bytes::from_static(b"v"), note(&heard));
            asked += 1;
            assert_eq!(before.is_err(), after.is_err());
            rig.process();
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), asked, "w4 each is answered once");
        if disk.calls() <= limit {
            assert!(heard.iter().all(Result::is_ok));
            assert!(call > 20, "the workload is too small: {call} calls");
            return;
        }
        let first = heard.iter().position(Result::is_err).unwrap();
        for answer in &heard[first..] {
            let text = answer.as_ref().unwrap_err().to_string();
            assert!(text.contains("injected failure"), "{text}");
        }
        assert_eq!(disk.calls(), limit + 1, "w3 nothing is written after the failure");
        let refused = rig.handle.truncate_after(None, ignore()).unwrap_err();
        assert!(matches!(refused, WalError::Poisoned { .. }));
        rig.writer.idle();
        assert!(rig.writer.close().is_err());
        assert_eq!(disk.calls(), limit + 1);
        call += 1;
    }
}

#[test]
fn after_a_failed_call_and_a_power_loss_nothing_acknowledged_is_gone() {
    for seed in 100..104 {
        let workload = Workload::generate(seed, 80);
        let whole = MemDisk::new();
        assert!(run(&whole, &workload).is_complete);
        for call in 0..whole.calls() {
            let disk = MemDisk::new();
            disk.fail_at(call);
            let run = run(&disk, &workload);
            assert_eq!(run.unanswered, 0);
            let left = disk.after_crash(Tear::Sectors, call);
            let state = Rig::open(&left, &workload.options).unwrap().state().unwrap();
            check_allowed(&state, &workload, &run).unwrap();
        }
    }
}

#[test]
fn bytes_of_a_file_s_former_life_never_come_back() {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    let mut index = 0;
    let mut fill = |rig: &mut Rig, count: u64| {
        for _ in 0..count {
            rig.handle
                .append(Index::new(index), vec![Bytes::from(vec![3; 500])], ignore())
                .unwrap();
            rig.process();
            index += 1;
        }
        index - 1
    };
    let last = fill(&mut rig, 30);
    rig.handle.purge(Index::new(last - 1), Bytes::new(), ignore()).unwrap();
    rig.process();
    let spares = |disk: &MemDisk| {
        disk.contents().keys().filter(|path| path.to_string_lossy().contains("spare")).count()
    };
    assert_eq!(spares(&disk), 2, "two purged files are kept");
    fill(&mut rig, 7);
    assert!(spares(&disk) < 2, "one is in use again");
    let wanted = rig.state().unwrap();
    let newest = disk
        .contents()
        .into_keys()
        .rfind(|path| path.extension().is_some_and(|extension| extension == "wal"));
    let bytes = disk.bytes(&newest.clone().unwrap()).unwrap();
    let stale = bytes.windows(4).filter(|window| window == b"BTCH").count();
    drop(rig);
    let rig = Rig::open(&disk, &options(8192)).unwrap();
    assert_eq!(rig.recovered.torn, None, "the end is known though {stale} batches lie there");
    assert_eq!(rig.state().unwrap(), wanted);
    // Nor does a valid batch of another segment, put at the end at its own offset.
    let report = wal::inspect(&disk, Path::new(DIR)).unwrap();
    let (active, older) = (&report.segments[report.segments.len() - 1], &report.segments[0]);
    let mut bytes = disk.bytes(&newest.clone().unwrap()).unwrap();
    let other = disk.bytes(&segment_path(older.id)).unwrap();
    let at = usize::try_from(active.used_bytes).unwrap();
    bytes[at..].copy_from_slice(&other[at..]);
    disk.put(&newest.unwrap(), &bytes);
    assert_eq!(Rig::open(&disk, &options(8192)).unwrap().state().unwrap(), wanted);
}

#[test]
fn a_batch_behind_a_cut_does_not_come_back_when_the_cut_bytes_are_written_again() {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    rig.handle.append(Index::new(0), entry("kept"), ignore()).unwrap();
    rig.process();
    let used = |disk: &MemDisk| {
        wal::inspect(disk, Path::new(DIR)).unwrap().segments.last().unwrap().used_bytes
    };
    let cut_at = used(&disk);
    rig.handle.save(Slot::Committed, Bytes::from_static(b"hint"), ignore()).unwrap();
    rig.process();
    // The hint is not synced, so a crash may harm it and yet keep the batch behind it.
    rig.handle.append(Index::new(1), entry("never acknowledged"), ignore()).unwrap();
    rig.process();
    let image = disk.after_crash(Tear::Everything, 0);
    image.flip(&segment_path(1), cut_at + 50, 1).unwrap();
    let mut rig = Rig::open(&image, &options(8192)).unwrap();
    assert_eq!(rig.recovered.torn.unwrap().offset, cut_at);
    rig.handle.save(Slot::Committed, Bytes::from_static(b"hint"), ignore()).unwrap();
    rig.process();
    drop(rig);
    let rig = Rig::open(&image, &options(8192)).unwrap();
    assert_eq!(rig.handle.saved(Slot::Committed).unwrap(), "hint");
    assert_eq!(rig.handle.bounds().last, Some(Index::new(0)));
}

#[test]
fn a_gap_and_a_giant_are_refused_before_anything_is_queued() {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    rig.handle.append(Index::new(4), entry("any first index"), ignore()).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let gap = rig.handle.append(Index::new(6), entry("x"), note(&heard)).unwrap_err();
    assert!(matches!(gap, WalError::Gap { expected, .. } if expected == Index::new(5)));
    let limit = usize::try_from(rig.handle.entry_limit()).unwrap();
    let giant = vec![Bytes::from(vec![0; limit + 1])];
    let giant = rig.handle.append(Index::new(5), giant, note(&heard)).unwrap_err();
    assert!(matches!(giant, WalError::TooLarge { .. }));
    assert_eq!(heard.lock().unwrap().len(), 2, "w4 refused requests are answered too");
    for index in 5..9 {
        let largest = vec![Bytes::from(vec![index; limit])];
        rig.handle.append(Index::new(index.into()), largest, ignore()).unwrap();
    }
    rig.process();
    let wanted = rig.state().unwrap();
    drop(rig);
    assert_eq!(Rig::open(&disk, &options(8192)).unwrap().state().unwrap(), wanted);
}

#[test]
fn w8_a_request_that_a_full_queue_refuses_does_not_show() {
    struct FullQueue;
    impl Queue for FullQueue {
        fn submit(&self, request: Request) -> Result<(), Refused> {
            Err(Refused::Full(request))
        }
    }
    let (disk, clock) = (Arc::new(MemDisk::new()), Arc::new(ManualClock::default()));
    let opened =
        wal::open(disk, clock, Path::new(DIR), &options(8192), Arc::new(NoObserver)).unwrap();
    let handle = opened.log.handle(Arc::new(FullQueue));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let refused = handle.append(Index::new(0), entry("x"), note(&heard)).unwrap_err();
    assert!(matches!(refused, WalError::Full));
    assert!(matches!(heard.lock().unwrap()[..], [Err(WalError::Full)]));
    assert_eq!(handle.bounds(), wal::Bounds::default());
}

#[test]
fn w7_entries_stay_in_memory_until_they_are_durable_and_are_then_read_from_the_file() {
    let disk = MemDisk::new();
    let no_cache = wal::Options { cache_bytes: 0, ..options(8192) };
    let mut rig = Rig::open(&disk, &no_cache).unwrap();
    rig.handle.append(Index::new(0), entry("one"), ignore()).unwrap();
    assert!(rig.handle.is_cached(Index::new(0)));
    assert_eq!(rig.handle.synced(), None);
    rig.process();
    assert!(!rig.handle.is_cached(Index::new(0)));
    assert_eq!(rig.handle.synced(), Some(Index::new(0)));
    // A truncation that is not written yet must not let the old entry pass for the new one.
    rig.handle.truncate_after(None, ignore()).unwrap();
    rig.handle.append(Index::new(0), entry("new"), ignore()).unwrap();
    assert_eq!(rig.handle.synced(), None);
    assert_eq!(rig.handle.read(Index::new(0), Index::new(1), 9).unwrap(), entry("new"));
    rig.process();
    assert_eq!(rig.handle.read(Index::new(0), Index::new(1), 9).unwrap(), entry("new"));
}

#[test]
fn a_read_that_begins_in_the_file_does_not_run_into_entries_that_were_taken_back() {
    let disk = MemDisk::new();
    let no_cache = wal::Options { cache_bytes: 0, ..options(8192) };
    let mut rig = Rig::open(&disk, &no_cache).unwrap();
    let old = vec![Bytes::from_static(b"kept"), Bytes::from_static(b"old")];
    rig.handle.append(Index::new(0), old, ignore()).unwrap();
    rig.process();
    rig.handle.truncate_after(Some(Index::new(0)), ignore()).unwrap();
    rig.handle.append(Index::new(1), entry("new"), ignore()).unwrap();
    let read = rig.handle.read(Index::new(0), Index::new(2), 1000).unwrap();
    assert_eq!(read, ["kept", "new"]);
}

#[test]
fn a_log_that_began_late_and_was_emptied_opens_after_its_oldest_segment_is_gone() {
    let disk = MemDisk::new();
    let mut rig = Rig::open(&disk, &options(8192)).unwrap();
    for index in 7..11 {
        let payload = vec![Bytes::from(vec![1; 1000])];
        rig.handle.append(Index::new(index), payload, ignore()).unwrap();
    }
    rig.process();
    // Before its first entry: the log is empty and takes any index again.
    rig.handle.truncate_after(Some(Index::new(3)), ignore()).unwrap();
    let payloads = [entry("seven"), entry("eight")].concat();
    rig.handle.append(Index::new(7), payloads, ignore()).unwrap();
    rig.process();
    rig.handle.purge(Index::new(7), Bytes::new(), ignore()).unwrap();
    rig.process();
    assert!(disk.bytes(&segment_path(1)).is_err(), "it is purged");
    let wanted = rig.state().unwrap();
    drop(rig);
    let rig = Rig::open(&disk, &options(8192)).unwrap();
    assert_eq!(rig.state().unwrap(), wanted);
}

#[test]
fn the_threads_write_what_four_callers_append_and_a_reopen_finds_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let open = || {
        let (disk, clock) = (Arc::new(SystemDisk), Arc::new(SystemClock::new()));
        let options = options(1 << 20);
        wal::open(disk, clock, &dir, &options, Arc::new(NoObserver)).unwrap()
    };
    let (handle, thread) = spawn(open(), Limits::default()).unwrap();
    let (sender, receiver) = channel();
    let turn = Mutex::new(0_u64);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let sender = sender.clone();
                    let mut turn = turn.lock().unwrap();
                    let payload = vec![Bytes::from(vec![8; 1000])];
                    let done = Box::new(move |result: Result<(), _>| {
                        sender.send(result.is_ok()).unwrap();
                    });
                    handle.append(Index::new(*turn), payload, done).unwrap();
                    *turn += 1;
                }
            });
        }
    });
    assert!((0..2000).all(|_| receiver.recv().unwrap()));
    assert_eq!(handle.synced(), Some(Index::new(1999)));
    thread.close().unwrap();
    let refused = handle.append(Index::new(2000), entry("late"), ignore()).unwrap_err();
    assert!(matches!(refused, WalError::Closed), "{refused}");
    let opened = open();
    assert_eq!((opened.recovered.entries, opened.recovered.torn), (2000, None));
    let (handle, thread) = spawn(opened, Limits::default()).unwrap();
    assert_eq!(handle.read(Index::new(1500), Index::new(1502), 5000).unwrap().len(), 2);
    thread.close().unwrap();
}

#[test]
fn work_that_is_queued_when_the_log_is_dropped_is_finished() {
    let home = tempfile::tempdir().unwrap();
    let (disk, clock) = (Arc::new(SystemDisk), Arc::new(SystemClock::new()));
    let opened =
        wal::open(disk, clock, home.path(), &options(1 << 20), Arc::new(NoObserver)).unwrap();
    let (handle, thread) = spawn(opened, Limits::default()).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    for index in 0..50 {
        handle.append(Index::new(index), entry("queued"), note(&heard)).unwrap();
    }
    drop(thread);
    assert_eq!(heard.lock().unwrap().iter().filter(|result| result.is_ok()).count(), 50);
}
