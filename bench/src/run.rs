//! One run of the program: its options, and what it has measured so far.

use std::time::Duration;

use crate::bare::Bare;
use crate::options::Options;
use crate::row::Row;
use crate::table;
use crate::turns::median;

/// A curve of the plot of growth: a rate for each number of keys.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(usize, f64)>,
}

/// What has been measured.
pub(crate) struct Run {
    pub(crate) options: Options,
    pub(crate) rows: Vec<Row>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) elapsed: Vec<(&'static str, Duration)>,
    /// The seconds of single syncs, measured before each part.
    syncs: Vec<f64>,
}

impl Run {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, rows: vec![], curves: vec![], elapsed: vec![], syncs: vec![] }
    }

    /// Adds a row, and reports it while the others are measured.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}", table::line(&row));
        self.rows.push(row);
    }

    /// Measures how long the disk takes for a sync.
    pub(crate) fn note_sync_time(&mut self) {
        let mut bare = Bare::new();
        self.syncs.extend((0..200).map(|_| bare.one()));
    }

    /// The median time of an append and its sync in this run.
    pub(crate) fn sync_seconds(&self) -> f64 {
        median(self.syncs.iter().copied())
    }
}
