//! What holds of a bucket: who may read it, whose times it tells, how long caches may keep it, how large its values are.
//!
//! A bucket that is not named in the settings goes by the usual policy.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Bucket;

/// Who may read without a secret that allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reads {
    /// Everybody, by the name of a key: who knows a key may read it. A list of the keys takes a secret.
    #[default]
    Open,
    /// Nobody.
    Secret,
    /// Everybody, and everybody may list the keys too.
    Listed,
}

/// Whose time of modification an entry tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Timestamps {
    /// Ours: the time of the commit.
    #[default]
    Server,
    /// The client's, which it gives as If-Unmodified-Since; its quoted date is the tag. This is how Poky works.
    Client,
}

/// The policy of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Who may read.
    pub reads: Reads,
    /// Whose times.
    pub timestamps: Timestamps,
    /// How long shared caches may keep an answer whose address is purged when the key changes; none: not without asking.
    pub max_age: Option<Duration>,
    /// The largest value in bytes, if it is less than the store takes.
    pub max_value: Option<usize>,
}

/// The policies of all buckets.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Of a bucket that is not named.
    pub usual: Policy,
    /// Of those that are.
    pub named: BTreeMap<Bucket, Policy>,
}

impl Policies {
    /// The policy of that bucket.
    #[must_use]
    pub fn of(&self, bucket: &Bucket) -> &Policy {
        self.named.get(bucket).unwrap_or(&self.usual)
    }
}

impl From<Reads> for Policies {
    /// The same readers for all buckets.
    fn from(reads: Reads) -> Self {
        Self { usual: Policy { reads, ..Policy::default() }, named: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_bucket_has_its_own_policy_and_no_other_has_it() {
        let named = Bucket::new("poky").unwrap();
        let mut policies = Policies::from(Reads::Secret);
        policies.named.insert(named.clone(), Policy { timestamps: Timestamps::Client, ..Policy::default() });
        assert_eq!(policies.of(&named).timestamps, Timestamps::Client);
        assert_eq!(policies.of(&named).reads, Reads::Open);
        assert_eq!(policies.of(&Bucket::default()).reads, Reads::Secret);
    }
}
