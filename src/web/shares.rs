//! Limits what one address may take of something that all clients share: connections, long polls, memory. So one
//! address cannot shut out the others.
//!
//! Each address is hashed to two counters in a table of fixed size: no lock, and no memory that grows with the number
//! of addresses. An address is refused only if both its counters are full; other addresses can fill both only by
//! chance.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counters in each of the two rows of the table.
const PLACES: usize = 4096;

/// The counters of all addresses. Clones share them. The default has no limit.
#[derive(Clone, Debug, Default)]
pub struct Shares(Option<Arc<Counts>>);

#[derive(Debug)]
struct Counts {
    most: usize,
    hasher: RandomState,
    places: Box<[AtomicUsize]>,
}

/// Two are equal if they have the same limit.
impl PartialEq for Shares {
    fn eq(&self, other: &Self) -> bool {
        let most = |this: &Self| this.0.as_ref().map(|counts| counts.most);
        most(self) == most(other)
    }
}

impl Eq for Shares {}

impl Shares {
    /// A limit of `most` units for each address.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let places = (0..2 * PLACES).map(|_| AtomicUsize::new(0)).collect();
        Self(Some(Arc::new(Counts { most, hasher: RandomState::new(), places })))
    }

    /// Takes one unit for this address until the permit is dropped; `None` if the address has reached its limit.
    /// Without an address (on a Unix socket) there is no limit.
    #[must_use]
    pub fn enter(&self, address: Option<IpAddr>) -> Option<SharePermit> {
        let mut taken = self.of(address);
        let most = self.0.as_ref().map_or(usize::MAX, |counts| counts.most);
        taken.grow(1, most).then_some(taken)
    }

    /// An empty permit for this address that can grow.
    #[must_use]
    pub fn of(&self, address: Option<IpAddr>) -> SharePermit {
        let counted = self.0.as_ref().zip(address);
        SharePermit {
            counted: counted.map(|(counts, address)| (Arc::clone(counts), counts.places_of(address))),
            much: 0,
        }
    }
}

impl Counts {
    fn places_of(&self, address: IpAddr) -> [usize; 2] {
        // A customer with one IPv6 address usually has its whole /64 network.
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address),
            IpAddr::V6(address) => self.hasher.hash_one(address.to_bits() >> 64),
        };
        let place = |bits: u64| usize::try_from(bits).unwrap_or(0) % PLACES;
        [place(hash & 0xffff_ffff), PLACES + place(hash >> 32)]
    }

    /// Adds to both counters and returns the smaller value before that.
    fn add(&self, places: [usize; 2], more: usize) -> usize {
        let add = |place: usize| self.places.get(place).map_or(0, |count| count.fetch_add(more, Ordering::Relaxed));
        places.map(add).into_iter().min().unwrap_or(0)
    }

    fn subtract(&self, places: [usize; 2], less: usize) {
        for count in places.into_iter().filter_map(|place| self.places.get(place)) {
            count.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

/// Units that are taken for an address until this is dropped.
#[derive(Debug, Default)]
pub struct SharePermit {
    /// `None` if there is no limit or no address.
    counted: Option<(Arc<Counts>, [usize; 2])>,
    much: usize,
}

impl SharePermit {
    /// Takes `more` units. If the address would then have more than `most`, nothing changes and the result is false.
    #[must_use]
    pub fn grow(&mut self, more: usize, most: usize) -> bool {
        let Some((counts, places)) = &self.counted else { return true };
        if counts.add(*places, more).saturating_add(more) > most {
            counts.subtract(*places, more);
            return false;
        }
        self.much += more;
        true
    }

    /// Whether [`SharePermit::grow`] would succeed now.
    pub fn could_grow(&self, more: usize, most: usize) -> bool {
        let Some((counts, places)) = &self.counted else { return true };
        counts.add(*places, 0).saturating_add(more) <= most
    }

    /// Gives `less` units back.
    pub fn shrink(&mut self, less: usize) {
        let Some((counts, places)) = &self.counted else { return };
        let less = less.min(self.much);
        counts.subtract(*places, less);
        self.much -= less;
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.shrink(self.much);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_at_its_limit_does_not_affect_others() {
        let shares = Shares::new(2);
        let first = shares.enter(Some(address("192.0.2.1")));
        let second = shares.enter(Some(address("::ffff:192.0.2.1")));
        assert!(first.is_some() && second.is_some());
        assert!(shares.enter(Some(address("192.0.2.1"))).is_none());
        assert!(shares.enter(Some(address("192.0.2.2"))).is_some() && shares.enter(None).is_some());
        drop(first);
        assert!(shares.enter(Some(address("192.0.2.1"))).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let shares = Shares::new(1);
        let _held = shares.enter(Some(address("2001:db8::1"))).unwrap();
        assert!(shares.enter(Some(address("2001:db8::ffff:2"))).is_none());
        assert!(shares.enter(Some(address("2001:db8:0:1::1"))).is_some());
        assert!(Shares::default().enter(Some(address("2001:db8::1"))).is_some());
    }

    #[test]
    fn a_permit_grows_and_shrinks_within_the_limit() {
        let shares = Shares::new(0);
        let mut first = shares.of(Some(address("192.0.2.1")));
        let mut second = shares.of(Some(address("192.0.2.1")));
        assert!(first.grow(60, 100) && !second.grow(50, 100) && second.grow(40, 100));
        first.shrink(20);
        assert!(second.grow(20, 100) && !second.grow(1, 100));
        drop(first);
        assert!(second.grow(40, 100));
        assert!(shares.of(None).grow(usize::MAX, 0), "without an address there is no limit");
    }
}
