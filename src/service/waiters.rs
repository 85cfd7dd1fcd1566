//! How many reads may be held at once, in this process and over all processes.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shares::{Shares, Taken};
use crate::model::Bucket;

/// A gate that several processes share: behind it there is room for one waiter of each bucket.
///
/// Where the web server runs one request in each process (`mod_fcgid`, CGI), every waiter takes a process away from others.
pub trait Gate: Send + Sync + 'static {
    /// A place behind the gate, which is given up by dropping it; none if it is taken.
    fn enter(&self, bucket: &Bucket) -> Option<Box<dyn Send>>;
}

/// The places for reads that are held.
#[derive(Clone)]
pub struct Waiters {
    places: Arc<Semaphore>,
    most: usize,
    shares: Shares,
    gate: Option<Arc<dyn Gate>>,
}

impl Waiters {
    /// So many places in this process.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most, shares: Shares::default(), gate: None }
    }

    /// The same places, of which an address may have its share.
    #[must_use]
    pub fn sharing(self, shares: Shares) -> Self {
        Self { shares, ..self }
    }

    /// So many places in this process, and a gate before them.
    #[must_use]
    pub fn shared(most: usize, gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate), ..Self::new(most) }
    }

    /// How many places there are in this process.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many of them are taken.
    pub(crate) fn taken(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// A place for a waiter of this bucket, if there is one left, for this address.
    pub(crate) fn enter(&self, bucket: &Bucket, address: Option<IpAddr>) -> Option<Place> {
        let share = self.shares.enter(address)?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let behind = match &self.gate {
            Some(gate) => Some(gate.enter(bucket)?),
            None => None,
        };
        Some(Place { _permit: place, _share: share, _behind: behind.map(Held::new) })
    }
}

/// A taken place; dropping it frees it.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Taken,
    _behind: Option<Held>,
}

/// Makes a place behind a gate fit to be kept across a wait: nobody can reach into it, so it may be shared.
struct Held(#[expect(dead_code, reason = "kept for its drop")] parking_lot::Mutex<Box<dyn Send>>);

impl Held {
    fn new(inner: Box<dyn Send>) -> Self {
        Self(parking_lot::Mutex::new(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Room for one, whatever the bucket.
    #[derive(Default)]
    struct NarrowGate(Arc<AtomicBool>);

    struct Behind(Arc<AtomicBool>);

    impl Drop for Behind {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    impl Gate for NarrowGate {
        fn enter(&self, _: &Bucket) -> Option<Box<dyn Send>> {
            let taken = self.0.swap(true, Ordering::SeqCst);
            (!taken).then(|| Box::new(Behind(Arc::clone(&self.0))) as Box<dyn Send>)
        }
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let waiters = Waiters::new(2);
        let bucket = Bucket::default();
        let first = waiters.enter(&bucket, None);
        let second = waiters.clone().enter(&bucket, None);
        assert!(first.is_some() && second.is_some());
        assert_eq!((waiters.taken(), waiters.most()), (2, 2));
        assert!(waiters.enter(&bucket, None).is_none());
        drop(first);
        assert!(waiters.enter(&bucket, None).is_some());
        assert!(Waiters::new(0).enter(&bucket, None).is_none());
        assert!(Waiters::new(usize::MAX).enter(&bucket, None).is_some());
    }

    #[test]
    fn a_closed_gate_takes_no_place() {
        let waiters = Waiters::shared(2, Arc::new(NarrowGate::default()));
        let bucket = Bucket::default();
        let first = waiters.enter(&bucket, None);
        assert!(first.is_some());
        assert!(waiters.enter(&bucket, None).is_none());
        assert_eq!(waiters.places.available_permits(), 1);
        drop(first);
        assert!(waiters.enter(&bucket, None).is_some());
    }
}
