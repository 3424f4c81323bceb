//! Crashes at every disk call of generated workloads, under every way in which a write can tear.
//!
//! A log is one ordered stream of records, so whatever survives must equal one of the states that
//! the workload passed through, not older than the newest that was acknowledged. That one
//! comparison covers lost and invented entries, votes that go back, truncations undone and purges
//! forgotten.

#![cfg(test)]

mod wal_support;

use bitacora::os::fake::{MemDisk, Tear};
use bitacora::types::Index;
use bitacora::wal::Slot;
use bytes::Bytes;
use wal_support::{Rig, Run, State, Workload, check_allowed, ignore, run};

const WORKLOADS: u64 = 24;
const OPS: usize = 150;

#[derive(Debug, Default)]
struct Count {
    crashes: u64,
    double_crashes: u64,
    torn: u64,
    seals_finished: u64,
    violations: Vec<String>,
}

/// Opens what a crash has left and checks all that must hold.
fn check_image(
    image: &MemDisk,
    workload: &Workload,
    run: &Run,
    count: &mut Count,
) -> Result<(), String> {
    let open = |disk: &MemDisk| Rig::open(disk, &workload.options).map_err(|e| e.to_string());
    let rig = open(image)?;
    let state = rig.state().map_err(|e| e.to_string())?;
    check_allowed(&state, workload, run)?;
    count.torn += u64::from(rig.recovered.torn.is_some());
    count.seals_finished += u64::from(rig.recovered.seal_finished);
    drop(rig);
    // Recovery twice equals once, to the byte.
    let bytes = image.contents();
    let again = open(image)?;
    if again.recovered.torn.is_some() || again.recovered.seal_finished {
        return Err(format!("the second recovery still repairs: {:?}", again.recovered));
    }
    if again.state().map_err(|e| e.to_string())? != state || image.contents() != bytes {
        return Err("the second recovery differs from the first".to_owned());
    }
    drop(again);
    // W10: what recovery has shown survives a power loss.
    let after_power_loss = image.after_crash(Tear::Nothing, 0);
    if open(&after_power_loss)?.state().map_err(|e| e.to_string())? != state {
        return Err("a power loss after recovery loses what it has shown".to_owned());
    }
    check_it_goes_on(image, workload, state)
}

/// The recovered log takes more, and the remains of the crash do not come back.
fn check_it_goes_on(disk: &MemDisk, workload: &Workload, state: State) -> Result<(), String> {
    let mut rig = Rig::open(disk, &workload.options).map_err(|e| e.to_string())?;
    let bounds = rig.handle.bounds();
    let next = bounds.last.or(bounds.purged).map_or(Index::new(5), Index::next);
    let mut wanted = state;
    for (step, length) in [30_usize, 90, 700].into_iter().enumerate() {
        let payload = Bytes::from(vec![b'+'; length]);
        let index = Index::new(next.get() + step as u64);
        let appended = rig.handle.append(index, vec![payload.clone()], ignore());
        appended.map_err(|e| e.to_string())?;
        rig.process();
        wanted.entries.push(payload);
        wanted.first.get_or_insert(next.get());
        let image = disk.after_crash(Tear::Nothing, 0);
        let rig = Rig::open(&image, &workload.options).map_err(|e| format!("going on: {e}"))?;
        if rig.state().map_err(|e| e.to_string())? != wanted {
            return Err(format!("after going on for {step}: {:?}", rig.state()));
        }
    }
    Ok(())
}

/// Crashes recovery itself at each of its disk calls.
fn check_double(
    image: &dyn Fn() -> MemDisk,
    workload: &Workload,
    run: &Run,
    count: &mut Count,
) -> Result<(), String> {
    let whole = image();
    Rig::open(&whole, &workload.options).map_err(|e| e.to_string())?;
    for call in 0..whole.calls() {
        let disk = image();
        disk.crash_at(call);
        if Rig::open(&disk, &workload.options).is_ok() {
            return Err(format!("recovery did not notice the crash at its call {call}"));
        }
        let tear = Tear::ALL[usize::try_from(call).unwrap() % Tear::ALL.len()];
        let left = disk.after_crash(tear, call);
        let rig = Rig::open(&left, &workload.options)
            .map_err(|e| format!("after a crash at recovery's call {call}, {tear:?}: {e}"))?;
        let state = rig.state().map_err(|e| e.to_string())?;
        check_allowed(&state, workload, run).map_err(|e| format!("recovery {call}: {e}"))?;
        count.double_crashes += 1;
    }
    Ok(())
}

fn enumerate(seeds: std::ops::Range<u64>, prepare: impl Fn(&MemDisk)) -> Count {
    let mut count = Count::default();
    for seed in seeds {
        let workload = Workload::generate(seed, OPS);
        let disk = MemDisk::new();
        prepare(&disk);
        let whole = run(&disk, &workload);
        assert!(whole.is_complete, "workload {seed} does not run without a crash");
        assert_eq!(whole.unanswered, 0, "w4 every request is answered once");
        for call in 0..disk.calls() {
            let crashed = MemDisk::new();
            prepare(&crashed);
            crashed.crash_at(call);
            let run = run(&crashed, &workload);
            assert!(!run.is_complete);
            if run.unanswered > 0 {
                count.violations.push(format!("w4 {} unanswered", run.unanswered));
            }
            for (number, tear) in Tear::ALL.into_iter().enumerate() {
                let image_seed = seed * 1_000_003 + call * 7 + number as u64;
                let image = || crashed.after_crash(tear, image_seed);
                let mut result = check_image(&image(), &workload, &run, &mut count);
                count.crashes += 1;
                if result.is_ok() && (call + number as u64).is_multiple_of(3) {
                    result = check_double(&image, &workload, &run, &mut count);
                }
                if let Err(why) = result {
                    count.violations.push(format!("seed {seed} call {call} {tear:?}: {why}"));
                }
            }
        }
    }
    count
}

fn check(seeds: std::ops::Range<u64>) {
    let count = enumerate(seeds, |_| ());
    println!(
        "{} crash points, {} in recovery, {} torn tails, {} seals finished",
        count.crashes, count.double_crashes, count.torn, count.seals_finished
    );
    let some: Vec<_> = count.violations.iter().take(3).collect();
    assert!(some.is_empty(), "{} violations, such as {some:#?}", count.violations.len());
    // Two tests share the workloads: each has half of the 10,000 that are promised, and a crash
    // of every kind has to occur.
    assert!(count.crashes >= 5_000, "only {} crash points", count.crashes);
    assert!(count.double_crashes >= 5_000, "only {} double crashes", count.double_crashes);
    assert!(count.torn >= 500 && count.seals_finished >= 50, "{count:?}");
}

#[test]
fn a_crash_at_any_disk_call_loses_and_invents_nothing_first_half() {
    check(0..WORKLOADS / 2);
}

#[test]
fn a_crash_at_any_disk_call_loses_and_invents_nothing_second_half() {
    check(WORKLOADS / 2..WORKLOADS);
}

/// The suite must be able to fail: a disk that lies about syncs is an acknowledgement before sync.
#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    let count = enumerate(0..2, MemDisk::ignore_syncs);
    let share = count.violations.len() as u64 * 100 / count.crashes;
    println!("{share} % of {} crash points show the lie", count.crashes);
    assert!(share >= 20, "only {share} % of the crash points show a sync that does nothing");
}

#[test]
fn a_vote_that_was_acknowledged_survives_the_purge_of_its_segment() {
    let disk = MemDisk::new();
    let options = wal_support::options(8192);
    let mut rig = Rig::open(&disk, &options).unwrap();
    rig.handle.save(Slot::Vote, Bytes::from_static(b"term 4"), ignore()).unwrap();
    for index in 0..20 {
        let payload = Bytes::from(vec![7; 1000]);
        rig.handle.append(Index::new(index), vec![payload], ignore()).unwrap();
        rig.process();
    }
    rig.handle.purge(Index::new(17), Bytes::from_static(b"17"), ignore()).unwrap();
    rig.process();
    drop(rig);
    let image = disk.after_crash(Tear::Nothing, 0);
    assert!(!image.contents().contains_key(&wal_support::segment_path(1)), "it is purged");
    let rig = Rig::open(&image, &options).unwrap();
    assert_eq!(rig.handle.saved(Slot::Vote).unwrap(), "term 4");
    assert_eq!(rig.handle.purged(), Some((Index::new(17), Bytes::from_static(b"17"))));
    assert_eq!(rig.state().unwrap().entries.len(), 2);
}
