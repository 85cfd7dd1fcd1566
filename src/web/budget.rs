//! A budget of bytes for memory that clients can make the process use. Bytes are taken before the memory is allocated,
//! and given back when the [`Share`] is dropped.
//!
//! A sixteenth is reserved for small requests, so that a few large ones cannot shut out all others. One address can be
//! limited to a part of the budget. A sixteenth of this part is reserved in the same way. There is no lock: taking
//! bytes is a few atomic additions.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shares::{SharePermit, Shares};

/// The largest request that may use the reserved part of a budget, in bytes.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// A budget of bytes, for all clients or for one address. Clones share it. The default has no limit.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    account: Option<Arc<Account>>,
    address: Option<IpAddr>,
}

#[derive(Debug)]
struct Account {
    largest_request: usize,
    all: ByteLimit,
    /// The limit for one address.
    each: ByteLimit,
    taken: AtomicUsize,
    addresses: Shares,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ByteLimit {
    max_bytes: usize,
    /// The part that is reserved for small requests.
    reserved_bytes: usize,
}

impl ByteLimit {
    fn new(bytes: usize, largest_request: usize) -> Self {
        let reserved_bytes = bytes / 16;
        Self { max_bytes: bytes.max(largest_request.saturating_add(reserved_bytes)), reserved_bytes }
    }

    /// The limit of the sum for a request that takes `bytes`.
    fn for_request_of(self, bytes: usize) -> usize {
        if bytes <= SMALL_BODY_BYTES { self.max_bytes } else { self.max_bytes - self.reserved_bytes }
    }
}

/// Two budgets are equal if they have the same limits.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        let bounds = |this: &Self| this.account.as_ref().map(|account| (account.all, account.each));
        bounds(self) == bounds(other)
    }
}

impl Eq for Budget {}

impl Budget {
    /// A budget of `bytes`. It is larger if one request of `largest_request` bytes would not fit next to the reserved
    /// part otherwise.
    #[must_use]
    pub fn new(bytes: usize, largest_request: usize) -> Self {
        let (all, each) =
            (ByteLimit::new(bytes, largest_request), ByteLimit { max_bytes: usize::MAX, reserved_bytes: 0 });
        Self::with_account(Account {
            largest_request,
            all,
            each,
            taken: AtomicUsize::new(0),
            addresses: Shares::default(),
        })
    }

    /// A new budget of the same size that limits one address to `bytes`. The limit is higher if the largest request
    /// would not fit otherwise.
    #[must_use]
    pub fn sharing(self, bytes: usize) -> Self {
        let Some(Account { largest_request, all, .. }) = self.account.as_deref() else { return self };
        let (each, addresses) = (ByteLimit::new(bytes, *largest_request), Shares::new(bytes));
        Self::with_account(Account {
            largest_request: *largest_request,
            all: *all,
            each,
            taken: AtomicUsize::new(0),
            addresses,
        })
    }

    fn with_account(account: Account) -> Self {
        Self { account: Some(Arc::new(account)), address: None }
    }

    /// The same budget, for requests from this address. Without an address (on a Unix socket) there is no limit per
    /// address.
    #[must_use]
    pub fn for_address(&self, address: Option<IpAddr>) -> Self {
        Self { account: self.account.clone(), address }
    }

    /// The size in bytes; `None` if there is no limit.
    pub fn max_bytes(&self) -> Option<usize> {
        self.account.as_ref().map(|account| account.all.max_bytes)
    }

    /// The number of bytes that are taken.
    pub fn taken(&self) -> usize {
        self.account.as_ref().map_or(0, |account| account.taken.load(Ordering::Relaxed))
    }

    /// An empty share that can grow.
    #[must_use]
    pub fn share(&self) -> Share {
        let address_permit = self.account.as_ref().map(|account| account.addresses.for_address(self.address));
        Share { budget: self.clone(), address_permit: address_permit.unwrap_or_default(), bytes: 0 }
    }

    /// Takes `bytes` from the budget; `None` if they are not left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow_to(bytes).then_some(share)
    }
}

/// Bytes that are taken from a budget until this is dropped.
#[derive(Debug, Default)]
pub struct Share {
    budget: Budget,
    address_permit: SharePermit,
    bytes: usize,
}

impl Share {
    /// The size of the share in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the share could grow to `bytes` now.
    pub fn could_grow_to(&self, bytes: usize) -> bool {
        let Some(account) = &self.budget.account else { return true };
        let more = bytes.saturating_sub(self.bytes);
        self.address_permit.could_grow(more, account.each.for_request_of(bytes))
            && account.taken.load(Ordering::Relaxed).saturating_add(more) <= account.all.for_request_of(bytes)
    }

    /// Grows the share to `bytes`. If they are not left, nothing changes and the result is false.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes) else { return true };
        if let Some(account) = &self.budget.account {
            if !self.address_permit.grow(more, account.each.for_request_of(bytes)) {
                return false;
            }
            let before = account.taken.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > account.all.for_request_of(bytes) {
                account.taken.fetch_sub(more, Ordering::Relaxed);
                self.address_permit.shrink(more);
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
    fn bytes_are_given_back_when_a_share_is_dropped() {
        let budget = Budget::new(1 << 20, 0);
        let mut first = budget.take(500 << 10).unwrap();
        assert!(first.grow_to(900 << 10) && !first.grow_to(990 << 10), "a sixteenth is reserved for small requests");
        assert_eq!((first.bytes(), budget.taken()), (900 << 10, 900 << 10));
        assert!(budget.take(100 << 10).is_none() && !budget.share().could_grow_to(100 << 10));
        let small: Vec<_> = std::iter::from_fn(|| budget.take(SMALL_BODY_BYTES)).collect();
        assert_eq!(small.len(), 7);
        drop((first, small));
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn largest_request_fits_into_a_smaller_budget() {
        let budget = Budget::new(1 << 20, 300 << 20);
        assert!(budget.take(300 << 20).is_some());
        assert!(Budget::default().take(usize::MAX).is_some());
        let shared = Budget::new(1 << 20, 300 << 20).sharing(1 << 19).for_address(Some(address("192.0.2.1")));
        assert!(shared.take(300 << 20).is_some());
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_is_limited_with_a_reserve_for_small_requests() {
        let budget = Budget::new(1 << 20, 0).sharing(512 << 10);
        let one = budget.for_address(Some(address("2001:db8::1")));
        let mut held = one.take(300 << 10).unwrap();
        assert!(
            !one.share().could_grow_to(200 << 10)
                && held.could_grow_to(480 << 10)
                && one.take(200 << 10).is_none()
                && held.grow_to(480 << 10)
        );
        let again = budget.for_address(Some(address("2001:db8::2")));
        let small: Vec<_> = std::iter::from_fn(|| again.take(SMALL_BODY_BYTES)).collect();
        assert_eq!(small.len(), 2, "a /64 network is one address");
        let other = budget.for_address(Some(address("2001:db8:0:1::1"))).take(300 << 10);
        assert!(other.is_some());
        // The limit for all clients together still applies, and a rejected request takes nothing.
        assert!(budget.for_address(None).take(200 << 10).is_none());
        drop((held, small, other));
        assert_eq!(budget.taken(), 0);
        assert!(one.take(480 << 10).is_some());
    }
}
