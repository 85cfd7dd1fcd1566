//! The secrets that this process has found right, each with its client.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use parking_lot::Mutex;

use super::client_id::ClientId;

/// The most pairs of a client and its secrets. If there are more, all are forgotten.
const MAX_ACCEPTED: usize = 10_000;

/// A set of hashes, by a random key, of clients and their secrets.
#[derive(Default)]
pub(super) struct AcceptedSecrets {
    hasher: RandomState,
    hashes: Mutex<HashSet<u64>>,
}

impl AcceptedSecrets {
    pub(super) fn add(&self, client: &ClientId, secrets: &[Vec<u8>]) {
        let hash = self.hasher.hash_one((&client.key, secrets));
        let mut hashes = self.hashes.lock();
        if hashes.len() >= MAX_ACCEPTED && !hashes.contains(&hash) {
            hashes.clear();
        }
        hashes.insert(hash);
    }

    pub(super) fn contains(&self, client: &ClientId, secrets: &[Vec<u8>]) -> bool {
        self.hashes.lock().contains(&self.hasher.hash_one((&client.key, secrets)))
    }
}
