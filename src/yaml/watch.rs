//! Waiting for a bucket to move on, whoever moves it.
//!
//! Writes of this process wake the waiters at once. For those of others one task a bucket looks at the file while anyone
//! waits; the waiters themselves do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bucket::BucketStore;
use crate::model::{Result, Revision};

/// How often to look at the file: a waiter wakes at most so much later than another process wrote.
const LOOK: Duration = Duration::from_millis(50);

/// Of so many buckets. If there are more, each is looked at less often, so that all looks together stay as many.
const MANY: usize = 256;

/// The time between two looks at a bucket, if so many are looked at.
fn pause(looking: usize) -> Duration {
    LOOK * u32::try_from(looking.div_ceil(MANY)).unwrap_or(u32::MAX).max(1)
}

/// Who waits for a bucket.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: usize,
    /// Whether a task looks at the file.
    looking: bool,
}

/// One who waits, counted until dropped.
struct Waiter(Arc<BucketStore>);

impl Waiter {
    fn enter(bucket: &Arc<BucketStore>) -> Self {
        let mut waiters = bucket.waiters.lock();
        waiters.count += 1;
        if !std::mem::replace(&mut waiters.looking, true) {
            bucket.looking.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(Looking { bucket: Arc::clone(bucket), done: false }.run());
        }
        Self(Arc::clone(bucket))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.waiters.lock().count -= 1;
    }
}

/// The task that looks at the file until nobody waits, or its runtime ends.
struct Looking {
    bucket: Arc<BucketStore>,
    /// It has said itself that it no longer looks; another may have begun since.
    done: bool,
}

impl Looking {
    async fn run(mut self) {
        let mut failing = false;
        loop {
            let looking = self.bucket.looking.load(Ordering::Relaxed);
            tokio::time::sleep(pause(looking)).await;
            if self.ends() {
                return;
            }
            let looked = self.bucket.current().await.map(drop);
            if let (Err(error), false) = (&looked, failing) {
                tracing::warn!("looking for changes: {error}");
            }
            failing = looked.is_err();
        }
    }
}

impl Looking {
    /// Says that nobody looks any more, if nobody waits.
    fn ends(&mut self) -> bool {
        let mut waiters = self.bucket.waiters.lock();
        self.done = waiters.count == 0;
        waiters.looking = !self.done;
        self.done
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.bucket.looking.fetch_sub(1, Ordering::Relaxed);
        // Ended with its runtime, while some may wait on another: the next who comes starts a new one.
        if !self.done {
            self.bucket.waiters.lock().looking = false;
        }
    }
}

impl BucketStore {
    /// Waits until the revision is greater than `since`.
    pub(super) async fn changed(self: &Arc<Self>, since: Revision) -> Result<Revision> {
        let mut moved = self.moved.subscribe();
        let revision = self.current().await?.revision;
        if revision > since {
            return Ok(revision);
        }
        let _waiter = Waiter::enter(self);
        loop {
            if moved.changed().await.is_err() {
                // The sender lives as long as this bucket.
                std::future::pending::<()>().await;
            }
            let revision = *moved.borrow_and_update();
            if revision > since {
                return Ok(revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_buckets_are_looked_at_less_often_each() {
        assert_eq!(pause(1), LOOK);
        assert_eq!(pause(MANY), LOOK);
        assert_eq!(pause(10 * MANY), 10 * LOOK);
    }
}
