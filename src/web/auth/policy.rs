//! The policy of a bucket: read access, timestamps, cache time and size limit.
//!
//! A bucket that is not named in the settings has the default policy.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Bucket, Error, ErrorKind, Result};

/// Which reads are allowed without a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reads {
    /// `open`: reads of a key by its name. Listing the keys needs a secret.
    #[default]
    Open,
    /// `secret`: none.
    Secret,
    /// `listed`: reads of a key by its name, and listing the keys.
    PublicList,
}

/// Whether the server or the client sets the modification time of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Timestamps {
    /// `server`: it is the time of the commit.
    #[default]
    Server,
    /// `client`: the client sends it in If-Unmodified-Since, and the `ETag` is this date in quotes. Poky works like
    /// this.
    Client,
}

/// The names in the settings.
const READS: [(&str, Reads); 3] = [("open", Reads::Open), ("secret", Reads::Secret), ("listed", Reads::PublicList)];
const TIMESTAMPS: [(&str, Timestamps); 2] = [("server", Timestamps::Server), ("client", Timestamps::Client)];

macro_rules! named {
    ($kind:ident, $names:ident, $form:literal) => {
        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let known = $names.iter().find(|(name, _)| *name == text);
                let bad = || Error::new(ErrorKind::Invalid, format!("bad value {text:?}: write {}", $form));
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
    /// Which reads are allowed without a secret.
    pub reads: Reads,
    /// Whether the server or the client sets modification times.
    pub timestamps: Timestamps,
    /// How long shared caches may use a response without revalidation, if its URL is purged when the key changes.
    /// `None`: not at all.
    pub max_age: Option<Duration>,
    /// The size limit of a value in bytes, if it is lower than that of the store.
    pub max_value: Option<usize>,
}

/// The policies of all buckets.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// The policy of buckets that are not in `by_bucket`.
    pub default: Policy,
    /// The policies of named buckets.
    pub by_bucket: BTreeMap<Bucket, Policy>,
}

/// The policy of the buckets of kvs itself.
const RESERVED: Policy =
    Policy { reads: Reads::Secret, timestamps: Timestamps::Server, max_age: None, max_value: None };

impl Policies {
    /// The policy of this bucket.
    #[must_use]
    pub fn for_bucket(&self, bucket: &Bucket) -> &Policy {
        if bucket.is_reserved() {
            return &RESERVED;
        }
        self.by_bucket.get(bucket).unwrap_or(&self.default)
    }
}

impl Policies {
    /// Whether the keys of any bucket may be listed without a secret.
    pub(crate) fn have_public_list(&self) -> bool {
        self.by_bucket.values().chain([&self.default]).any(|policy| policy.reads == Reads::PublicList)
    }
}

impl From<Reads> for Policies {
    /// The same read access for all buckets.
    fn from(reads: Reads) -> Self {
        Self { default: Policy { reads, ..Policy::default() }, by_bucket: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_bucket_has_its_policy() {
        let named = Bucket::new("poky").unwrap();
        let mut policies = Policies::from(Reads::Secret);
        policies.by_bucket.insert(named.clone(), Policy { timestamps: Timestamps::Client, ..Policy::default() });
        assert_eq!(policies.for_bucket(&named).timestamps, Timestamps::Client);
        assert_eq!(policies.for_bucket(&named).reads, Reads::Open);
        assert_eq!(policies.for_bucket(&Bucket::default()).reads, Reads::Secret);
    }

    #[test]
    fn values_are_parsed_by_their_displayed_names() {
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
