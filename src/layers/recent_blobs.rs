//! Blobs that were read last, so that many clients that read the same large values at once share their memory.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::BlobId;

/// How many bytes of blobs that were read last are kept in memory, and how many blobs.
const MAX_RECENT_BYTES: usize = 16 << 20;
const MAX_RECENT_BLOBS: usize = 256;

/// Blobs that were read last. A blob never changes, so none of them can be old.
#[derive(Default)]
pub(super) struct RecentBlobs {
    /// The newest one is the last.
    blobs: VecDeque<(BlobId, Bytes)>,
    bytes: usize,
}

impl RecentBlobs {
    pub(super) fn get(&mut self, id: BlobId) -> Option<Bytes> {
        let at = self.blobs.iter().position(|(known, _)| *known == id)?;
        let found = self.blobs.remove(at)?;
        let value = found.1.clone();
        self.blobs.push_back(found);
        Some(value)
    }

    pub(super) fn add(&mut self, id: BlobId, value: &Bytes) {
        if value.len() > MAX_RECENT_BYTES / 4 || self.get(id).is_some() {
            return;
        }
        self.bytes += value.len();
        self.blobs.push_back((id, value.clone()));
        while self.bytes > MAX_RECENT_BYTES || self.blobs.len() > MAX_RECENT_BLOBS {
            let Some((_, oldest)) = self.blobs.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> BlobId {
        BlobId::new([n; 32])
    }

    #[test]
    fn only_the_last_blobs_are_kept() {
        let mut recent = RecentBlobs::default();
        let value = Bytes::from(vec![7; MAX_RECENT_BYTES / 4]);
        for n in 0..4 {
            recent.add(id(n), &value);
        }
        assert!(recent.get(id(0)).is_some(), "it is the newest one now");
        recent.add(id(4), &value);
        let known: Vec<u8> = (0..6).filter(|n| recent.get(id(*n)).is_some()).collect();
        assert_eq!((known, recent.bytes), (vec![0, 2, 3, 4], MAX_RECENT_BYTES));
        recent.add(id(5), &Bytes::from(vec![7; MAX_RECENT_BYTES / 4 + 1]));
        assert!(recent.get(id(5)).is_none(), "it would displace all others");
        recent.add(id(4), &value);
        assert_eq!(recent.bytes, MAX_RECENT_BYTES);
    }

    #[test]
    fn the_number_of_small_blobs_is_limited_too() {
        let mut recent = RecentBlobs::default();
        for n in 0..=u8::MAX {
            recent.add(id(n), &Bytes::from_static(b"x"));
        }
        recent.add(BlobId::new(std::array::from_fn(|n| u8::try_from(n).unwrap_or(0))), &Bytes::from_static(b"x"));
        assert_eq!((recent.blobs.len(), recent.bytes), (MAX_RECENT_BLOBS, MAX_RECENT_BLOBS));
    }
}
