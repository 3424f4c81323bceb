//! Gauges that nobody changes as he works: the machine, the process, the runtime. Looked at from
//! time to time, what takes a while on another thread.
//!
//! # Not here
//! What consensus knows of itself (`consensus::watcher`).

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::LOG_FOLDER;
use crate::consensus::{SNAPSHOTS_FOLDER, SNAPSHOTS_SUFFIX};
use crate::os::disk::{About, Disk};
use crate::os::process;
use crate::tasks::{OnError, Tasks};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::StorageComponent;

/// How often recorded durations are sorted into their buckets. Often: all of them are sorted at
/// once, on the thread that serves everything.
const UPKEEP: Duration = Duration::from_millis(200);
/// How often the machine and the process are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The timer whose lateness tells how busy the runtime's thread is.
const TICK: Duration = Duration::from_millis(10);

/// Starts looking.
pub(super) fn start(tasks: &Tasks, disk: Arc<dyn Disk>, data_dir: &Path, metrics: &Arc<Metrics>) {
    let look = Look { disk, data_dir: data_dir.to_owned(), metrics: metrics.clone() };
    tasks.spawn("metrics-upkeep", OnError::Log, keep_small(tasks.clone(), metrics.clone()));
    tasks.spawn("metrics-lag", OnError::Log, measure_lag(tasks.clone(), metrics.clone()));
    tasks.spawn("metrics-sampler", OnError::Log, sample(tasks.clone(), look));
}

/// Recorded durations take memory until they are sorted into their buckets.
async fn keep_small(tasks: Tasks, metrics: Arc<Metrics>) -> Result<(), Infallible> {
    let mut stop = tasks.stop();
    while !stop.is_requested() {
        metrics.upkeep();
        // Elapsed means that it is time again; an end shows in the condition.
        let _ = tokio::time::timeout(UPKEEP, stop.requested()).await;
    }
    Ok(())
}

async fn measure_lag(tasks: Tasks, metrics: Arc<Metrics>) -> Result<(), Infallible> {
    let mut stop = tasks.stop();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both branches are cancel-safe.
        tokio::select! {
            due = ticks.tick() => metrics.machine.loop_lag.observe(due.elapsed()),
            () = stop.requested() => return Ok(()),
        }
    }
}

async fn sample(tasks: Tasks, look: Look) -> Result<(), Infallible> {
    let mut stop = tasks.stop();
    let look = Arc::new(look);
    while !stop.is_requested() {
        let began = Instant::now();
        let alive = Handle::current().metrics().num_alive_tasks();
        look.metrics.machine.alive_tasks.set(alive as u64);
        let now = look.clone();
        // A closure that panics is told by `tasks`; the next look may go better.
        let _ = tasks.spawn_blocking("metrics-look", move || now.take()).await;
        let _ = tokio::time::timeout_at(began + LOOK, stop.requested()).await;
    }
    Ok(())
}

/// What is looked at.
struct Look {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    metrics: Arc<Metrics>,
}

impl Look {
    /// What cannot be found out keeps its last value; the next look comes soon.
    fn take(&self) {
        let (machine, state) = (&self.metrics.machine, &self.metrics.state);
        // First: a disk that hangs must not hide how the process fares.
        if let Ok(usage) = process::usage() {
            machine.cpu.set(usage.cpu);
            machine.open_fds.set(usage.open_files);
            machine.max_fds.set(usage.open_files_max);
            machine.resident.set(usage.resident);
            machine.virtual_memory.set(usage.address_space);
            machine.threads.set(usage.threads);
            machine.started.set_unix_ms(usage.started_unix_ms);
        }
        if let Ok(space) = self.disk.space(&self.data_dir) {
            machine.disk_free.set(space.free);
            machine.disk_size.set(space.size);
        }
        if let Ok(log) = self.files(LOG_FOLDER) {
            machine.storage.set(StorageComponent::Log, total(&log));
        }
        if let Ok(snapshots) = self.files(SNAPSHOTS_FOLDER) {
            machine.storage.set(StorageComponent::Snapshots, total(&snapshots));
            // Their names sort by index, so the last one is the newest.
            let newest = snapshots.iter().rfind(|(name, _)| name.ends_with(SNAPSHOTS_SUFFIX));
            let newest = newest.map(|(_, about)| *about).unwrap_or_default();
            state.snapshot_size.set(newest.length);
            state.snapshot_timestamp.set_unix_ms(newest.written_unix_ms);
        }
    }

    /// A folder's files by name. One that goes meanwhile is left out.
    fn files(&self, folder: &str) -> io::Result<Vec<(String, About)>> {
        let dir = self.data_dir.join(folder);
        let names = self.disk.list(&dir)?;
        let about = |name: String| {
            let about = self.disk.about(&dir.join(&name)).ok()?;
            Some((name, about))
        };
        Ok(names.into_iter().filter_map(about).collect())
    }
}

fn total(files: &[(String, About)]) -> u64 {
    files.iter().map(|(_, about)| about.length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::disk::{Open, SystemDisk};

    fn look(dir: &Path) -> Look {
        let metrics = Arc::new(Metrics::new());
        Look { disk: Arc::new(SystemDisk), data_dir: dir.to_owned(), metrics }
    }

    fn value(look: &Look, series: &str) -> f64 {
        text(look, series).parse().unwrap()
    }

    fn text(look: &Look, series: &str) -> String {
        let text = look.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).trim().to_owned()
    }

    #[test]
    fn files_of_the_log_and_of_snapshots_are_measured() {
        let dir = tempfile::tempdir().unwrap();
        let look = look(dir.path());
        look.take();
        assert!(value(&look, "bitacora_snapshot_timestamp_seconds ").abs() < 1.0, "none yet");
        let put = |folder: &str, name: &str, bytes: usize| {
            let dir = dir.path().join(folder);
            SystemDisk.create_dir_all(&dir).unwrap();
            let file = SystemDisk.open(&dir.join(name), Open::CreateNew).unwrap();
            file.write_all_at(&vec![1; bytes], 0).unwrap();
        };
        put("log", "one", 100);
        put("log", "two", 20);
        put("snapshots", "00000000000000000001-00000000000000000001.snap", 7);
        put("snapshots", "00000000000000000002-00000000000000000001.snap", 9);
        put("snapshots", "incoming-1.tmp", 30);
        look.take();
        let size = |component| format!("bitacora_storage_size_bytes{{component=\"{component}\"}} ");
        assert_eq!(text(&look, &size("log")), "120");
        assert_eq!(text(&look, &size("snapshots")), "46");
        assert_eq!(text(&look, "bitacora_snapshot_size_bytes "), "9");
        assert!(value(&look, "bitacora_snapshot_timestamp_seconds ") > 1.6e9);
        assert!(value(&look, "bitacora_disk_size_bytes ") > 0.0);
        assert!(value(&look, "process_resident_memory_bytes ") > 0.0);
        assert!(value(&look, "process_cpu_seconds_total ") > 0.0);
    }
}
