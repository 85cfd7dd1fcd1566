//! What one address may take of something that all share: connections, long polls. Others get in whatever one does.
//!
//! Counts lie at fixed places that the address is hashed to, two for each: no lock, no memory that grows with the number
//! of addresses. An address is kept out only if both its counts are full, which others could fill only by chance.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Places of one row.
const PLACES: usize = 4096;

/// Counts of addresses. Clones share them. The default has no bound.
#[derive(Clone, Debug, Default)]
pub struct Shares(Option<Arc<Counts>>);

#[derive(Debug)]
struct Counts {
    most: usize,
    hasher: RandomState,
    places: Box<[AtomicU32]>,
}

/// Two are equal if they have the same bound.
impl PartialEq for Shares {
    fn eq(&self, other: &Self) -> bool {
        let most = |this: &Self| this.0.as_ref().map(|counts| counts.most);
        most(self) == most(other)
    }
}

impl Eq for Shares {}

impl Shares {
    /// So many for each address.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let places = (0..2 * PLACES).map(|_| AtomicU32::new(0)).collect();
        Self(Some(Arc::new(Counts { most, hasher: RandomState::new(), places })))
    }

    /// One more for this address, until what this returns is dropped; none if it has its share. Who has no address, as
    /// behind a Unix socket, has no share either.
    #[must_use]
    pub fn enter(&self, address: Option<IpAddr>) -> Option<Taken> {
        let (Some(counts), Some(address)) = (&self.0, address) else { return Some(Taken(None)) };
        let places = counts.places_of(address);
        // Given back at once if it is not let in.
        let taken = Taken(Some((Arc::clone(counts), places)));
        let counted = places.map(|place| counts.add(place));
        let least = usize::try_from(counted.into_iter().min().unwrap_or(0)).unwrap_or(usize::MAX);
        (least <= counts.most).then_some(taken)
    }
}

impl Counts {
    fn places_of(&self, address: IpAddr) -> [usize; 2] {
        // Who has one IPv6 address has the 2^64 beside it as well.
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address),
            IpAddr::V6(address) => self.hasher.hash_one(address.to_bits() >> 64),
        };
        let place = |bits: u64| usize::try_from(bits).unwrap_or(0) % PLACES;
        [place(hash & 0xffff_ffff), PLACES + place(hash >> 32)]
    }

    /// How many there are then.
    fn add(&self, place: usize) -> u32 {
        self.places.get(place).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A part of a share, given back by dropping it.
#[derive(Debug)]
pub struct Taken(Option<(Arc<Counts>, [usize; 2])>);

impl Drop for Taken {
    fn drop(&mut self) {
        let Some((counts, places)) = &self.0 else { return };
        for place in places {
            if let Some(count) = counts.places.get(*place) {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_leaves_room_for_others() {
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
    fn one_network_of_ipv6_is_one_address() {
        let shares = Shares::new(1);
        let _held = shares.enter(Some(address("2001:db8::1"))).unwrap();
        assert!(shares.enter(Some(address("2001:db8::ffff:2"))).is_none());
        assert!(shares.enter(Some(address("2001:db8:0:1::1"))).is_some());
        assert!(Shares::default().enter(Some(address("2001:db8::1"))).is_some());
    }
}
