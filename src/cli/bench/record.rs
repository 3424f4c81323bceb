//! What every client asked and got, one JSON line a request: a history that a checker can judge.
//!
//! Times are microseconds since 1970 by the wall clock at the start plus monotonic time since, so
//! that they never go back within a run.
//!
//! # Not here
//! Judging a history.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::os::disk::open_append;

/// One request and its answer.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Which client.
    pub client: usize,
    /// The client's how-many-eth request.
    pub seq: u64,
    /// `put`, `get` or `write`.
    pub op: &'static str,
    /// The key; of a `write`, the first.
    pub key: String,
    /// What was written or read: the part of the value that makes it unique. Null when a read
    /// found nothing or a value that is not from a bench.
    pub value: Option<&'a str>,
    /// The HTTP status; null when there was no answer.
    pub status: Option<u16>,
    /// `Bitacora-Index`.
    pub index: Option<u64>,
    /// `ok`; `not_found`; of a write: `not_applied`, `unknown` or `applied`; of a read: `failed`.
    pub outcome: &'a str,
    /// When it was sent.
    pub start_us: u64,
    /// When the answer was there, or its absence was certain.
    pub end_us: u64,
}

/// A file of such lines.
pub struct Recorder {
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl Recorder {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 16, open_append(path)?), failed: None })
    }

    /// Writes one line. The first error is kept for [`Recorder::finish`].
    pub fn write(&mut self, line: &Line<'_>) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.file, line).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|()| self.file.write_all(b"\n")) {
            self.failed = Some(error);
        }
    }

    /// Writes what is left; the first error of all.
    pub fn finish(mut self) -> std::io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_has_a_line_for_each_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut recorder = Recorder::open(&path).unwrap();
        for seq in 0..2 {
            recorder.write(&Line {
                client: 3,
                seq,
                op: "put",
                key: "k".into(),
                value: Some("3-0"),
                status: None,
                index: None,
                outcome: "unknown",
                start_us: 5,
                end_us: 9,
            });
        }
        recorder.finish().unwrap();
        let bytes = crate::os::disk::read_whole(&path).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected = concat!(
            r#"{"client":3,"seq":0,"op":"put","key":"k","value":"3-0","status":null,"#,
            r#""index":null,"outcome":"unknown","start_us":5,"end_us":9}"#
        );
        assert_eq!(text.lines().next(), Some(expected));
        assert_eq!(text.lines().count(), 2);
    }
}
