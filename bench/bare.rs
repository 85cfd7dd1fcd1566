//! The peer of all writes: a loop that only appends one document and syncs it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use tempfile::TempDir;

use crate::comparison::rate;

/// The bytes that the store writes for one put. The digits differ, but not their number.
const DOCUMENT: &[u8] =
    b"---\nhouse/0042/sensor-0000042: {value: \"21.5\", updated: 2026-11-20T12:00:00.123456789Z}\n...\n";

/// A file for appends.
pub(crate) struct Bare {
    _folder: TempDir,
    file: File,
    end: u64,
}

impl Bare {
    /// A new file in this folder, which must be on the disk of the store.
    pub(crate) fn new(folder: TempDir) -> Self {
        Self { file: File::create(folder.path().join("bare")).unwrap(), _folder: folder, end: 0 }
    }

    /// Appends and syncs once. Returns the seconds that it took.
    pub(crate) fn one(&mut self) -> f64 {
        let start = Instant::now();
        self.file.write_all_at(DOCUMENT, self.end).unwrap();
        self.file.sync_data().unwrap();
        self.end += DOCUMENT.len() as u64;
        start.elapsed().as_secs_f64()
    }

    /// Appends `count` times. Returns the appends per second.
    pub(crate) fn run(mut self, count: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..count {
            self.one();
        }
        rate(count, start)
    }
}
