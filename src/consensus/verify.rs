//! Verifies the snapshot of a stopped node.

use std::path::Path;

use super::error::StartError;
use super::snapshots;
use crate::os::disk::Disk;
use crate::types::Index;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Its file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Keys in it.
    pub keys: usize,
    /// The last index it covers.
    pub last: Index,
}

/// Reads and checks the newest snapshot in a data directory; `None` if there is none.
pub fn newest_snapshot(
    disk: &dyn Disk,
    data_dir: &Path,
) -> Result<Option<SnapshotReport>, StartError> {
    let Some((name, file)) = snapshots::newest(disk, data_dir)? else { return Ok(None) };
    let (meta, state) = snapshots::decode(&file)
        .map_err(|error| StartError::Snapshot { file: name.clone(), why: error.to_string() })?;
    Ok(Some(SnapshotReport {
        file: name,
        bytes: file.length(),
        keys: state.current().len(),
        last: Index::new(meta.last_log_id.map_or(0, |id| id.index)),
    }))
}
