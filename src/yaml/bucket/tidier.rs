//! The thread that tidies the buckets of a store when they are quiet.
//!
//! There is one for all buckets. It starts with the first write, and ends when there is nothing to do.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// A bucket that can be brought into its form at rest.
pub(crate) trait TidyTarget: Send + Sync {
    /// When the bucket will have been quiet for long enough; `None` if it needs no tidying.
    fn quiet_from(&self) -> Option<Instant>;
    /// Brings the file into its form at rest, if it is not.
    fn tidy(&self);
}

/// The buckets that are to be tidied.
#[derive(Default)]
pub(crate) struct Tidier {
    schedule: Mutex<TidySchedule>,
    changed: Condvar,
}

#[derive(Default)]
struct TidySchedule {
    buckets: Vec<ScheduledBucket>,
    is_running: bool,
    is_over: bool,
}

struct ScheduledBucket {
    due: Instant,
    bucket: Weak<dyn TidyTarget>,
}

impl Tidier {
    /// Tidies a bucket at `due`, if it is quiet by then.
    pub(crate) fn add(self: &Arc<Self>, bucket: Weak<dyn TidyTarget>, due: Instant) {
        let mut schedule = self.schedule.lock();
        let is_scheduled = |other: &ScheduledBucket| std::ptr::addr_eq(other.bucket.as_ptr(), bucket.as_ptr());
        if schedule.is_over || schedule.buckets.iter().any(is_scheduled) {
            return;
        }
        schedule.buckets.push(ScheduledBucket { due, bucket });
        if !schedule.is_running {
            let tidier = Arc::clone(self);
            // If no thread can be started, the end of the process tidies.
            let thread = std::thread::Builder::new().name("kvs tidy".into()).spawn(move || tidier.run());
            schedule.is_running = thread.is_ok();
        }
    }

    /// Stops the thread after its current bucket.
    pub(crate) fn stop(&self) {
        let mut schedule = self.schedule.lock();
        schedule.is_over = true;
        schedule.buckets.clear();
        self.changed.notify_all();
    }

    fn run(self: &Arc<Self>) {
        while let Some(bucket) = self.next() {
            if let Some(bucket) = bucket.upgrade() {
                match bucket.quiet_from() {
                    Some(due) if due > Instant::now() => self.add(Arc::downgrade(&bucket), due),
                    _ => {
                        bucket.tidy();
                        if let Some(due) = bucket.quiet_from().filter(|due| *due > Instant::now()) {
                            self.add(Arc::downgrade(&bucket), due);
                        }
                    }
                }
            }
        }
    }

    /// Waits for the next bucket to be due. None if none is scheduled.
    fn next(&self) -> Option<Weak<dyn TidyTarget>> {
        let mut schedule = self.schedule.lock();
        loop {
            let next =
                schedule.buckets.iter().enumerate().min_by_key(|(_, next)| next.due).map(|(n, next)| (n, next.due));
            let Some((n, due)) = next.filter(|_| !schedule.is_over) else {
                schedule.is_running = false;
                return None;
            };
            let now = Instant::now();
            if due <= now {
                return Some(schedule.buckets.swap_remove(n).bucket);
            }
            self.changed.wait_for(&mut schedule, due - now);
        }
    }
}
