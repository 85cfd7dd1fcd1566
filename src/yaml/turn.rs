//! Working on the files of a bucket: one thread of this process at a time, under the lock among processes.
//!
//! A try never waits. Whoever waits between two tries holds nothing: neither the files nor a lock.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::bucket::BucketStore;
use super::disk::Hold;
use super::file::DataFile;
use super::lock::Held;
use super::opened::Opened;
use crate::model::{Error, Kind, Result};

/// The first pause between two tries.
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);

/// So long others may be served first.
const LONG: Duration = Duration::from_millis(500);

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
pub(super) struct Pause<'a> {
    begun: Instant,
    next: Duration,
    /// How many wait in this store, this one among them.
    waiting: &'a AtomicUsize,
}

impl<'a> Pause<'a> {
    pub(super) fn new(opened: &'a Opened) -> Self {
        opened.waiting.fetch_add(1, Ordering::Relaxed);
        Self { begun: Instant::now(), next: SHORTEST_PAUSE, waiting: &opened.waiting }
    }

    /// How long it has waited so far.
    pub(super) fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        (self.begun, self.next) = (Instant::now(), SHORTEST_PAUSE);
    }

    /// Lets some time pass.
    pub(super) fn rest(&mut self) {
        std::thread::sleep(self.next);
        let longest = longest(self.waiting.load(Ordering::Relaxed));
        // Whoever has waited for long looks more often than those who come anew.
        let most = if self.waited() >= LONG { longest / 10 } else { longest };
        self.next = (self.next * 2).min(most);
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The longest pause, if so many wait: a millisecond, or more, so that all of them together cost little.
fn longest(waiting: usize) -> Duration {
    let share = Duration::from_micros(200) * u32::try_from(waiting).unwrap_or(u32::MAX);
    share.clamp(Duration::from_millis(1), Duration::from_secs(1))
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
        self.file.try_lock().map_or(Ok(None), |file| self.turn_with(file, hold))
    }

    fn turn_with<'a>(&'a self, mut file: MutexGuard<'a, DataFile>, hold: Hold) -> Result<Option<Turn<'a>>> {
        if !self.opened.admit(&self.file) {
            return Ok(None);
        }
        let held = file.lock(hold)?;
        if held.is_none() {
            self.opened.demote(&self.file);
        }
        Ok(held.map(|held| Turn { _held: held, file }))
    }

    /// The same for a thread that may wait. Its turn comes however many others try meanwhile: the mutex is handed to who
    /// waits for it.
    ///
    /// # Errors
    /// `Busy` if others hold them for longer than one waits for a lock.
    pub(super) fn turn(&self, hold: Hold) -> Result<Turn<'_>> {
        let (deadline, mut pause) = (self.deadline(), Pause::new(&self.opened));
        loop {
            if let Some(file) = self.file.try_lock_until(deadline)
                && let Some(turn) = self.turn_with(file, hold)?
            {
                return Ok(turn);
            }
            if Instant::now() >= deadline {
                return Err(self.busy());
            }
            pause.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_wait_try_less_often_each() {
        assert_eq!([0, 1, 5].map(longest), [Duration::from_millis(1); 3]);
        assert_eq!(longest(600), Duration::from_millis(120));
        assert_eq!(longest(1_000_000), Duration::from_secs(1));
    }
}
