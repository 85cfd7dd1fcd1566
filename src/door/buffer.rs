//! The body of a request as far as it has come, in memory that is reserved before it is used.
//!
//! What was announced is not believed: the budget is charged as bytes arrive, in steps, so that who only says that it
//! will send much holds nothing. What does not fit into a few pages lies in pages of its own, which go back to the system
//! with the body; an allocator would keep them.

use std::net::IpAddr;
use std::ops::Deref;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};

use super::limits::Limits;
use super::refusal::Refusal;
use crate::service::{Budget, LITTLE, Share};

/// The most that is reserved ahead of what has come.
const STEP: usize = 1 << 20;

/// A body that is arriving.
#[derive(Default, Debug)]
pub(super) struct Buffer {
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

/// Pages of which the first bytes are used.
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

impl Buffer {
    /// For a body of at most what the limits allow, from this address.
    pub(super) fn new(limits: &Limits, address: Option<IpAddr>) -> Self {
        let (limit, budget) = (limits.body, limits.bodies.of(address));
        Self { limit, announced: None, share: budget.share(), budget, memory: Memory::default() }
    }

    /// Says whose it is, if that is known only now. What has come counts for that address too.
    pub(super) fn belongs_to(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        self.budget = self.budget.of(address);
        let mut share = self.budget.share();
        if !share.grow_to(self.share.bytes()) {
            return Err(Refusal::Crowded);
        }
        self.share = share;
        Ok(())
    }

    /// How long the sender says that the body is.
    ///
    /// # Errors
    /// If that is more than is taken, or than there is room for now: better told before it is sent.
    pub(super) fn announce(&mut self, length: u64) -> Result<(), Refusal> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.limit).ok_or(Refusal::TooLarge)?;
        self.announced = Some(length);
        if self.share.could_grow_to(length) { Ok(()) } else { Err(Refusal::Crowded) }
    }

    /// Takes what has come next.
    pub(super) fn add(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let length = self.len().saturating_add(data.len());
        if length > self.limit {
            return Err(Refusal::TooLarge);
        }
        if length > self.share.bytes() {
            let ahead = length.saturating_add(self.share.bytes().clamp(LITTLE, STEP));
            let ahead = ahead.min(self.announced.unwrap_or(usize::MAX)).max(length);
            if !self.share.grow_to(ahead) && !self.share.grow_to(length) {
                return Err(Refusal::Crowded);
            }
        }
        if length > LITTLE {
            return self.pages(length)?.add(data);
        }
        if let Memory::Small(bytes) = &mut self.memory {
            bytes.extend_from_slice(data);
        }
        Ok(())
    }

    /// Pages with room for so many bytes, and what has come in them.
    fn pages(&mut self, length: usize) -> Result<&mut Pages, Refusal> {
        let is_roomy = matches!(&self.memory, Memory::Pages(pages) if pages.map.len() >= length);
        if !is_roomy {
            let room = self.announced.filter(|announced| *announced >= length);
            let mut pages = Pages::new(room.unwrap_or_else(|| length.next_power_of_two().max(4 * LITTLE)))?;
            pages.add(self)?;
            self.memory = Memory::Pages(pages);
        }
        match &mut self.memory {
            Memory::Pages(pages) => Ok(pages),
            Memory::Small(_) => Err(Refusal::Failed),
        }
    }

    /// Drops what has come, and gives its room back.
    pub(super) fn clear(&mut self) {
        (self.share, self.memory) = (self.budget.share(), Memory::default());
    }

    /// The body, and its part of the budget, to be kept until the request is answered.
    pub(super) fn finish(self) -> (Bytes, Share) {
        let bytes = match self.memory {
            Memory::Small(bytes) => bytes.into(),
            Memory::Pages(pages) => Bytes::from_owner(pages),
        };
        (bytes, self.share)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(bytes) => bytes,
            Memory::Pages(pages) => pages.as_ref(),
        }
    }
}

impl Pages {
    fn new(length: usize) -> Result<Self, Refusal> {
        // The system has no memory left: the same as no budget.
        let map = MmapMut::map_anon(length).map_err(|error| {
            tracing::warn!(%error, length, "no memory for the body of a request");
            Refusal::Crowded
        })?;
        // A page of 2 MiB would be held for its first byte. Without that advice too much is held, nothing worse.
        let _ = map.advise(Advice::NoHugePage);
        Ok(Self { map, used: 0 })
    }

    fn add(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let end = self.used + data.len();
        self.map.get_mut(self.used..end).ok_or(Refusal::Failed)?.copy_from_slice(data);
        self.used = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(budget: usize) -> Limits {
        Limits { body: 1 << 20, bodies: Budget::new(budget, 0), ..Limits::default() }
    }

    #[test]
    fn body_is_the_same_however_it_came() {
        let all: Vec<u8> = (0..700_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for (announced, size) in [(None, 5000), (Some(700_000), 333), (Some(10), 60_000), (None, 700_000)] {
            let mut buffer = Buffer::new(&limits(64 << 20), None);
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
    fn announcing_takes_nothing_and_a_small_body_takes_its_length() {
        let limits = limits(4 << 20);
        let mut large = Buffer::new(&limits, None);
        large.announce(1 << 20).unwrap();
        assert_eq!(limits.bodies.taken(), 0);
        let mut small = Buffer::new(&limits, None);
        small.announce(30).unwrap();
        small.add(&[b'x'; 30]).unwrap();
        assert_eq!(limits.bodies.taken(), 30);
        drop(small);
        assert_eq!((large.add(&vec![b'x'; 100_000]), large.len()), (Ok(()), 100_000));
        large.clear();
        assert_eq!((limits.bodies.taken(), large.len()), (0, 0));
    }

    #[test]
    fn body_is_refused_when_too_large_or_when_others_hold_the_room() {
        let limits = limits(1 << 20);
        let mut first = Buffer::new(&limits, None);
        assert_eq!(first.announce(2 << 20), Err(Refusal::TooLarge));
        first.add(&vec![0; 800_000]).unwrap();
        assert_eq!(first.add(&vec![0; 300_000]), Err(Refusal::TooLarge));
        let mut second = Buffer::new(&limits, None);
        assert_eq!(second.announce(400_000), Err(Refusal::Crowded));
        assert_eq!(second.add(&vec![0; 300_000]), Err(Refusal::Crowded));
        assert_eq!(second.add(&[0; 3000]), Ok(()), "who sends little is let in");
        drop(first);
        assert_eq!(second.add(&vec![0; 300_000]), Ok(()));
    }
}
