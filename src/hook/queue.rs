//! What waits to be sent to one URL. Bounded; putting something in never waits.
//!
//! What waits already is not put in again: one `PURGE` of an address that is still to be sent serves all writes before
//! it, so a key that is written a thousand times a second takes one place. Events are never alike.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// First in, first out.
pub(super) struct Queue<T> {
    most: usize,
    waiting: Mutex<Waiting<T>>,
    came: Notify,
    /// How many wait or are under way.
    unfinished: watch::Sender<usize>,
}

struct Waiting<T> {
    order: VecDeque<(Instant, T)>,
    known: HashSet<T>,
}

/// What came of putting something in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    /// It waits, or the same did already.
    Waits,
    /// There is no room.
    Full,
}

impl<T: Clone + Eq + Hash> Queue<T> {
    /// An empty one with that many places.
    pub(super) fn new(most: usize) -> Self {
        let waiting = Waiting { order: VecDeque::new(), known: HashSet::new() };
        Self { most, waiting: Mutex::new(waiting), came: Notify::new(), unfinished: watch::Sender::new(0) }
    }

    pub(super) fn put(&self, item: T) -> Put {
        let mut waiting = self.waiting.lock();
        if waiting.known.contains(&item) {
            return Put::Waits;
        }
        if waiting.order.len() >= self.most {
            return Put::Full;
        }
        waiting.known.insert(item.clone());
        waiting.order.push_back((Instant::now(), item));
        // Under the lock, so that nobody finishes what is not yet counted.
        self.unfinished.send_modify(|n| *n += 1);
        drop(waiting);
        self.came.notify_one();
        Put::Waits
    }

    /// The first of those that wait, at least one and at most that many, and how old the oldest is. Say `finish` for
    /// them when they are done with.
    pub(super) async fn take(&self, most: usize) -> (Vec<T>, Instant) {
        loop {
            if let Some(taken) = self.try_take(most) {
                return taken;
            }
            self.came.notified().await;
        }
    }

    fn try_take(&self, most: usize) -> Option<(Vec<T>, Instant)> {
        let mut waiting = self.waiting.lock();
        let count = waiting.order.len().min(most);
        let taken: Vec<_> = waiting.order.drain(..count).collect();
        for (_, item) in &taken {
            waiting.known.remove(item);
        }
        let oldest = taken.first()?.0;
        Some((taken.into_iter().map(|(_, item)| item).collect(), oldest))
    }

    /// So many that were taken are done with.
    pub(super) fn finish(&self, count: usize) {
        self.unfinished.send_modify(|n| *n = n.saturating_sub(count));
    }

    /// How many wait or are under way.
    pub(super) fn unfinished(&self) -> usize {
        *self.unfinished.borrow()
    }

    /// Waits until none waits or is under way.
    pub(super) async fn idle(&self) {
        // The sender is ours, so the wait cannot fail.
        let _ = self.unfinished.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Empties it, and returns how many waited or were under way.
    pub(super) fn clear(&self) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.order.clear();
        waiting.known.clear();
        self.unfinished.send_replace(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_leave_in_the_order_in_which_they_came() {
        let queue = Queue::new(10);
        for n in [3, 1, 2] {
            assert_eq!(queue.put(n), Put::Waits);
        }
        assert_eq!(queue.take(2).await.0, [3, 1]);
        assert_eq!(queue.take(2).await.0, [2]);
        assert_eq!(queue.unfinished(), 3);
        queue.finish(3);
        queue.idle().await;
    }

    #[tokio::test]
    async fn what_waits_already_takes_no_second_place_but_what_is_under_way_does() {
        let queue = Queue::new(2);
        for item in ["a", "a", "b", "a"] {
            assert_eq!(queue.put(item), Put::Waits);
        }
        assert_eq!(queue.put("c"), Put::Full);
        assert_eq!(queue.take(1).await.0, ["a"]);
        // The request that is under way may have been answered before this write.
        assert_eq!(queue.put("a"), Put::Waits);
        assert_eq!(queue.take(9).await.0, ["b", "a"]);
    }

    #[tokio::test]
    async fn who_waits_for_the_first_is_woken() {
        let queue = std::sync::Arc::new(Queue::new(1));
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.take(1).await.0 }
        });
        tokio::task::yield_now().await;
        queue.put(7);
        assert_eq!(waiting.await.unwrap(), [7]);
        assert_eq!(queue.clear(), 1);
        assert_eq!(queue.unfinished(), 0);
    }
}
