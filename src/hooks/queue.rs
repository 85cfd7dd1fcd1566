//! The queue of one URL. It is bounded, and `put` never waits.
//!
//! An item that is already waiting is not added again: one `PURGE` of an address serves all writes before it, so a key
//! that is written a thousand times a second takes one place. Two events are never equal.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A queue, first in, first out.
pub(crate) struct DeliveryQueue<T> {
    max_waiting: usize,
    waiting: Mutex<WaitingItems<T>>,
    item_added: Notify,
    /// The number of items that wait or are being sent.
    unfinished: watch::Sender<usize>,
}

struct WaitingItems<T> {
    /// Each item with the time when it was added.
    order: VecDeque<(Instant, T)>,
    known: HashSet<T>,
}

/// Items that were taken out.
#[derive(Debug)]
pub(crate) struct TakenItems<T> {
    pub(crate) items: Vec<T>,
    /// The time when the oldest item was added.
    pub(crate) oldest: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PutResult {
    /// The item waits, or an equal one was already waiting.
    Queued,
    Full,
}

impl<T: Clone + Eq + Hash> DeliveryQueue<T> {
    pub(crate) fn new(max_waiting: usize) -> Self {
        let waiting = WaitingItems { order: VecDeque::new(), known: HashSet::new() };
        Self { max_waiting, waiting: Mutex::new(waiting), item_added: Notify::new(), unfinished: watch::Sender::new(0) }
    }

    pub(crate) fn put(&self, item: T) -> PutResult {
        let mut waiting = self.waiting.lock();
        if waiting.known.contains(&item) {
            return PutResult::Queued;
        }
        if waiting.order.len() >= self.max_waiting {
            return PutResult::Full;
        }
        waiting.known.insert(item.clone());
        waiting.order.push_back((Instant::now(), item));
        // Under the lock, so that the item is counted before it can be finished.
        self.unfinished.send_modify(|n| *n += 1);
        drop(waiting);
        self.item_added.notify_one();
        PutResult::Queued
    }

    /// Waits for items and takes out the first ones, at most `max`. Call `finish` when they are delivered or given up.
    pub(crate) async fn take(&self, max: usize) -> TakenItems<T> {
        loop {
            if let Some(taken) = self.try_take(max) {
                return taken;
            }
            self.item_added.notified().await;
        }
    }

    fn try_take(&self, max: usize) -> Option<TakenItems<T>> {
        let mut waiting = self.waiting.lock();
        let count = waiting.order.len().min(max);
        let taken: Vec<_> = waiting.order.drain(..count).collect();
        for (_, item) in &taken {
            waiting.known.remove(item);
        }
        let oldest = taken.first()?.0;
        Some(TakenItems { items: taken.into_iter().map(|(_, item)| item).collect(), oldest })
    }

    /// Counts taken items as finished.
    pub(crate) fn finish(&self, count: usize) {
        self.unfinished.send_modify(|n| *n = n.saturating_sub(count));
    }

    /// The number of items that wait or are being sent.
    pub(crate) fn unfinished(&self) -> usize {
        *self.unfinished.borrow()
    }

    /// Waits until no item is waiting or being sent.
    pub(crate) async fn idle(&self) {
        // This queue owns the sender, so the wait cannot fail.
        let _ = self.unfinished.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Empties the queue. Returns the number of items that were waiting or being sent.
    pub(crate) fn clear(&self) -> usize {
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
    async fn items_are_taken_in_the_order_of_their_puts() {
        let queue = DeliveryQueue::new(10);
        for n in [3, 1, 2] {
            assert_eq!(queue.put(n), PutResult::Queued);
        }
        assert_eq!(queue.take(2).await.items, [3, 1]);
        assert_eq!(queue.take(2).await.items, [2]);
        assert_eq!(queue.unfinished(), 3);
        queue.finish(3);
        queue.idle().await;
    }

    #[tokio::test]
    async fn an_item_is_not_added_while_an_equal_one_waits() {
        let queue = DeliveryQueue::new(2);
        for item in ["a", "a", "b", "a"] {
            assert_eq!(queue.put(item), PutResult::Queued);
        }
        assert_eq!(queue.put("c"), PutResult::Full);
        assert_eq!(queue.take(1).await.items, ["a"]);
        // The taken item may have been sent before this write.
        assert_eq!(queue.put("a"), PutResult::Queued);
        assert_eq!(queue.take(9).await.items, ["b", "a"]);
    }

    #[tokio::test]
    async fn put_wakes_a_waiting_take() {
        let queue = std::sync::Arc::new(DeliveryQueue::new(1));
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.take(1).await.items }
        });
        tokio::task::yield_now().await;
        queue.put(7);
        assert_eq!(waiting.await.unwrap(), [7]);
        assert_eq!(queue.clear(), 1);
        assert_eq!(queue.unfinished(), 0);
    }
}
