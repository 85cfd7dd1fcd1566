//! A number of bytes that many may take from together: memory that strangers can make the process hold. Bytes are
//! taken before the memory is, and given back by dropping what was taken.
//!
//! Taking is one atomic addition. A little is kept for who takes little, so that a few who take much cannot shut out
//! everybody who sends a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who takes no more than this takes little.
pub const LITTLE: usize = 16 << 10;

/// Bytes to take from. Clones share them. The default has no bound.
#[derive(Clone, Debug, Default)]
pub struct Budget(Option<Arc<Account>>);

#[derive(Debug)]
struct Account {
    most: usize,
    /// What only those may take who take little.
    kept: usize,
    taken: AtomicUsize,
}

/// Two are equal if they have the same bound.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        self.most() == other.most()
    }
}

impl Eq for Budget {}

impl Budget {
    /// So many bytes, or more: `largest`, what one may take at once, must fit.
    #[must_use]
    pub fn new(bytes: usize, largest: usize) -> Self {
        let kept = bytes / 16;
        let most = bytes.max(largest.saturating_add(kept));
        Self(Some(Arc::new(Account { most, kept, taken: AtomicUsize::new(0) })))
    }

    /// How many bytes there are; none if there is no bound.
    pub fn most(&self) -> Option<usize> {
        self.0.as_ref().map(|account| account.most)
    }

    /// How many bytes are taken.
    pub fn taken(&self) -> usize {
        self.0.as_ref().map_or(0, |account| account.taken.load(Ordering::Relaxed))
    }

    /// Whether so many bytes could be taken now.
    pub fn has(&self, bytes: usize) -> bool {
        let Some(account) = &self.0 else { return true };
        account.taken.load(Ordering::Relaxed).saturating_add(bytes) <= account.bound(bytes)
    }

    /// Nothing yet, to be grown.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// So many bytes, if they are left.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow_to(bytes).then_some(share)
    }
}

impl Account {
    fn bound(&self, bytes: usize) -> usize {
        if bytes <= LITTLE { self.most } else { self.most - self.kept }
    }
}

/// Bytes that are taken, until this is dropped.
#[derive(Debug, Default)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes them so many, if they are left; if not, nothing changes.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes) else { return true };
        if let Some(account) = &self.budget.0 {
            let before = account.taken.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > account.bound(bytes) {
                account.taken.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(account) = &self.budget.0 {
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
        assert!(budget.take(100 << 10).is_none() && !budget.has(100 << 10));
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
    }
}
