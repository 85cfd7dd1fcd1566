//! What is counted: plain atomic numbers, found by position. How they are told is the business of `exposition`.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use super::histogram::{Bounds, Histogram};
use super::tally::Tally;
use crate::model::Kind;

/// What a request is about, by the form of its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Root,
    Bucket,
    Entry,
    Multi,
    Txn,
    Status,
    Help,
    Health,
    Metrics,
    OpenApi,
    /// An address that names nothing.
    Other,
}

/// The classes in their order, and how they are told.
pub(super) const CLASSES: [(Class, &str); 11] = [
    (Class::Root, "root"),
    (Class::Bucket, "bucket"),
    (Class::Entry, "entry"),
    (Class::Multi, "multi"),
    (Class::Txn, "txn"),
    (Class::Status, "status"),
    (Class::Help, "help"),
    (Class::Health, "health"),
    (Class::Metrics, "metrics"),
    (Class::OpenApi, "openapi"),
    (Class::Other, "other"),
];

/// The methods that are told by name; the last place is for all others.
pub(super) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];

/// The statuses that are told by number; behind them is a place for all others.
pub(super) const STATUSES: [u16; 20] =
    [200, 304, 201, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 412, 413, 415, 429, 500, 503, 507];

/// The kinds of error in their order, and how they are told.
pub(super) const KINDS: [(Kind, &str); 7] = [
    (Kind::Invalid, "invalid"),
    (Kind::TooLarge, "too_large"),
    (Kind::Busy, "busy"),
    (Kind::Full, "full"),
    (Kind::PermissionDenied, "permission_denied"),
    (Kind::Damaged, "damaged"),
    (Kind::Failed, "failed"),
];

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;

/// Of the time spent on a request: from a read out of memory to a write on a slow disk.
pub(super) const SPENT: Bounds = [
    25 * MICRO,
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2_500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    1_000 * MILLI,
    5_000 * MILLI,
];

/// Of the time a read was held: `max_wait` is 25 seconds, unless it is set.
pub(super) const HELD: Bounds = [
    10 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    1_000 * MILLI,
    2_500 * MILLI,
    5_000 * MILLI,
    10_000 * MILLI,
    15_000 * MILLI,
    20_000 * MILLI,
    25_000 * MILLI,
    30_000 * MILLI,
    60_000 * MILLI,
    300_000 * MILLI,
];

/// Requests of one class and method.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) statuses: [AtomicU64; STATUSES.len() + 1],
    pub(super) spent: Histogram,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By class, then by method.
    pub(super) requests: Box<[[Cell; METHODS.len()]; CLASSES.len()]>,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) held: Histogram,
    /// Reads that wished to wait and found no place.
    pub(crate) declined: AtomicU64,
    /// Requests whose secret was looked at and is wrong.
    pub(crate) wrong_secrets: AtomicU64,
    /// Requests refused because their address is paused.
    pub(crate) paused: AtomicU64,
    pub(super) store: StoreCounters,
}

/// What was asked of the store.
#[derive(Debug, Default)]
pub(super) struct StoreCounters {
    pub(super) reads: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) errors: [AtomicU64; KINDS.len()],
}

/// One more.
pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Counts an answer with a body of `sent` bytes.
    pub(crate) fn count(&self, (class, method, status): (Class, &Method, u16), tally: &Tally, sent: u64) {
        // In the order of the enumeration, as a test sees to.
        let row = self.requests.get(class as usize);
        if let Some(cell) = row.and_then(|row| row.get(method_place(method))) {
            let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
            cell.statuses.get(place).into_iter().for_each(add);
            cell.spent.observe(&SPENT, tally.spent());
        }
        if let Some(span) = tally.held() {
            self.held.observe(&HELD, span);
        }
        for (counter, bytes) in [(&self.received, tally.received()), (&self.sent, sent)] {
            if bytes > 0 {
                counter.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Counts a look at the store.
    pub(crate) fn read(&self) {
        add(&self.store.reads);
    }

    /// Counts a batch of so many writes.
    pub(crate) fn commit(&self, writes: usize) {
        add(&self.store.commits);
        self.store.writes.fetch_add(u64::try_from(writes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts a failure of the store.
    pub(crate) fn error(&self, kind: Kind) {
        let place = KINDS.iter().position(|(known, _)| *known == kind);
        place.and_then(|place| self.store.errors.get(place)).into_iter().for_each(add);
    }
}

fn method_place(method: &Method) -> usize {
    let name = method.as_str();
    let others = METHODS.len() - 1;
    METHODS.iter().position(|known| *known == name).unwrap_or(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Request;

    #[test]
    fn classes_stand_in_their_order() {
        for (place, (class, name)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, place, "{name}");
        }
    }

    #[test]
    fn a_request_is_counted_in_its_own_place() {
        let counters = Counters::default();
        let tally = Tally::begin(&Request::new("ab".into()));
        let brew = Method::from_bytes(b"BREW").unwrap();
        counters.count((Class::Entry, &Method::PUT, 201), &tally, 3);
        counters.count((Class::Other, &brew, 299), &tally, 0);
        let cells = counters.requests.iter().flatten();
        let counted = |cell: &Cell| cell.statuses.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
        assert_eq!(cells.map(counted).sum::<u64>(), 2);
        let put = &counters.requests[Class::Entry as usize][3];
        assert_eq!(put.statuses[2].load(Ordering::Relaxed), 1);
        assert!(!put.spent.is_empty());
        assert_eq!(counters.requests[10][7].statuses[20].load(Ordering::Relaxed), 1);
        assert_eq!((counters.received.into_inner(), counters.sent.into_inner()), (4, 3));
    }
}
