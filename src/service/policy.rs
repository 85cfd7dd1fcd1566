//! What holds of a bucket: who may read it, whose times it tells, how long caches may keep it, how large its values are.
//!
//! A bucket that is not named in the settings goes by the usual policy.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Bucket, Error, Kind, Result};

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

/// As the settings name them.
const READS: [(&str, Reads); 3] = [("open", Reads::Open), ("secret", Reads::Secret), ("listed", Reads::Listed)];
const TIMESTAMPS: [(&str, Timestamps); 2] = [("server", Timestamps::Server), ("client", Timestamps::Client)];

macro_rules! named {
    ($kind:ident, $names:ident, $form:literal) => {
        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let known = $names.iter().find(|(name, _)| *name == text);
                let bad = || Error::new(Kind::Invalid, format!("bad value {text:?}: write {}", $form));
                known.map(|(_, this)| *this).ok_or_else(bad)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($names.iter().find(|(_, this)| this == self).map_or("", |(name, _)| name))
            }
        }
    };
}
named!(Reads, READS, "open, secret or listed");
named!(Timestamps, TIMESTAMPS, "server or client");

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

    #[test]
    fn each_kind_has_the_name_it_is_shown_by() {
        for (name, reads) in READS {
            assert_eq!((name.parse::<Reads>().unwrap(), reads.to_string().as_str()), (reads, name));
        }
        for (name, times) in TIMESTAMPS {
            assert_eq!((name.parse::<Timestamps>().unwrap(), times.to_string().as_str()), (times, name));
        }
        let error = "Open".parse::<Reads>().unwrap_err().to_string();
        assert_eq!(error, "bad value \"Open\": write open, secret or listed");
    }
}
