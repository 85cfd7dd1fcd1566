//! How many reads may be held at once, in this process and over all processes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    gate: Option<Arc<dyn Gate>>,
}

impl Waiters {
    /// So many places in this process.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most, gate: None }
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

    /// A place for a waiter of this bucket, if there is one left.
    pub(crate) fn enter(&self, bucket: &Bucket) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let behind = match &self.gate {
            Some(gate) => Some(gate.enter(bucket)?),
            None => None,
        };
        Some(Place { _place: place, _behind: behind.map(Held::new) })
    }
}

/// A taken place; dropping it frees it.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
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
        let first = waiters.enter(&bucket);
        let second = waiters.clone().enter(&bucket);
        assert!(first.is_some() && second.is_some());
        assert_eq!((waiters.taken(), waiters.most()), (2, 2));
        assert!(waiters.enter(&bucket).is_none());
        drop(first);
        assert!(waiters.enter(&bucket).is_some());
        assert!(Waiters::new(0).enter(&bucket).is_none());
        assert!(Waiters::new(usize::MAX).enter(&bucket).is_some());
    }

    #[test]
    fn a_closed_gate_takes_no_place() {
        let waiters = Waiters::shared(2, Arc::new(NarrowGate::default()));
        let bucket = Bucket::default();
        let first = waiters.enter(&bucket);
        assert!(first.is_some());
        assert!(waiters.enter(&bucket).is_none());
        assert_eq!(waiters.places.available_permits(), 1);
        drop(first);
        assert!(waiters.enter(&bucket).is_some());
    }
}
