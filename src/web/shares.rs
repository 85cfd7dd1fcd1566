//! Limits how much one address may use of a resource that all clients share: connections, long polls, memory. So one
//! address cannot shut out the others.
//!
//! Each address is hashed to two counters in a table of fixed size: no lock, and no memory that grows with the number
//! of addresses. An address is rejected only if both its counters are full; other addresses can fill both only by
//! chance.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counters in each of the two rows of the table.
const COUNTERS_PER_ROW: usize = 4096;

/// The counters of all addresses. Clones share them. The default has no limit.
#[derive(Clone, Debug, Default)]
pub struct Shares(Option<Arc<Counts>>);

#[derive(Debug)]
struct Counts {
    max_units: usize,
    hasher: RandomState,
    counters: Box<[AtomicUsize]>,
}

/// Two are equal if they have the same limit.
impl PartialEq for Shares {
    fn eq(&self, other: &Self) -> bool {
        let max_units = |this: &Self| this.0.as_ref().map(|counts| counts.max_units);
        max_units(self) == max_units(other)
    }
}

impl Eq for Shares {}

impl Shares {
    /// A limit of `max_units` units for each address.
    #[must_use]
    pub fn new(max_units: usize) -> Self {
        let counters = (0..2 * COUNTERS_PER_ROW).map(|_| AtomicUsize::new(0)).collect();
        Self(Some(Arc::new(Counts { max_units, hasher: RandomState::new(), counters })))
    }

    /// Takes one unit for this address until the permit is dropped; `None` if the address has reached its limit.
    /// Without an address (on a Unix socket) there is no limit.
    #[must_use]
    pub fn try_acquire(&self, address: Option<IpAddr>) -> Option<SharePermit> {
        let mut taken = self.for_address(address);
        let max_units = self.0.as_ref().map_or(usize::MAX, |counts| counts.max_units);
        taken.grow(1, max_units).then_some(taken)
    }

    /// An empty permit for this address that can grow.
    #[must_use]
    pub fn for_address(&self, address: Option<IpAddr>) -> SharePermit {
        let limited = self.0.as_ref().zip(address);
        let counters = limited.map(|(counts, address)| (Arc::clone(counts), counts.indices_of(address)));
        SharePermit { counters, units: 0 }
    }
}

impl Counts {
    fn indices_of(&self, address: IpAddr) -> [usize; 2] {
        // A customer with one IPv6 address usually has its whole /64 network.
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address),
            IpAddr::V6(address) => self.hasher.hash_one(address.to_bits() >> 64),
        };
        let index = |bits: u64| usize::try_from(bits).unwrap_or(0) % COUNTERS_PER_ROW;
        [index(hash & 0xffff_ffff), COUNTERS_PER_ROW + index(hash >> 32)]
    }

    /// Adds to both counters and returns the smaller value before that.
    fn add(&self, indices: [usize; 2], more: usize) -> usize {
        let add = |index: usize| self.counters.get(index).map_or(0, |count| count.fetch_add(more, Ordering::Relaxed));
        indices.map(add).into_iter().min().unwrap_or(0)
    }

    fn subtract(&self, indices: [usize; 2], less: usize) {
        for count in indices.into_iter().filter_map(|index| self.counters.get(index)) {
            count.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

/// Units that are taken for an address until this is dropped.
#[derive(Debug, Default)]
pub struct SharePermit {
    /// `None` if there is no limit or no address.
    counters: Option<(Arc<Counts>, [usize; 2])>,
    units: usize,
}

impl SharePermit {
    /// Takes `more` units. If the address would then have more than `max_units`, nothing changes and the result is
    /// false.
    #[must_use]
    pub fn grow(&mut self, more: usize, max_units: usize) -> bool {
        let Some((counts, indices)) = &self.counters else { return true };
        if counts.add(*indices, more).saturating_add(more) > max_units {
            counts.subtract(*indices, more);
            return false;
        }
        self.units += more;
        true
    }

    /// Whether [`SharePermit::grow`] would succeed now.
    pub fn could_grow(&self, more: usize, max_units: usize) -> bool {
        let Some((counts, indices)) = &self.counters else { return true };
        counts.add(*indices, 0).saturating_add(more) <= max_units
    }

    /// Gives `less` units back.
    pub fn shrink(&mut self, less: usize) {
        let Some((counts, indices)) = &self.counters else { return };
        let less = less.min(self.units);
        counts.subtract(*indices, less);
        self.units -= less;
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.shrink(self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_at_its_limit_does_not_affect_others() {
        let shares = Shares::new(2);
        let first = shares.try_acquire(Some(address("192.0.2.1")));
        let second = shares.try_acquire(Some(address("::ffff:192.0.2.1")));
        assert!(first.is_some() && second.is_some());
        assert!(shares.try_acquire(Some(address("192.0.2.1"))).is_none());
        assert!(shares.try_acquire(Some(address("192.0.2.2"))).is_some() && shares.try_acquire(None).is_some());
        drop(first);
        assert!(shares.try_acquire(Some(address("192.0.2.1"))).is_some());
    }

    #[test]
    fn ipv6_network_is_one_address() {
        let shares = Shares::new(1);
        let _held = shares.try_acquire(Some(address("2001:db8::1"))).unwrap();
        assert!(shares.try_acquire(Some(address("2001:db8::ffff:2"))).is_none());
        assert!(shares.try_acquire(Some(address("2001:db8:0:1::1"))).is_some());
        assert!(Shares::default().try_acquire(Some(address("2001:db8::1"))).is_some());
    }

    #[test]
    fn permit_grows_and_shrinks_within_the_limit() {
        let shares = Shares::new(0);
        let mut first = shares.for_address(Some(address("192.0.2.1")));
        let mut second = shares.for_address(Some(address("192.0.2.1")));
        assert!(first.grow(60, 100) && !second.grow(50, 100) && second.grow(40, 100));
        first.shrink(20);
        assert!(second.grow(20, 100) && !second.grow(1, 100));
        drop(first);
        assert!(second.grow(40, 100));
        assert!(shares.for_address(None).grow(usize::MAX, 0), "without an address there is no limit");
    }
}
