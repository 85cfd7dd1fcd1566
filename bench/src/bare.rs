//! The peer of single writes: a loop that only appends one document and syncs it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::places;
use crate::turns::repeat;

/// The bytes that a store writes for one put.
const DOCUMENT: &[u8] =
    b"---\nhouse/0042/sensor-0000042: {value: \"21.5\", updated: 2026-11-20T12:00:00.123456789Z}\n...\n";

/// A file for appends.
pub(crate) struct Bare {
    file: File,
    end: u64,
    _folder: TempDir,
}

impl Bare {
    /// A new file on the disk of the stores.
    pub(crate) fn new() -> Self {
        let folder = places::data_folder();
        Self { file: File::create(folder.path().join("bare")).unwrap(), end: 0, _folder: folder }
    }

    /// Appends and syncs once. Returns the seconds that it took.
    pub(crate) fn one(&mut self) -> f64 {
        let start = Instant::now();
        self.file.write_all_at(DOCUMENT, self.end).unwrap();
        self.file.sync_data().unwrap();
        self.end += DOCUMENT.len() as u64;
        start.elapsed().as_secs_f64()
    }

    /// Appends for this time. Returns the appends per second.
    pub(crate) fn run(mut self, time: Duration) -> f64 {
        repeat(time, &mut 0, |_| {
            self.one();
        })
    }
}
