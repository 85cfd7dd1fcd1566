//! The buffer for the body of one request. Memory is charged to a budget before it is used.
//!
//! The budget is charged in steps as bytes arrive, not by the announced length, so a client that only announces a large
//! body uses no part of it. A body larger than a few pages gets memory pages of its own. They go back to the operating
//! system with the body; an allocator would keep them.

use std::net::IpAddr;
use std::ops::Deref;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

use super::error_response::TransportError;
use super::limits::ServerLimits;
use crate::web::{Budget, SMALL_BODY_BYTES, Share};

/// How far the budget may be charged ahead of the bytes that have arrived.
const MAX_RESERVED_AHEAD_BYTES: usize = 1 << 20;

/// A body that is arriving.
#[derive(Default, Debug)]
pub(crate) struct BodyBuffer {
    limit: usize,
    announced: Option<usize>,
    budget: Budget,
    share: Share,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Small(Vec<u8>),
    Pages(Pages),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Small(Vec::new())
    }
}

/// Memory pages; the first `used` bytes are data.
#[derive(Debug)]
struct Pages {
    map: MmapMut,
    used: usize,
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        self.map.get(..self.used).unwrap_or_default()
    }
}

impl BodyBuffer {
    /// A buffer for a body within `limits`, charged to the share of the client at `address`.
    pub(crate) fn new(limits: &ServerLimits, address: Option<IpAddr>) -> Self {
        let (limit, budget) = (limits.body, limits.bodies.for_address(address));
        Self { limit, announced: None, share: budget.share(), budget, memory: Memory::default() }
    }

    /// Sets the address of the client once it is known. Bytes that have already arrived are charged to it too.
    pub(crate) fn set_client(&mut self, address: Option<IpAddr>) -> Result<(), TransportError> {
        self.budget = self.budget.for_address(address);
        let mut share = self.budget.share();
        if !share.grow_to(self.share.bytes()) {
            return Err(TransportError::BodyBudgetUsedUp);
        }
        self.share = share;
        Ok(())
    }

    /// Sets the length that the client announces. This charges nothing.
    ///
    /// # Errors
    /// `BodyTooLarge` above the limit, and `BodyBudgetUsedUp` if the budget has no room for it now: the client can
    /// learn this before it sends the body.
    pub(crate) fn announce(&mut self, length: u64) -> Result<(), TransportError> {
        let length =
            usize::try_from(length).ok().filter(|length| *length <= self.limit).ok_or(TransportError::BodyTooLarge)?;
        self.announced = Some(length);
        if self.share.could_grow_to(length) { Ok(()) } else { Err(TransportError::BodyBudgetUsedUp) }
    }

    /// Appends the next bytes of the body.
    pub(crate) fn add(&mut self, data: &[u8]) -> Result<(), TransportError> {
        let length = self.len().saturating_add(data.len());
        if length > self.limit {
            return Err(TransportError::BodyTooLarge);
        }
        if length > self.share.bytes() {
            let ahead = length.saturating_add(self.share.bytes().clamp(SMALL_BODY_BYTES, MAX_RESERVED_AHEAD_BYTES));
            let ahead = ahead.min(self.announced.unwrap_or(usize::MAX)).max(length);
            if !self.share.grow_to(ahead) && !self.share.grow_to(length) {
                return Err(TransportError::BodyBudgetUsedUp);
            }
        }
        if length > SMALL_BODY_BYTES {
            return self.pages(length)?.add(data);
        }
        if let Memory::Small(bytes) = &mut self.memory {
            bytes.extend_from_slice(data);
        }
        Ok(())
    }

    /// Memory pages with room for `length` bytes. Moves the body into them first, if necessary.
    fn pages(&mut self, length: usize) -> Result<&mut Pages, TransportError> {
        let is_roomy = matches!(&self.memory, Memory::Pages(pages) if pages.map.len() >= length);
        if !is_roomy {
            let room = self.announced.filter(|announced| *announced >= length);
            let mut pages = Pages::new(room.unwrap_or_else(|| length.next_power_of_two().max(4 * SMALL_BODY_BYTES)))?;
            pages.add(self)?;
            self.memory = Memory::Pages(pages);
        }
        match &mut self.memory {
            Memory::Pages(pages) => Ok(pages),
            Memory::Small(_) => Err(TransportError::Internal),
        }
    }

    /// Drops the bytes, and returns their part of the budget.
    pub(crate) fn clear(&mut self) {
        (self.share, self.memory) = (self.budget.share(), Memory::default());
    }

    /// The body and its part of the budget. Keep the share until the request is answered.
    pub(crate) fn finish(self) -> (Bytes, Share) {
        let bytes = match self.memory {
            Memory::Small(bytes) => bytes.into(),
            Memory::Pages(pages) => Bytes::from_owner(pages),
        };
        (bytes, self.share)
    }
}

impl Deref for BodyBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(bytes) => bytes,
            Memory::Pages(pages) => pages.as_ref(),
        }
    }
}

impl Pages {
    fn new(length: usize) -> Result<Self, TransportError> {
        // The system is out of memory: treated as an exhausted budget.
        let map = MmapMut::map_anon(length).map_err(|error| {
            tracing::warn!(%error, length, "cannot allocate memory for the body of a request");
            TransportError::BodyBudgetUsedUp
        })?;
        // A huge page would take 2 MiB for its first byte. If the advice fails, only too much memory is used.
        let _ = map.advise(Advice::NoHugePage);
        Ok(Self { map, used: 0 })
    }

    fn add(&mut self, data: &[u8]) -> Result<(), TransportError> {
        let end = self.used + data.len();
        self.map.get_mut(self.used..end).ok_or(TransportError::Internal)?.copy_from_slice(data);
        self.used = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(budget: usize) -> ServerLimits {
        ServerLimits { body: 1 << 20, bodies: Budget::new(budget, 0), ..ServerLimits::default() }
    }

    #[test]
    fn body_is_the_same_for_every_split_into_pieces() {
        let all: Vec<u8> = (0..700_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for (announced, size) in [(None, 5000), (Some(700_000), 333), (Some(10), 60_000), (None, 700_000)] {
            let mut buffer = BodyBuffer::new(&limits(64 << 20), None);
            if let Some(length) = announced {
                buffer.announce(length).unwrap();
            }
            for piece in all.chunks(size) {
                buffer.add(piece).unwrap();
            }
            let (bytes, share) = buffer.finish();
            assert!(bytes == all, "{announced:?} {size}");
            assert!(share.bytes() >= all.len() && share.bytes() <= 2 * all.len());
        }
    }

    #[test]
    fn body_is_charged_when_it_arrives_and_not_when_announced() {
        let limits = limits(4 << 20);
        let mut large = BodyBuffer::new(&limits, None);
        large.announce(1 << 20).unwrap();
        assert_eq!(limits.bodies.taken(), 0);
        let mut small = BodyBuffer::new(&limits, None);
        small.announce(30).unwrap();
        small.add(&[b'x'; 30]).unwrap();
        assert_eq!(limits.bodies.taken(), 30);
        drop(small);
        assert_eq!((large.add(&vec![b'x'; 100_000]), large.len()), (Ok(()), 100_000));
        large.clear();
        assert_eq!((limits.bodies.taken(), large.len()), (0, 0));
    }

    #[test]
    fn body_is_rejected_when_a_limit_or_the_budget_is_exceeded() {
        let limits = limits(1 << 20);
        let mut first = BodyBuffer::new(&limits, None);
        assert_eq!(first.announce(2 << 20), Err(TransportError::BodyTooLarge));
        first.add(&vec![0; 800_000]).unwrap();
        assert_eq!(first.add(&vec![0; 300_000]), Err(TransportError::BodyTooLarge));
        let mut second = BodyBuffer::new(&limits, None);
        assert_eq!(second.announce(400_000), Err(TransportError::BodyBudgetUsedUp));
        assert_eq!(second.add(&vec![0; 300_000]), Err(TransportError::BodyBudgetUsedUp));
        assert_eq!(second.add(&[0; 3000]), Ok(()), "a small piece is still accepted");
        drop(first);
        assert_eq!(second.add(&vec![0; 300_000]), Ok(()));
    }
}
