//! When files are compacted: if their log has become long, if nobody has written for a while, and when the process ends.
//!
//! One thread tidies all buckets of a store. It is started with the first write, and ends when there is nothing to do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::bucket::BucketStore;
use super::file::DataFile;
use crate::model::Kind;

/// The log of a file that is tidied is folded once it is longer than the snapshot and than this, in bytes.
const TIDY_LOG: u64 = 4 << 10;

/// The buckets that are to be tidied.
#[derive(Default)]
pub(super) struct Tidier {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Default)]
struct Plan {
    /// Each with the time when it may be quiet.
    waiting: Vec<(Instant, Weak<BucketStore>)>,
    is_running: bool,
    is_over: bool,
}

impl Tidier {
    /// Has a bucket tidied at that time, if it is quiet by then.
    fn add(self: &Arc<Self>, bucket: &Arc<BucketStore>, due: Instant) {
        let mut plan = self.plan.lock();
        if plan.is_over || plan.waiting.iter().any(|(_, other)| std::ptr::eq(other.as_ptr(), Arc::as_ptr(bucket))) {
            return;
        }
        plan.waiting.push((due, Arc::downgrade(bucket)));
        if !plan.is_running {
            let tidier = Arc::clone(self);
            // Without a thread to be had, the end of the process tidies.
            let thread = std::thread::Builder::new().name("kvs tidy".into()).spawn(move || tidier.run());
            plan.is_running = thread.is_ok();
        }
    }

    /// Begins nothing more.
    pub(super) fn stop(&self) {
        let mut plan = self.plan.lock();
        plan.is_over = true;
        plan.waiting.clear();
        self.changed.notify_all();
    }

    fn run(self: &Arc<Self>) {
        while let Some(bucket) = self.next() {
            if let Some(bucket) = bucket.upgrade() {
                match bucket.quiet_at() {
                    Some(due) if due > Instant::now() => self.add(&bucket, due),
                    _ => bucket.tidy(),
                }
            }
        }
    }

    /// The next bucket, once it is due; none if there is none.
    fn next(&self) -> Option<Weak<BucketStore>> {
        let mut plan = self.plan.lock();
        loop {
            let next = plan.waiting.iter().enumerate().min_by_key(|(_, (due, _))| *due).map(|(n, (due, _))| (n, *due));
            let Some((n, due)) = next.filter(|_| !plan.is_over) else {
                plan.is_running = false;
                return None;
            };
            let now = Instant::now();
            if due <= now {
                return Some(plan.waiting.swap_remove(n).1);
            }
            self.changed.wait_for(&mut plan, due - now);
        }
    }
}

impl BucketStore {
    /// Notes that the bucket was written, or found not to be at rest; `file` is locked by the caller.
    pub(super) fn stir(self: &Arc<Self>, file: &DataFile) {
        if !self.is_to_tidy(file) {
            return;
        }
        let now = Instant::now();
        *self.stirred.lock() = Some(now);
        self.tidier.add(self, now + self.options.tidy_after);
    }

    fn is_to_tidy(&self, file: &DataFile) -> bool {
        let known = &file.known;
        self.tidies(known.committed) && known.stat.is_some() && !known.vanished && !known.is_tidy
    }

    /// Whether files of this length are tidied.
    fn tidies(&self, len: u64) -> bool {
        !self.options.tidy_after.is_zero() && len <= self.options.tidy_up_to
    }

    /// When it has been quiet for as long as is waited for that.
    fn quiet_at(&self) -> Option<Instant> {
        self.stirred.lock().map(|at| at + self.options.tidy_after)
    }

    /// Brings the file into its form at rest, if it is not.
    fn tidy(&self) {
        *self.stirred.lock() = None;
        if !self.is_to_tidy(&self.file.lock()) {
            return;
        }
        // Another process may have done it.
        drop(self.current_now());
        if !self.is_to_tidy(&self.file.lock()) {
            return;
        }
        match self.compact() {
            Ok(_) => {}
            // Somebody else does it, or a person must do something first, which has been said.
            Err(error) if matches!(error.kind(), Kind::Busy | Kind::Damaged | Kind::PermissionDenied) => {
                tracing::debug!("tidying {}: {error}", self.place.data.display());
            }
            Err(error) => tracing::warn!("tidying {}: {error}", self.place.data.display()),
        }
    }

    /// Tidies at the end of the process what it has written, and what others left behind some time ago.
    fn tidy_last(&self) {
        let is_left_behind = || {
            let changed = self.file.lock().known.stat.map_or(0, |stat| stat.modified);
            let age = self.options.clock.now().nanos().saturating_sub(changed);
            Duration::from_nanos(u64::try_from(age).unwrap_or(0)) >= self.options.tidy_after
        };
        if self.has_written() || is_left_behind() {
            self.tidy();
        }
    }

    /// Starts a compaction in a thread of its own, if the log has outgrown the snapshot, or if the disk is full and something
    /// was written since one was begun.
    pub(super) fn compact_if_due(self: &Arc<Self>, file: &DataFile, full: bool) {
        let known = &file.known;
        let log = known.committed.saturating_sub(known.snapshot);
        let mut compaction = self.compaction.lock();
        let least = self.least_log(known.committed);
        let is_due = log > known.snapshot.max(least) && known.committed >= self.put_off.load(Ordering::Relaxed);
        let now = (known.committed, self.image.read().entries.len());
        let is_wanted = is_due || full && log > 0 && *self.begun_at.lock() != now;
        if !is_wanted || compaction.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        // Without leave or a thread to be had, the next write tries again.
        let Some(leave) = self.opened.compact() else { return };
        *self.begun_at.lock() = now;
        *self.compacted.lock() = Some(Instant::now());
        let bucket = Arc::clone(self);
        let later = known.committed.saturating_add(self.options.least_log);
        let work = move || {
            let _leave = leave;
            let done = bucket.compact();
            bucket.put_off.store(if done.is_ok() { 0 } else { later }, Ordering::Relaxed);
            match done {
                // Another process does it, or did something else.
                Err(error) if error.kind() == Kind::Busy => *bucket.begun_at.lock() = (0, 0),
                Err(error) => tracing::error!("compacting {}: {error}", bucket.place.data.display()),
                Ok(_) => {}
            }
        };
        *compaction = std::thread::Builder::new().name("kvs compact".into()).spawn(work).ok();
    }

    /// How long the log may become in any case. A file that is tidied is folded sooner, but not more than once a second.
    fn least_log(&self, len: u64) -> u64 {
        let is_recent = || self.compacted.lock().is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        match self.tidies(len) {
            true if is_recent() => u64::MAX,
            true => self.options.least_log.min(TIDY_LOG),
            false => self.options.least_log,
        }
    }

    fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    pub(super) fn is_compacting(&self) -> bool {
        self.compaction.lock().as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits for a compaction that has begun, so that a program that stores once and ends does not cut it off each time, and
    /// brings the file into its form at rest.
    pub(super) fn finish(&self) {
        // The thread may want what is locked here.
        let thread = self.compaction.lock().take();
        if let Some(thread) = thread {
            // It has logged what went wrong.
            let _ = thread.join();
        }
        self.tidy_last();
    }
}
