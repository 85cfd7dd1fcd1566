//! The limit of long polls that wait at once, in this process and over all processes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Bucket;
use crate::web::shares::{SharePermit, Shares};

/// A limit that several processes share: one long poll for each bucket.
///
/// It is for web servers that run one request per process (`mod_fcgid`, CGI), where each long poll occupies a process.
pub trait WaiterGate: Send + Sync + 'static {
    /// A permit for a long poll on this bucket until it is dropped; `None` if another poll has it.
    fn enter(&self, bucket: &Bucket) -> Option<Box<dyn Send>>;
}

/// The permits for long polls. Clones share them.
#[derive(Clone)]
pub struct LongPollLimit {
    permits: Arc<Semaphore>,
    max: usize,
    shares: Shares,
    gate: Option<Arc<dyn WaiterGate>>,
    streams: Arc<AtomicUsize>,
}

impl LongPollLimit {
    /// At most `max` long polls in this process.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max,
            shares: Shares::default(),
            gate: None,
            streams: Arc::default(),
        }
    }

    /// Also limits the long polls of one address.
    #[must_use]
    pub fn sharing(self, shares: Shares) -> Self {
        Self { shares, ..self }
    }

    /// At most `max` long polls in this process, and one for each bucket over all processes.
    #[must_use]
    pub fn shared(max: usize, gate: Arc<dyn WaiterGate>) -> Self {
        Self { gate: Some(gate), ..Self::new(max) }
    }

    /// The limit of this process.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many long polls wait now.
    pub(crate) fn taken(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    /// How many of them are event streams.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// A permit for an event stream, if one is left.
    pub(crate) fn try_acquire_stream(&self, bucket: &Bucket, address: Option<IpAddr>) -> Option<StreamPermit> {
        let permit = self.try_acquire(bucket, address)?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(StreamPermit { _permit: permit, streams: Arc::clone(&self.streams) })
    }

    /// A permit for a long poll on this bucket from this address, if one is left.
    pub(crate) fn try_acquire(&self, bucket: &Bucket, address: Option<IpAddr>) -> Option<LongPollPermit> {
        let share = self.shares.try_acquire(address)?;
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let gate_permit = match &self.gate {
            Some(gate) => Some(gate.enter(bucket)?),
            None => None,
        };
        Some(LongPollPermit { _permit: permit, _share: share, _gate_permit: gate_permit.map(GatePermit::new) })
    }
}

/// The permit of an event stream, until it is dropped.
pub(crate) struct StreamPermit {
    _permit: LongPollPermit,
    streams: Arc<AtomicUsize>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permit of one long poll, until it is dropped.
pub(crate) struct LongPollPermit {
    _permit: OwnedSemaphorePermit,
    _share: SharePermit,
    _gate_permit: Option<GatePermit>,
}

/// Makes the permit of a gate `Sync`, so that a future may keep it while it waits. The mutex is never locked.
struct GatePermit(#[expect(dead_code, reason = "kept for its drop")] parking_lot::Mutex<Box<dyn Send>>);

impl GatePermit {
    fn new(inner: Box<dyn Send>) -> Self {
        Self(parking_lot::Mutex::new(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A gate with one permit for all buckets.
    #[derive(Default)]
    struct NarrowGate(Arc<AtomicBool>);

    struct NarrowGatePermit(Arc<AtomicBool>);

    impl Drop for NarrowGatePermit {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    impl WaiterGate for NarrowGate {
        fn enter(&self, _: &Bucket) -> Option<Box<dyn Send>> {
            let taken = self.0.swap(true, Ordering::SeqCst);
            (!taken).then(|| Box::new(NarrowGatePermit(Arc::clone(&self.0))) as Box<dyn Send>)
        }
    }

    #[test]
    fn permits_are_counted_and_given_back() {
        let limit = LongPollLimit::new(2);
        let bucket = Bucket::default();
        let first = limit.try_acquire(&bucket, None);
        let second = limit.clone().try_acquire(&bucket, None);
        assert!(first.is_some() && second.is_some());
        assert_eq!((limit.taken(), limit.max()), (2, 2));
        assert!(limit.try_acquire(&bucket, None).is_none());
        drop(first);
        assert!(limit.try_acquire(&bucket, None).is_some());
        assert!(LongPollLimit::new(0).try_acquire(&bucket, None).is_none());
        assert!(LongPollLimit::new(usize::MAX).try_acquire(&bucket, None).is_some());
    }

    #[test]
    fn closed_gate_uses_no_permit() {
        let limit = LongPollLimit::shared(2, Arc::new(NarrowGate::default()));
        let bucket = Bucket::default();
        let first = limit.try_acquire(&bucket, None);
        assert!(first.is_some());
        assert!(limit.try_acquire(&bucket, None).is_none());
        assert_eq!(limit.permits.available_permits(), 1);
        drop(first);
        assert!(limit.try_acquire(&bucket, None).is_some());
    }
}
