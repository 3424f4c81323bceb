//! `bitacora check DIR`: reads the files of a stopped node and says what is in them. Changes
//! nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::consensus::identity;
use crate::consensus::verify;
use crate::node::{LOCK_FILE, LOG_FOLDER};
use crate::os::disk::{Disk, SystemDisk};
use crate::types::Index;
use crate::wal::{self, Report, SegmentReport, Verdict};

/// `bitacora check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The data directory of a stopped node
    dir: PathBuf,
}

/// Verifies a data directory.
pub fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let disk = SystemDisk;
    let named = |error| Failure::machine("cannot read the data directory", error);
    let names = disk.list(&args.dir).map_err(named)?;
    if names.iter().any(|name| name == LOCK_FILE) {
        let lock = disk.lock(&args.dir.join(LOCK_FILE));
        if lock.is_err() {
            output::note("bitacora: a running node uses this directory; stop it first");
            return Ok(Exit::Error);
        }
    }
    let mut damaged = false;
    damaged |= !show_identity(&disk, &args.dir);
    damaged |= !show_snapshots(&disk, &args.dir);
    damaged |= !show_log(&disk, &args.dir.join(LOG_FOLDER));
    if damaged {
        output::line(
            "\nDAMAGED. The other nodes have the data: keep this directory for an examination, and \
             do not start a node from it.",
        );
        return Ok(Exit::Damaged);
    }
    output::line("\nok");
    Ok(Exit::Ok)
}

fn show_identity(disk: &SystemDisk, dir: &Path) -> bool {
    match identity::load(disk, dir) {
        Ok(Some(identity)) => {
            let members: Vec<_> = identity.members.iter().map(|m| m.name.to_string()).collect();
            output::line(&format!(
                "identity   node {} (raft id {}) of cluster {}, founded by {}",
                identity.name,
                identity.node,
                identity.cluster,
                members.join(", ")
            ));
            true
        }
        Ok(None) => {
            output::line("identity   none: this node never belonged to a cluster");
            true
        }
        Err(error) => {
            output::line(&format!("identity   {error}"));
            false
        }
    }
}

fn show_snapshots(disk: &SystemDisk, dir: &Path) -> bool {
    match verify::newest_snapshot(disk, dir) {
        Ok(None) => {
            output::line("snapshot   none");
            true
        }
        Ok(Some(found)) => {
            output::line(&format!(
                "snapshot   {}: {} keys up to index {}, {} bytes, checksum right",
                found.file, found.keys, found.last, found.bytes
            ));
            true
        }
        Err(error) => {
            output::line(&format!("snapshot   {error}"));
            false
        }
    }
}

fn show_log(disk: &SystemDisk, dir: &Path) -> bool {
    if matches!(disk.list(dir), Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
        output::line("log        none");
        return true;
    }
    let report = match wal::inspect(disk, dir) {
        Ok(report) => report,
        Err(error) => {
            output::line(&format!("log        {error}"));
            return false;
        }
    };
    output::line(&summary(&report));
    for segment in &report.segments {
        output::line(&row(segment));
    }
    match &report.verdict {
        Verdict::Clean => true,
        Verdict::TornTail { segment, offset, bytes } => {
            output::line(&format!(
                "log        a write was cut off by a crash at byte {offset} of segment {segment} \
                 ({bytes} bytes). Nobody was told that it was durable; the next start removes it"
            ));
            true
        }
        Verdict::Refused(error) => {
            output::line(&format!("log        {error}"));
            false
        }
    }
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "log        {} segments, {} spare; entries {} to {}; purged up to {}",
        report.segments.len(),
        report.spares,
        index(report.first),
        index(report.last),
        index(report.purged),
    );
    // Writing to a String cannot fail.
    let _ = write!(text, "; vote {}", if report.has_vote { "saved" } else { "none" });
    text
}

fn index(index: Option<Index>) -> String {
    index.map_or_else(|| "none".to_owned(), |index| index.to_string())
}

fn row(segment: &SegmentReport) -> String {
    format!(
        "           segment {}: entries {} to {}, {} batches, {} of {} bytes{}",
        segment.id,
        index(segment.first),
        index(segment.last),
        segment.batches,
        segment.used_bytes,
        segment.size_bytes,
        if segment.sealed { ", full" } else { "" },
    )
}
