//! Working on the files of a bucket: one thread of this process at a time, under the lock among processes.
//!
//! A try never waits. Whoever waits between two tries holds nothing: neither the files nor a lock.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::bucket::BucketStore;
use super::disk::Hold;
use super::file::DataFile;
use super::lock::Held;
use crate::model::{Error, Kind, Result};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Leave to work on the files of a bucket, until dropped.
pub(super) struct Turn<'a> {
    // Given back before the files.
    _held: Held,
    file: MutexGuard<'a, DataFile>,
}

impl Deref for Turn<'_> {
    type Target = DataFile;

    fn deref(&self) -> &DataFile {
        &self.file
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut DataFile {
        &mut self.file
    }
}

/// The time between two tries: microseconds at first, since most hold a bucket only briefly.
pub(super) struct Pause {
    begun: Instant,
    next: Duration,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), next: Duration::from_micros(20) }
    }

    /// How long it has waited so far.
    pub(super) fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets some time pass.
    pub(super) fn rest(&mut self) {
        std::thread::sleep(self.next);
        // Up to a millisecond soon; more only for those who have waited for long, so that many of them cost little.
        let most = (self.begun.elapsed() / 20).clamp(Duration::from_millis(1), LONGEST_PAUSE);
        self.next = (self.next * 2).min(most);
    }
}

impl BucketStore {
    /// When somebody who begins to wait now is sent away.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        // A wait without an end ends in a year.
        now.checked_add(self.options.lock_wait).unwrap_or(now + Duration::from_secs(365 * 24 * 3600))
    }

    /// That the bucket could not be had in time.
    pub(super) fn busy(&self) -> Error {
        let (bucket, wait) = (&self.place.bucket, self.options.lock_wait.as_secs_f32());
        let text = format!("others have held the bucket {bucket:?} for {wait} s; nothing was done, try again");
        Error::new(Kind::Busy, text)
    }

    /// Takes the files and the lock if both are free. None: others have them, or too many files are open.
    pub(super) fn try_turn(&self, hold: Hold) -> Result<Option<Turn<'_>>> {
        let Some(mut file) = self.file.try_lock() else { return Ok(None) };
        if !self.opened.admit(&self.file) {
            return Ok(None);
        }
        let held = file.lock(hold)?;
        if held.is_none() {
            self.opened.demote(&self.file);
        }
        Ok(held.map(|held| Turn { _held: held, file }))
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// `Busy` if others hold them for longer than one waits for a lock.
    pub(super) fn turn(&self, hold: Hold) -> Result<Turn<'_>> {
        let (deadline, mut pause) = (self.deadline(), Pause::new());
        loop {
            if let Some(turn) = self.try_turn(hold)? {
                return Ok(turn);
            }
            if Instant::now() >= deadline {
                return Err(self.busy());
            }
            pause.rest();
        }
    }
}
