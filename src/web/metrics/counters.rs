//! The counters: atomic integers at fixed positions. `exposition` gives them their names and labels.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use super::request_timer::RequestTimer;
use crate::model::ErrorKind;
use crate::store::{BucketBounds, DURATION_BOUNDS, Histogram, MILLISECOND};

/// The class of a request: the resource that its path names. It is the label `route`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Root,
    Bucket,
    Entry,
    Multi,
    Txn,
    Log,
    Status,
    Help,
    Health,
    Metrics,
    OpenApi,
    /// Any other path.
    Other,
}

/// The classes in their order, with their labels.
pub(crate) const CLASSES: [(Class, &str); 12] = [
    (Class::Root, "root"),
    (Class::Bucket, "bucket"),
    (Class::Entry, "entry"),
    (Class::Multi, "multi"),
    (Class::Txn, "txn"),
    (Class::Log, "log"),
    (Class::Status, "status"),
    (Class::Help, "help"),
    (Class::Health, "health"),
    (Class::Metrics, "metrics"),
    (Class::OpenApi, "openapi"),
    (Class::Other, "other"),
];

/// The labels of the methods. The last one is for all other methods.
pub(crate) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];

/// The statuses that are counted separately. All other statuses share one more counter after them.
pub(crate) const STATUSES: [u16; 22] =
    [200, 206, 304, 201, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 412, 413, 415, 416, 429, 500, 503, 507];

/// The kinds of error in their order, with their labels.
pub(crate) const KINDS: [(ErrorKind, &str); 7] = ErrorKind::NAMES;

/// Bounds of the time that a long poll waited. The default of `max_wait` is 25 s.
pub(crate) const WAIT_BOUNDS_NANOS: BucketBounds = [
    10 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    1_000 * MILLISECOND,
    2_500 * MILLISECOND,
    5_000 * MILLISECOND,
    10_000 * MILLISECOND,
    15_000 * MILLISECOND,
    20_000 * MILLISECOND,
    25_000 * MILLISECOND,
    30_000 * MILLISECOND,
    60_000 * MILLISECOND,
    300_000 * MILLISECOND,
];

/// The requests of one class and method.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    pub(crate) statuses: [AtomicU64; STATUSES.len() + 1],
    pub(crate) spent: Histogram,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By class, then by method.
    pub(crate) requests: Box<[[Cell; METHODS.len()]; CLASSES.len()]>,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) waited: Histogram,
    /// Long polls that could not wait because too many were waiting.
    pub(crate) long_polls_rejected: AtomicU64,
    /// Requests with a wrong secret that was checked.
    pub(crate) wrong_secrets: AtomicU64,
    /// Requests that were rejected during a pause of their client.
    pub(crate) rejected_during_pause: AtomicU64,
    pub(crate) store: StoreCounters,
}

/// The counters of calls of the store.
#[derive(Debug, Default)]
pub(crate) struct StoreCounters {
    pub(crate) reads: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) errors: [AtomicU64; KINDS.len()],
}

/// The properties of a response that the metrics count.
pub(crate) struct CountedResponse {
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) status: u16,
    /// Bytes of the body that are sent to the client.
    pub(crate) sent: u64,
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts a response to the request that `timer` has measured.
    pub(crate) fn count(&self, response: &CountedResponse, timer: &RequestTimer) {
        let CountedResponse { class, method, status, sent } = response;
        // A test checks that the rows are in the order of the enum.
        let row = self.requests.get(*class as usize);
        if let Some(cell) = row.and_then(|row| row.get(method_index(method))) {
            let index = STATUSES.iter().position(|known| known == status).unwrap_or(STATUSES.len());
            cell.statuses.get(index).into_iter().for_each(add);
            cell.spent.observe_duration(&DURATION_BOUNDS, timer.spent());
        }
        if let Some(duration) = timer.waited() {
            self.waited.observe_duration(&WAIT_BOUNDS_NANOS, duration);
        }
        for (counter, bytes) in [(&self.received, timer.received()), (&self.sent, *sent)] {
            if bytes > 0 {
                counter.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Counts a read of the store.
    pub(crate) fn read(&self) {
        add(&self.store.reads);
    }

    /// Counts a batch with this number of writes.
    pub(crate) fn commit(&self, writes: usize) {
        add(&self.store.commits);
        self.store.writes.fetch_add(u64::try_from(writes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts an error of the store.
    pub(crate) fn error(&self, kind: ErrorKind) {
        let index = KINDS.iter().position(|(known, _)| *known == kind);
        index.and_then(|index| self.store.errors.get(index)).into_iter().for_each(add);
    }
}

fn method_index(method: &Method) -> usize {
    let name = method.as_str();
    let others = METHODS.len() - 1;
    METHODS.iter().position(|known| *known == name).unwrap_or(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_the_enum() {
        for (index, (class, name)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, index, "{name}");
        }
    }

    #[test]
    fn requests_are_counted_by_class_method_and_status() {
        let counters = Counters::default();
        let timer = RequestTimer::start(2);
        let brew = Method::from_bytes(b"BREW").unwrap();
        let put = CountedResponse { class: Class::Entry, method: Method::PUT, status: 201, sent: 3 };
        counters.count(&put, &timer);
        counters.count(&CountedResponse { class: Class::Other, method: brew, status: 299, sent: 0 }, &timer);
        let cells = counters.requests.iter().flatten();
        let counted = |cell: &Cell| cell.statuses.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
        assert_eq!(cells.map(counted).sum::<u64>(), 2);
        let put = &counters.requests[Class::Entry as usize][3];
        assert_eq!(put.statuses[3].load(Ordering::Relaxed), 1);
        assert!(!put.spent.is_empty());
        assert_eq!(counters.requests[11][7].statuses[22].load(Ordering::Relaxed), 1);
        assert_eq!((counters.received.into_inner(), counters.sent.into_inner()), (4, 3));
    }
}
