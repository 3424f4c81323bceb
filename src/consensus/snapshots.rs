//! Snapshot files: written beside the log, received in parts, put in place as a whole.
//!
//! # Invariants
//! - N1 A file with its final name is complete, synced and verified.
//! - N2 An older snapshot is removed only after the newer one is durable under its name.
//! - N3 What is received never has a final name before it was decoded without fault.
//!
//! # Not here
//! What is inside a snapshot (`state::snapshot`), when one is made (openraft's policy).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::codec::{self, SnapshotChunk};
use super::error::StartError;
use super::raft_types::{SnapshotMeta, Vote};
use crate::os::disk::{self, Disk, DiskFile, Open};
use crate::state::{State, StateView, snapshot};

/// The folder inside the data directory.
pub const FOLDER: &str = "snapshots";
/// How the name of a complete snapshot ends; names sort by index.
pub const SUFFIX: &str = ".snap";
const BUILDING: &str = "building.tmp";
const INCOMING: &str = "incoming";
const TEMPORARY: &str = ".tmp";

/// A complete snapshot on disk.
#[derive(Clone)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u64,
    /// Removes it if it never gets its final name.
    temporary: Option<Arc<Temporary>>,
    /// What is in it, if it was decoded already; taken by the one who installs it.
    state: Arc<Mutex<Option<State>>>,
}

impl SnapshotFile {
    fn new(path: PathBuf, file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self { path, file, length, temporary: None, state: Arc::default() }
    }

    /// Decodes it and checks that it is what its message said. Blocks.
    pub(super) fn decoded(self, meta: &SnapshotMeta) -> io::Result<Self> {
        let (found, state) = decode(&self)?;
        if found != *meta {
            let why = format!("the snapshot covers {found}, its message says {meta}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        Ok(self)
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// A part of it, shorter only at the end.
    pub(super) fn read(&self, offset: u64, at_most: u64) -> io::Result<Bytes> {
        let length = self.length.saturating_sub(offset).min(at_most);
        let length = usize::try_from(length).map_err(io::Error::other)?;
        disk::read_exact_at(&*self.file, offset, length).map(Bytes::from)
    }
}

/// A received file on its way to its final name; gone with the last who knows it.
struct Temporary {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    is_kept: AtomicBool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed) {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// The snapshot files of one node.
#[derive(Clone)]
pub(super) struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    current: Arc<Mutex<Option<(SnapshotMeta, SnapshotFile)>>>,
}

impl Snapshots {
    /// Opens the folder, removes what was left half done, and decodes the newest snapshot.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
    ) -> Result<(Self, Option<(SnapshotMeta, State)>), StartError> {
        let dir = data_dir.join(FOLDER);
        disk.create_dir_all(&dir)?;
        for name in disk.list(&dir)? {
            if name.strip_suffix(TEMPORARY).is_some() {
                disk.remove(&dir.join(name))?;
            }
        }
        let newest = newest(&*disk, data_dir)?;
        let snapshots = Self { disk, dir, current: Arc::default() };
        let Some((name, file)) = newest else { return Ok((snapshots, None)) };
        let (meta, state) = decode(&file).map_err(|error| StartError::Snapshot {
            file: snapshots.dir.join(&name).display().to_string(),
            why: error.to_string(),
        })?;
        snapshots.remove_older(&name)?;
        snapshots.set_current(&meta, file);
        Ok((snapshots, Some((meta, state))))
    }

    fn remove_older(&self, newest: &str) -> io::Result<()> {
        for other in self.disk.list(&self.dir)? {
            if other.ends_with(SUFFIX) && other.as_str() < newest {
                remove_if_there(&*self.disk, &self.dir.join(other))?;
            }
        }
        Ok(())
    }

    /// Makes this the newest one, unless there is a newer one.
    fn set_current(&self, meta: &SnapshotMeta, file: SnapshotFile) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|(newest, _)| newest.last_log_id > meta.last_log_id) {
            return false;
        }
        *current = Some((meta.clone(), file));
        true
    }

    /// The newest complete snapshot.
    pub(super) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a snapshot of `view` and puts it in place. Blocks for as long as the disk takes.
    pub(super) fn build(&self, view: &StateView, meta: &SnapshotMeta) -> io::Result<SnapshotFile> {
        let path = self.dir.join(BUILDING);
        remove_if_there(&*self.disk, &path)?;
        let file = self.disk.open(&path, Open::CreateNew)?;
        let mut length = 0_u64;
        for chunk in snapshot::encode(view, &codec::encode_snapshot_meta(meta)) {
            file.write_all_at(&chunk, length)?;
            length = length.saturating_add(chunk.len() as u64);
        }
        file.sync_data()?;
        let written = SnapshotFile::new(path, file, length);
        self.put_in_place(meta, &written)
    }

    /// Decodes a received snapshot and, if it is whole, puts it in place. Blocks.
    pub(super) fn install(
        &self,
        meta: &SnapshotMeta,
        received: &SnapshotFile,
    ) -> io::Result<State> {
        let known = received.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        let state = match known {
            Some(state) => state,
            None => decode(received)?.1,
        };
        self.put_in_place(meta, received)?;
        Ok(state)
    }

    fn put_in_place(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> io::Result<SnapshotFile> {
        let name = file_name(meta);
        let path = self.dir.join(&name);
        if file.path != path {
            self.disk.rename(&file.path, &path)?;
        }
        if let Some(temporary) = &file.temporary {
            temporary.is_kept.store(true, Ordering::Relaxed);
        }
        self.disk.sync_dir(&self.dir)?;
        let in_place = SnapshotFile { path, ..file.clone() };
        // A snapshot that was being built when a newer one was installed must not take its place.
        if self.set_current(meta, in_place.clone()) {
            self.remove_older(&name)?;
        }
        Ok(in_place)
    }
}

fn file_name(meta: &SnapshotMeta) -> String {
    let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{index:020}-{term:020}{SUFFIX}")
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The newest snapshot in a data directory, for those who only look.
pub(super) fn newest(
    disk: &dyn Disk,
    data_dir: &Path,
) -> io::Result<Option<(String, SnapshotFile)>> {
    let dir = data_dir.join(FOLDER);
    let names = match disk.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Names sort by index, so the last one is the newest.
    let Some(newest) = names.into_iter().rfind(|name| name.ends_with(SUFFIX)) else {
        return Ok(None);
    };
    let path = dir.join(&newest);
    let file = disk.open(&path, Open::Read)?;
    let length = file.len()?;
    Ok(Some((newest, SnapshotFile::new(path, file, length))))
}

pub(super) fn decode(file: &SnapshotFile) -> io::Result<(SnapshotMeta, State)> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let bytes = file.read(0, file.length)?;
    let (state, meta) = snapshot::decode(&bytes[..]).map_err(|e| invalid(e.to_string()))?;
    let meta = codec::decode_snapshot_meta(meta.into()).map_err(|e| invalid(e.to_string()))?;
    Ok((meta, state))
}

/// A snapshot that is being received.
pub(super) struct Incoming {
    snapshots: Snapshots,
    part: Option<Part>,
    /// Every one gets a file of its own: the one before may still be decoded or installed.
    begun: u64,
}

struct Part {
    path: PathBuf,
    temporary: Arc<Temporary>,
    vote: Vote,
    meta: SnapshotMeta,
    total: u64,
    received: u64,
    file: Arc<dyn DiskFile>,
}

/// What became of a chunk.
pub(super) enum Received {
    /// More is to come: the sender goes on at this offset.
    GoOn(u64),
    /// That was the last part; the whole is synced and waits to be installed.
    Complete(SnapshotFile),
}

impl Incoming {
    /// Receives into the folder of `snapshots`.
    pub(super) fn new(snapshots: Snapshots) -> Self {
        Self { snapshots, part: None, begun: 0 }
    }

    /// Takes a chunk. A chunk at offset 0 begins anew; one that does not fit is answered with the
    /// offset that would. Blocks.
    pub(super) fn take(&mut self, chunk: &SnapshotChunk) -> io::Result<Received> {
        if chunk.offset == 0 {
            self.begin(chunk)?;
        }
        let fits = |part: &&mut Part| {
            part.vote == chunk.vote
                && part.meta == chunk.meta
                && part.total == chunk.total
                && part.received == chunk.offset
        };
        let Some(part) = self.part.as_mut().filter(fits) else {
            let same = self.part.as_ref().filter(|part| part.meta == chunk.meta);
            return Ok(Received::GoOn(same.map_or(0, |part| part.received)));
        };
        part.file.write_all_at(&chunk.bytes, chunk.offset)?;
        part.received = part.received.saturating_add(chunk.bytes.len() as u64);
        if part.received < part.total {
            return Ok(Received::GoOn(part.received));
        }
        part.file.sync_data()?;
        let mut complete = SnapshotFile::new(part.path.clone(), part.file.clone(), part.received);
        complete.temporary = Some(part.temporary.clone());
        self.part = None;
        Ok(Received::Complete(complete))
    }

    fn begin(&mut self, chunk: &SnapshotChunk) -> io::Result<()> {
        self.part = None;
        self.begun = self.begun.wrapping_add(1);
        let path = self.snapshots.dir.join(format!("{INCOMING}-{}{TEMPORARY}", self.begun));
        let disk = self.snapshots.disk.clone();
        let is_kept = AtomicBool::new(false);
        self.part = Some(Part {
            temporary: Arc::new(Temporary { disk, path: path.clone(), is_kept }),
            path: path.clone(),
            vote: chunk.vote,
            meta: chunk.meta.clone(),
            total: chunk.total,
            received: 0,
            file: self.snapshots.disk.open(&path, Open::CreateNew)?,
        });
        Ok(())
    }
}
