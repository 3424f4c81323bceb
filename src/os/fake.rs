//! A machine for tests: a clock that stands still and a disk that loses what was not synced.
//!
//! [`MemDisk`] keeps for each file what is durable and which writes are pending, and for each
//! directory which changes of names are pending. [`MemDisk::after_crash`] makes the disk that a
//! power loss would have left, under one of several [`Tear`] policies.
//!
//! # Invariants
//! - A sector of [`SECTOR_BYTES`] is atomic: bytes that were synced survive a torn write next to
//!   them in the same sector. Only bytes of pending writes may be lost, zeroed or garbled.
//! - Same calls, same policy, same seed: same disk.
//!
//! # Not here
//! Directories are always durable; only names in them can be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::clock::Clock;
use super::disk::{About, Disk, DiskFile, Open, Space};

/// The unit in which a write may be torn.
pub const SECTOR_BYTES: u64 = 512;
/// How large a disk in memory says it is.
const SIZE_BYTES: u64 = 1 << 40;

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    nanos: AtomicU64,
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }

    fn wall_unix(&self) -> Duration {
        const START: Duration = Duration::from_secs(1_700_000_000);
        self.monotonic().saturating_add(START)
    }
}

/// What a crash leaves of writes and names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Nothing,
    /// The first few, in order; the last of them in part.
    Prefix,
    /// Any sectors and any names.
    Sectors,
    /// Any sectors; the others are zero where they were being written.
    Zeroed,
    /// Any sectors; the others are garbage where they were being written.
    Garbage,
    /// Everything, as after `kill -9`: the machine has not failed. What was pending still is, and a
    /// power loss later may take it.
    Everything,
}

impl Tear {
    /// All policies.
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::Prefix, Self::Sectors, Self::Zeroed, Self::Garbage, Self::Everything];
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As programs see it.
    bytes: Vec<u8>,
    /// As it is after a crash if nothing else survives.
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path) => path.parent(),
        }
    }
}

#[derive(Debug, Default)]
struct Machine {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    locked: BTreeSet<PathBuf>,
    calls: u64,
    fail_at: Option<u64>,
    crash_at: Option<u64>,
    ignores_syncs: bool,
}

impl Machine {
    /// Counts a call that changes something, and says whether it is one that fails.
    fn count(&mut self) -> Result<(), Failure> {
        let call = self.calls;
        self.calls = call.saturating_add(1);
        match self.crash_at {
            Some(at) if call == at => return Err(Failure::HalfDone),
            Some(at) if call > at => return Err(Failure::Refused),
            _ => {}
        }
        if self.fail_at == Some(call) { Err(Failure::Refused) } else { Ok(()) }
    }

    fn has_crashed(&self) -> bool {
        self.crash_at.is_some_and(|at| self.calls > at)
    }

    /// The machine goes on, the process does not: nothing is lost, nothing has become durable.
    fn after_kill(&self) -> MemDisk {
        let image = Self {
            inodes: self.inodes.clone(),
            next_inode: self.next_inode,
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending_names: self.pending_names.clone(),
            ..Self::default()
        };
        MemDisk(Arc::new(Mutex::new(image)))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn inode_of(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

enum Failure {
    /// Fails, and what it would have changed may have happened in part: a crash meanwhile.
    HalfDone,
    Refused,
}

fn failed() -> io::Error {
    io::Error::other("injected failure")
}

/// A disk in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemDisk(Arc<Mutex<Machine>>);

impl MemDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far that changed something or synced it.
    pub fn calls(&self) -> u64 {
        self.machine().calls
    }

    /// Lets the changing call with this number, from 0, fail and change nothing; later ones work.
    pub fn fail_at(&self, call: u64) {
        self.machine().fail_at = Some(call);
    }

    /// Stops the machine in the middle of the changing call with this number, from 0.
    pub fn crash_at(&self, call: u64) {
        self.machine().crash_at = Some(call);
    }

    /// From now on syncs say `Ok` and do nothing.
    pub fn ignore_syncs(&self) {
        self.machine().ignores_syncs = true;
    }

    /// The disk as the next start finds it.
    #[must_use]
    pub fn after_crash(&self, tear: Tear, seed: u64) -> Self {
        let machine = self.machine();
        if tear == Tear::Everything {
            return machine.after_kill();
        }
        let mut random = StdRng::seed_from_u64(seed);
        let mut names = machine.durable_names.clone();
        let changes = machine.pending_names.len();
        let prefix = random.random_range(0..=changes);
        for (at, change) in machine.pending_names.iter().enumerate() {
            let survives = match tear {
                Tear::Nothing => false,
                Tear::Prefix => at < prefix,
                Tear::Sectors | Tear::Zeroed | Tear::Garbage => random.random(),
                Tear::Everything => true,
            };
            if survives {
                change.apply(&mut names);
            }
        }
        let mut inodes = BTreeMap::new();
        for (id, inode) in &machine.inodes {
            let bytes = tear_inode(inode, tear, &mut random);
            let durable = bytes.clone();
            inodes.insert(*id, Inode { bytes, durable, pending: Vec::new() });
        }
        let durable_names = names.clone();
        let next_inode = machine.next_inode;
        let image = Machine { inodes, next_inode, names, durable_names, ..Machine::default() };
        Self(Arc::new(Mutex::new(image)))
    }

    /// A file's bytes as programs see them.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let machine = self.machine();
        let inode = machine.inode_of(path)?;
        machine.inodes.get(&inode).map(|inode| inode.bytes.clone()).ok_or_else(failed)
    }

    /// Puts a file there, durable at once, whatever was there before.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut machine = self.machine();
        let id = machine.next_inode;
        machine.next_inode = id.saturating_add(1);
        let (bytes, durable) = (bytes.to_vec(), bytes.to_vec());
        machine.inodes.insert(id, Inode { bytes, durable, pending: Vec::new() });
        machine.names.insert(path.to_owned(), id);
        machine.durable_names.insert(path.to_owned(), id);
    }

    /// Flips bits of one byte, durably.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut bytes = self.bytes(path)?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        *bytes.get_mut(at).ok_or_else(failed)? ^= mask;
        self.put(path, &bytes);
        Ok(())
    }

    /// Cuts a file, durably.
    pub fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut bytes = self.bytes(path)?;
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.put(path, &bytes);
        Ok(())
    }

    /// Takes a name away, durably.
    pub fn erase(&self, path: &Path) {
        let mut machine = self.machine();
        machine.names.remove(path);
        machine.durable_names.remove(path);
    }

    /// All files with their bytes, by name.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let machine = self.machine();
        let bytes = |id: &u64| machine.inodes.get(id).map(|inode| inode.bytes.clone());
        let named = |(path, id): (&PathBuf, &u64)| Some((path.clone(), bytes(id)?));
        machine.names.iter().filter_map(named).collect()
    }
}

/// Lays bytes over a file, which grows as needed.
fn overlay(target: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let begin = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = begin.saturating_add(bytes.len());
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(place) = target.get_mut(begin..end) {
        place.copy_from_slice(bytes);
    }
}

fn tear_inode(inode: &Inode, tear: Tear, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = inode.durable.clone();
    let prefix = random.random_range(0..=inode.pending.len());
    for (at, (offset, written)) in inode.pending.iter().enumerate() {
        match tear {
            Tear::Everything => overlay(&mut bytes, *offset, written),
            Tear::Prefix if at < prefix => overlay(&mut bytes, *offset, written),
            Tear::Prefix if at == prefix => {
                let sectors = sectors_of(*offset, written);
                let keep = random.random_range(0..=sectors.len());
                for (offset, part) in sectors.into_iter().take(keep) {
                    overlay(&mut bytes, offset, part);
                }
            }
            Tear::Nothing | Tear::Prefix => {}
            Tear::Sectors | Tear::Zeroed | Tear::Garbage => {
                for (offset, part) in sectors_of(*offset, written) {
                    let survives: bool = random.random();
                    if survives {
                        overlay(&mut bytes, offset, part);
                    } else if tear == Tear::Zeroed {
                        overlay(&mut bytes, offset, &vec![0; part.len()]);
                    } else if tear == Tear::Garbage {
                        let mut garbage = vec![0; part.len()];
                        random.fill_bytes(&mut garbage);
                        overlay(&mut bytes, offset, &garbage);
                    }
                }
            }
        }
    }
    bytes
}

/// The parts of a write that fall into each sector.
fn sectors_of(offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    let mut at = offset;
    while !bytes.is_empty() {
        let room = SECTOR_BYTES.saturating_sub(at % SECTOR_BYTES);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(room);
        parts.push((at, part));
        at = at.saturating_add(room as u64);
        bytes = rest;
    }
    parts
}

impl Disk for MemDisk {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let machine = self.machine();
        if machine.has_crashed() {
            return Err(failed());
        }
        let here = machine.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        Ok(here.filter_map(name).collect())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut machine = self.machine();
        if machine.has_crashed() {
            return Err(failed());
        }
        if how == Open::CreateNew {
            if machine.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let counted = machine.count();
            if matches!(counted, Err(Failure::Refused)) {
                return Err(failed());
            }
            let id = machine.next_inode;
            machine.next_inode = id.saturating_add(1);
            machine.inodes.insert(id, Inode::default());
            machine.change_name(NameChange::Link(path.to_owned(), id));
            counted.map_err(|_| failed())?;
        }
        let inode = machine.inode_of(path)?;
        let is_writable = how != Open::Read;
        Ok(Arc::new(MemFile { disk: self.clone(), inode, is_writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.inode_of(from)?;
        let counted = machine.count();
        if !matches!(counted, Err(Failure::Refused)) {
            machine.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        }
        counted.map_err(|_| failed())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.inode_of(path)?;
        let counted = machine.count();
        if !matches!(counted, Err(Failure::Refused)) {
            machine.change_name(NameChange::Unlink(path.to_owned()));
        }
        counted.map_err(|_| failed())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.count().map_err(|_| failed())?;
        if machine.ignores_syncs {
            return Ok(());
        }
        let pending = std::mem::take(&mut machine.pending_names);
        for change in pending {
            if change.dir() == Some(dir) {
                change.apply(&mut machine.durable_names);
            } else {
                machine.pending_names.push(change);
            }
        }
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let machine = self.machine();
        let used: usize = machine.inodes.values().map(|inode| inode.bytes.len()).sum();
        Ok(Space { free: SIZE_BYTES.saturating_sub(used as u64), size: SIZE_BYTES })
    }

    /// A clock it has not: nobody knows when a file was written.
    fn about(&self, path: &Path) -> io::Result<About> {
        let machine = self.machine();
        let inode = machine.inode_of(path)?;
        let length = machine.inodes.get(&inode).map_or(0, |inode| inode.bytes.len() as u64);
        Ok(About { length, written_unix_ms: 0 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !self.machine().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(LockGuard { disk: self.clone(), path: path.to_owned() }))
    }
}

struct LockGuard {
    disk: MemDisk,
    path: PathBuf,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.disk.machine().locked.remove(&self.path);
    }
}

struct MemFile {
    disk: MemDisk,
    inode: u64,
    is_writable: bool,
}

impl DiskFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let machine = self.disk.machine();
        if machine.has_crashed() {
            return Err(failed());
        }
        let inode = machine.inodes.get(&self.inode).ok_or_else(failed)?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = inode.bytes.get(begin..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(rest) {
            *slot = *byte;
        }
        Ok(length)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut machine = self.disk.machine();
        let counted = machine.count();
        if !matches!(counted, Err(Failure::Refused)) {
            let inode = machine.inodes.get_mut(&self.inode).ok_or_else(failed)?;
            overlay(&mut inode.bytes, offset, bytes);
            inode.pending.push((offset, bytes.to_vec()));
        }
        counted.map_err(|_| failed())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut machine = self.disk.machine();
        machine.count().map_err(|_| failed())?;
        if !machine.ignores_syncs {
            let inode = machine.inodes.get_mut(&self.inode).ok_or_else(failed)?;
            for (offset, bytes) in std::mem::take(&mut inode.pending) {
                overlay(&mut inode.durable, offset, &bytes);
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let machine = self.disk.machine();
        let inode = machine.inodes.get(&self.inode).ok_or_else(failed)?;
        Ok(inode.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &MemDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.open(Path::new(name), Open::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn bytes_survive_a_crash_only_after_both_syncs() {
        let disk = MemDisk::new();
        let file = write(&disk, "d/a", b"first");
        assert!(disk.after_crash(Tear::Nothing, 0).contents().is_empty());
        disk.sync_dir(Path::new("d")).unwrap();
        assert_eq!(disk.after_crash(Tear::Nothing, 0).bytes(Path::new("d/a")).unwrap(), b"");
        file.sync_data().unwrap();
        file.write_all_at(b"again", 5).unwrap();
        let left = |tear| disk.after_crash(tear, 0).bytes(Path::new("d/a")).unwrap();
        assert_eq!(left(Tear::Nothing), b"first");
        assert_eq!(left(Tear::Everything), b"firstagain");
        assert_eq!(&left(Tear::Garbage)[..5], b"first");
    }

    #[test]
    fn a_crash_stops_everything_and_a_failure_only_itself() {
        let disk = MemDisk::new();
        let file = write(&disk, "d/a", b"x");
        disk.fail_at(disk.calls());
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        disk.crash_at(disk.calls());
        assert!(file.write_all_at(b"y", 1).is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert_eq!(disk.after_crash(Tear::Everything, 0).bytes(Path::new("d/a")).unwrap(), b"xy");
    }

    #[test]
    fn a_lying_sync_keeps_nothing() {
        let disk = MemDisk::new();
        disk.ignore_syncs();
        let file = write(&disk, "d/a", b"x");
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        assert!(disk.after_crash(Tear::Nothing, 0).contents().is_empty());
    }

    #[test]
    fn the_clock_moves_only_when_told_to() {
        let clock = ManualClock::default();
        assert_eq!(clock.monotonic(), Duration::ZERO);
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.monotonic(), Duration::from_millis(5));
    }
}
