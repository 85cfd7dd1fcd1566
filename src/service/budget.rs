//! A number of bytes that many may take from together: memory that strangers can make the process hold. Bytes are
//! taken before the memory is, and given back by dropping what was taken.
//!
//! A little is kept for who takes little, so that a few who take much cannot shut out everybody who sends a line. One
//! address may have a share, of which a little is kept in the same way. No lock: taking is a few atomic additions.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shares::{Shares, Taken};

/// Who takes no more than this takes little.
pub const LITTLE: usize = 16 << 10;

/// Bytes to take from, perhaps for somebody at an address. Clones share them. The default has no bound.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    account: Option<Arc<Account>>,
    address: Option<IpAddr>,
}

#[derive(Debug)]
struct Account {
    largest: usize,
    all: Bound,
    /// What one address may have.
    each: Bound,
    taken: AtomicUsize,
    addresses: Shares,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bound {
    most: usize,
    /// What only those may take who take little.
    kept: usize,
}

impl Bound {
    fn new(bytes: usize, largest: usize) -> Self {
        let kept = bytes / 16;
        Self { most: bytes.max(largest.saturating_add(kept)), kept }
    }

    /// How much may be taken in all if one takes so many bytes of it.
    fn when_one_takes(self, bytes: usize) -> usize {
        if bytes <= LITTLE { self.most } else { self.most - self.kept }
    }
}

/// Two are equal if they have the same bounds.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        let bounds = |this: &Self| this.account.as_ref().map(|account| (account.all, account.each));
        bounds(self) == bounds(other)
    }
}

impl Eq for Budget {}

impl Budget {
    /// So many bytes, or more: `largest`, what one may take at once, must fit.
    #[must_use]
    pub fn new(bytes: usize, largest: usize) -> Self {
        let (all, each) = (Bound::new(bytes, largest), Bound { most: usize::MAX, kept: 0 });
        Self::over(Account { largest, all, each, taken: AtomicUsize::new(0), addresses: Shares::default() })
    }

    /// As many bytes, none of them taken, of which one address may have so many, or more: the largest must fit here too.
    #[must_use]
    pub fn sharing(self, bytes: usize) -> Self {
        let Some(Account { largest, all, .. }) = self.account.as_deref() else { return self };
        let (each, addresses) = (Bound::new(bytes, *largest), Shares::new(bytes));
        Self::over(Account { largest: *largest, all: *all, each, taken: AtomicUsize::new(0), addresses })
    }

    fn over(account: Account) -> Self {
        Self { account: Some(Arc::new(account)), address: None }
    }

    /// The same bytes, taken for this address. Who has no address, as behind a Unix socket, has no share.
    #[must_use]
    pub fn of(&self, address: Option<IpAddr>) -> Self {
        Self { account: self.account.clone(), address }
    }

    /// How many bytes there are; none if there is no bound.
    pub fn most(&self) -> Option<usize> {
        self.account.as_ref().map(|account| account.all.most)
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> usize {
        self.account.as_ref().map_or(0, |account| account.taken.load(Ordering::Relaxed))
    }

    /// Nothing yet, to be grown.
    #[must_use]
    pub fn share(&self) -> Share {
        let of_address = self.account.as_ref().map(|account| account.addresses.of(self.address));
        Share { budget: self.clone(), of_address: of_address.unwrap_or_default(), bytes: 0 }
    }

    /// So many bytes, if they are left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow_to(bytes).then_some(share)
    }
}

/// Bytes that are taken, until this is dropped.
#[derive(Debug, Default)]
pub struct Share {
    budget: Budget,
    of_address: Taken,
    bytes: usize,
}

impl Share {
    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether they could be made so many now.
    pub fn could_grow_to(&self, bytes: usize) -> bool {
        let Some(account) = &self.budget.account else { return true };
        let more = bytes.saturating_sub(self.bytes);
        self.of_address.could_grow(more, account.each.when_one_takes(bytes))
            && account.taken.load(Ordering::Relaxed).saturating_add(more) <= account.all.when_one_takes(bytes)
    }

    /// Makes them so many, if they are left; if not, nothing changes.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes) else { return true };
        if let Some(account) = &self.budget.account {
            if !self.of_address.grow(more, account.each.when_one_takes(bytes)) {
                return false;
            }
            let before = account.taken.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > account.all.when_one_takes(bytes) {
                account.taken.fetch_sub(more, Ordering::Relaxed);
                self.of_address.shrink(more);
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(account) = &self.budget.account {
            account.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_once_and_given_back() {
        let budget = Budget::new(1 << 20, 0);
        let mut first = budget.take(500 << 10).unwrap();
        assert!(first.grow_to(900 << 10) && !first.grow_to(990 << 10), "a sixteenth is kept for who takes little");
        assert_eq!((first.bytes(), budget.taken()), (900 << 10, 900 << 10));
        assert!(budget.take(100 << 10).is_none() && !budget.share().could_grow_to(100 << 10));
        let little: Vec<_> = std::iter::from_fn(|| budget.take(LITTLE)).collect();
        assert_eq!(little.len(), 7);
        drop((first, little));
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn the_largest_fits_whatever_is_set() {
        let budget = Budget::new(1 << 20, 300 << 20);
        assert!(budget.take(300 << 20).is_some());
        assert!(Budget::default().take(usize::MAX).is_some());
        let shared = Budget::new(1 << 20, 300 << 20).sharing(1 << 19).of(Some(address("192.0.2.1")));
        assert!(shared.take(300 << 20).is_some());
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_and_a_little_of_it_is_kept_for_who_takes_little() {
        let budget = Budget::new(1 << 20, 0).sharing(512 << 10);
        let one = budget.of(Some(address("2001:db8::1")));
        let mut held = one.take(300 << 10).unwrap();
        assert!(
            !one.share().could_grow_to(200 << 10)
                && held.could_grow_to(480 << 10)
                && one.take(200 << 10).is_none()
                && held.grow_to(480 << 10)
        );
        let again = budget.of(Some(address("2001:db8::2")));
        let little: Vec<_> = std::iter::from_fn(|| again.take(LITTLE)).collect();
        assert_eq!(little.len(), 2, "its network has the share together");
        let other = budget.of(Some(address("2001:db8:0:1::1"))).take(300 << 10);
        assert!(other.is_some());
        // What all have together is bounded as before, and nothing is counted that was refused.
        assert!(budget.of(None).take(200 << 10).is_none());
        drop((held, little, other));
        assert_eq!(budget.taken(), 0);
        assert!(one.take(480 << 10).is_some());
    }
}
