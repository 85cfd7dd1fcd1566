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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_forgotten_only_when_there_would_be_too_many() {
        let accepted = AcceptedSecrets::default();
        let client = ClientId::new(None).unwrap();
        let secrets = |n: usize| vec![n.to_string().into_bytes()];
        for n in 0..MAX_ACCEPTED {
            accepted.add(&client, &secrets(n));
        }
        // One that is known needs no room.
        accepted.add(&client, &secrets(1));
        assert!(accepted.contains(&client, &secrets(0)) && accepted.contains(&client, &secrets(MAX_ACCEPTED - 1)));
        accepted.add(&client, &secrets(MAX_ACCEPTED));
        assert!(!accepted.contains(&client, &secrets(0)) && accepted.contains(&client, &secrets(MAX_ACCEPTED)));
    }
}
