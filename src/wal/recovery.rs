//! Opening a log: follow the files, cut a torn tail, finish what a crash left, refuse damage.
//!
//! # Invariants
//! - W10 Before [`open`] returns, all that it found is durable. After `kill -9` the bytes may only
//!   be in the page cache, and whoever reads them counts them as acknowledged.
//! - Recovery is idempotent, also when it is interrupted: it destroys only what was refused already
//!   and writes only what a finished run would have written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::content::Content;
use super::error::WalError;
use super::format::{BATCH_HEADER_BYTES, BatchBuilder, HEADER_BYTES, Header, Kind, Link};
use super::scan::{Listing, Loaded, Remains, Scan, Walk, remains};
use super::segment::{Change, Map, Segment, Spares, create_zeroed, segment_name};
use super::view::{Log, View};
use super::writer::{Active, Writer, entry_limit};
use super::{Observer, Options, Presence};
use crate::os::clock::Clock;
use crate::os::disk::{Disk, DiskFile, Open};
use crate::types::Index;

/// A log that has been opened.
pub struct Opened {
    /// Writes; to be driven by [`super::thread::spawn`] or by hand.
    pub writer: Writer,
    /// Makes handles.
    pub log: Log,
    /// What was found.
    pub recovered: Recovered,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// There was no log: it has been founded.
    pub created: bool,
    /// Segment files.
    pub segments: usize,
    /// Entry records read, those that were later truncated or purged included.
    pub entries: u64,
    /// A torn tail, now cut.
    pub torn: Option<Torn>,
    /// A crash had come between two segments.
    pub seal_finished: bool,
    /// How long it took.
    pub duration: Duration,
}

/// A write that a crash interrupted. Nobody was told that it was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// Segment number.
    pub segment: u64,
    /// Where it began.
    pub offset: u64,
    /// How many bytes were given up, as far as can be told.
    pub bytes: u64,
}

/// Opens the log in `dir`, or founds one. The caller holds the lock of the data directory.
///
/// # Errors
/// Damage, a foreign or unknown file, a failing disk. Damage changes nothing on disk.
pub fn open(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: &Path,
    options: &Options,
    observer: Arc<dyn Observer>,
) -> Result<Opened, WalError> {
    options.check()?;
    let started = clock.monotonic();
    disk.create_dir_all(dir).map_err(|e| WalError::io("create", dir, e))?;
    let listing = Listing::read(&*disk, dir)?;
    for name in &listing.temporary {
        let path = dir.join(name);
        disk.remove(&path).map_err(|e| WalError::io("remove", &path, e))?;
    }
    // First of all, the names: after a kill the newest segment's may not be durable, and a seal
    // that says that it follows must not outlive it.
    disk.sync_dir(dir).map_err(|e| WalError::io("sync", dir, e))?;
    let mut found = if listing.segments.is_empty() {
        found_log(&disk, dir, options, &listing)?
    } else {
        recover(&*disk, dir, options, &listing.segments)?
    };
    let spares = usable_spares(&*disk, dir, options.segment_size_bytes, &listing.spares)?;
    found.recovered.duration = clock.monotonic().saturating_sub(started);
    let limit = entry_limit(options.segment_size_bytes);
    let view = View::new(found.content.clone(), found.map, options.cache_bytes, limit);
    let view = Arc::new(view);
    let spares = Spares::new(disk, dir, options.segment_size_bytes, &spares);
    let writer = Writer::new(
        (view.clone(), Arc::new(spares)),
        (clock, observer),
        (dir.to_owned(), options.clone()),
        (found.active, found.content),
    );
    Ok(Opened { writer, log: Log(view), recovered: found.recovered })
}

/// What the writer and the view start from.
struct Found {
    active: Active,
    content: Content,
    map: Map,
    recovered: Recovered,
}

fn found_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
    listing: &Listing,
) -> Result<Found, WalError> {
    // Spares are made after the first segment is durable: alone they mean that segments are lost.
    if options.presence == Presence::MustExist || !listing.spares.is_empty() {
        return Err(WalError::Missing(dir.to_owned()));
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(|e| WalError::io("sync", parent, e))?;
    }
    let size = options.segment_size_bytes;
    let temporary = dir.join(format!("{}.tmp", segment_name(1)));
    create_zeroed(&**disk, &temporary, size)?;
    let header = Header {
        cluster: options.cluster,
        node: options.node,
        segment: 1,
        first_index: None,
        next_index: None,
        salt: options.salt(1),
        size,
        chain: 0,
    };
    let spares = Spares::new(disk.clone(), dir, size, &[]);
    let (file, crc) = spares.install(&temporary, &header)?;
    let mut map = Map::default();
    map.push_segment(Segment::new(1, file.clone()));
    let recovered = Recovered { created: true, segments: 1, ..Recovered::default() };
    let active = Active::begin(file, &header, crc);
    Ok(Found { active, content: Content::default(), map, recovered })
}

fn recover(disk: &dyn Disk, dir: &Path, options: &Options, ids: &[u64]) -> Result<Found, WalError> {
    let mut walk = Walk::new(options.cluster, options.node);
    let mut map = Map::default();
    // Kept until the walk has ended: damage further on must leave everything as it was.
    let mut before: Option<Loaded> = None;
    let mut newest: Option<(Loaded, Scan)> = None;
    for id in ids {
        let is_last = Some(id) == ids.last();
        let loaded = Loaded::read(disk, dir, *id, Open::Write)?;
        let scan = walk.step(&loaded, is_last)?;
        map.push_segment(Segment::new(*id, loaded.file.clone()));
        walk.changes.drain(..).for_each(|change: Change| map.change(change));
        before = newest.replace((loaded, scan)).map(|(loaded, _)| loaded);
    }
    walk.check_complete(map.first_absent(walk.content.range))?;
    let Some((loaded, scan)) = newest else {
        return Err(WalError::Missing(dir.to_owned()));
    };
    if let (Some(unsealed), Some(before)) = (&walk.unsealed, &before) {
        finish_seal(dir, before, unsealed)?;
    }
    let remains = remains(&loaded, scan.end);
    let path = dir.join(segment_name(scan.id));
    destroy(&loaded, &remains, &path)?;
    for file in before.iter().chain([&loaded]) {
        let path = dir.join(segment_name(file.header.segment));
        file.file.sync_data().map_err(|e| WalError::io("sync", &path, e))?;
    }
    let torn = (!remains.places.is_empty()).then_some(Torn {
        segment: scan.id,
        offset: scan.end,
        bytes: remains.bytes,
    });
    let recovered = Recovered {
        created: false,
        segments: map.len(),
        entries: walk.entries,
        torn,
        seal_finished: walk.unsealed.is_some(),
        duration: Duration::ZERO,
    };
    let mut active = Active::begin(loaded.file.clone(), &loaded.header, loaded.header_crc);
    active.resume(&scan);
    Ok(Found { active, content: walk.content, map, recovered })
}

/// A crash came after the next segment had its name and before the seal here was durable.
fn finish_seal(dir: &Path, loaded: &Loaded, scan: &Scan) -> Result<(), WalError> {
    let path: PathBuf = dir.join(segment_name(scan.id));
    let mut builder = BatchBuilder::new();
    builder.push(Kind::Seal, Index::default(), b"");
    let synced_offset = u32::try_from(scan.end).unwrap_or(u32::MAX);
    let link = Link { previous: scan.chain, synced_offset, synced: None };
    let (bytes, _) = builder.finish(loaded.place(), scan.end, link);
    loaded.file.write_all_at(bytes, scan.end).map_err(|e| WalError::io("write", &path, e))
}

/// Zeroes whatever could validate behind a batch that is written here later.
fn destroy(loaded: &Loaded, remains: &Remains, path: &Path) -> Result<(), WalError> {
    let zeros = [0; BATCH_HEADER_BYTES];
    for at in &remains.places {
        let room = usize::try_from(loaded.header.size.saturating_sub(*at)).unwrap_or(usize::MAX);
        let part = zeros.get(..room.min(zeros.len())).unwrap_or(&zeros);
        let written = loaded.file.write_all_at(part, *at);
        written.map_err(|e| WalError::io("write", path, e))?;
    }
    Ok(())
}

/// Spares of the right length; the others, and more than two, are removed.
fn usable_spares(
    disk: &dyn Disk,
    dir: &Path,
    size: u64,
    numbers: &[u64],
) -> Result<Vec<u64>, WalError> {
    let mut usable = Vec::new();
    for number in numbers {
        let path = dir.join(format!("spare.{number}"));
        let length = || -> std::io::Result<u64> {
            let file: Arc<dyn DiskFile> = disk.open(&path, Open::Read)?;
            file.len()
        };
        let length = length().map_err(|e| WalError::io("look at", &path, e))?;
        if length == size && size > HEADER_BYTES && usable.len() < 2 {
            usable.push(*number);
        } else {
            disk.remove(&path).map_err(|e| WalError::io("remove", &path, e))?;
        }
    }
    Ok(usable)
}
