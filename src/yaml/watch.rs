//! Waiting for a bucket to move on, whoever moves it.
//!
//! Writes of this process wake the waiters at once. For those of others one task a bucket looks at the file while anyone
//! waits; the waiters themselves do not.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::BucketStore;
use crate::model::{Result, Revision};

/// How often to look at the file: a waiter wakes at most so much later than another process wrote.
const LOOK: Duration = Duration::from_millis(50);

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
            tokio::time::sleep(LOOK).await;
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
