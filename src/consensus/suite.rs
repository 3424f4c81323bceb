//! openraft's own storage suite over our log and state machine, on the real disk and on the
//! simulated one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::acks::Acks;
use super::log_storage::{LogStorage, Receipts};
use super::raft_types::TypeConfig;
use super::snapshots::Snapshots;
use super::state_machine::StateMachine;
use crate::consensus::spans::Spans;
use crate::os::clock::SystemClock;
use crate::os::disk::{Disk, SystemDisk};
use crate::os::fake::MemDisk;
use crate::tasks::Tasks;
use crate::telemetry::{Metrics, Traces};
use crate::types::{ClusterId, RaftId};
use crate::wal::thread::{Limits, LogThread, spawn};
use crate::wal::{NoObserver, Options, Presence, open};

/// What must live as long as a store: its log's thread and its directory.
struct Keep {
    _thread: LogThread,
    _dir: Option<tempfile::TempDir>,
}

fn store(disk: Arc<dyn Disk>, dir: &Path) -> (LogThread, LogStorage, StateMachine) {
    let options = Options {
        segment_size_bytes: 64 << 10,
        cache_bytes: 4 << 10,
        cluster: ClusterId::from_bytes([1; 16]),
        node: RaftId::new(1),
        salt_seed: 7,
        presence: Presence::MayBeNew,
    };
    let clock = Arc::new(SystemClock::new());
    let observer = Arc::new(NoObserver);
    let opened = open(disk.clone(), clock.clone(), &dir.join("log"), &options, observer).unwrap();
    let (wal, thread) = spawn(opened, Limits::default()).unwrap();
    let tasks = Tasks::new();
    let truncations = Metrics::new().follower.truncations.clone();
    let acks = Arc::new(Acks::default());
    let receipts = Receipts { me: RaftId::new(1), acks, clock, truncations };
    let log = LogStorage::new(wal, tasks.clone(), receipts, Spans::new(Traces::off()));
    let (snapshots, restored) = Snapshots::open(disk, dir).unwrap();
    let machine = StateMachine::new(
        (snapshots, restored),
        tasks,
        Arc::new(Metrics::new()),
        (Spans::new(Traces::off()), Arc::new(SystemClock::new())),
    );
    (thread, log, machine.tolerating_gaps())
}

struct OnRealDisk;

impl StoreBuilder<TypeConfig, LogStorage, StateMachine, Keep> for OnRealDisk {
    async fn build(&self) -> Result<(Keep, LogStorage, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (thread, log, machine) = store(Arc::new(SystemDisk), dir.path());
        Ok((Keep { _thread: thread, _dir: Some(dir) }, log, machine))
    }
}

struct OnSimulatedDisk;

impl StoreBuilder<TypeConfig, LogStorage, StateMachine, Keep> for OnSimulatedDisk {
    async fn build(&self) -> Result<(Keep, LogStorage, StateMachine), StorageError<TypeConfig>> {
        let dir = PathBuf::from("/data");
        let (thread, log, machine) = store(Arc::new(MemDisk::new()), &dir);
        Ok((Keep { _thread: thread, _dir: None }, log, machine))
    }
}

#[tokio::test]
async fn openrafts_storage_suite_passes_on_the_real_disk() {
    Suite::test_all(OnRealDisk).await.unwrap();
}

#[tokio::test]
async fn openrafts_storage_suite_passes_on_the_simulated_disk() {
    Suite::test_all(OnSimulatedDisk).await.unwrap();
}
