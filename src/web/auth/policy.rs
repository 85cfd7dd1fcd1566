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

/// Whether writes need a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Writes {
    /// `secret`: they need a secret with the right to write.
    #[default]
    Secret,
    /// `open`: everybody who can reach the server may write. Poky works like this.
    Open,
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
const WRITES: [(&str, Writes); 2] = [("secret", Writes::Secret), ("open", Writes::Open)];
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
named!(Writes, WRITES, "secret or open");
named!(Timestamps, TIMESTAMPS, "server or client");

/// The policy of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Which reads are allowed without a secret.
    pub reads: Reads,
    /// Whether writes need a secret.
    pub writes: Writes,
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
    /// The policy of all other buckets.
    pub default: Policy,
    /// The policies of named buckets.
    pub by_bucket: BTreeMap<Bucket, Policy>,
    /// The policies of buckets whose names begin with a text. The first that matches counts.
    pub by_prefix: Vec<(String, Policy)>,
}

/// The policy of the buckets of kvs itself.
const RESERVED: Policy = Policy {
    reads: Reads::Secret,
    writes: Writes::Secret,
    timestamps: Timestamps::Server,
    max_age: None,
    max_value: None,
};

impl Policies {
    /// The policy of this bucket.
    #[must_use]
    pub fn for_bucket(&self, bucket: &Bucket) -> &Policy {
        if bucket.is_reserved() {
            return &RESERVED;
        }
        let by_prefix = || self.by_prefix.iter().find(|(prefix, _)| bucket.as_str().starts_with(prefix));
        let named = self.by_bucket.get(bucket);
        named.or_else(|| by_prefix().map(|(_, policy)| policy)).unwrap_or(&self.default)
    }
}

impl Policies {
    /// Whether the keys of any bucket may be listed without a secret.
    pub(crate) fn have_public_list(&self) -> bool {
        let by_prefix = self.by_prefix.iter().map(|(_, policy)| policy);
        self.by_bucket.values().chain(by_prefix).chain([&self.default]).any(|policy| policy.reads == Reads::PublicList)
    }
}

impl From<Reads> for Policies {
    /// The same read access for all buckets.
    fn from(reads: Reads) -> Self {
        Self { default: Policy { reads, ..Policy::default() }, ..Self::default() }
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
        let open = Policy { writes: Writes::Open, ..Policy::default() };
        policies.by_prefix = vec![("poky-".to_owned(), open), ("p".to_owned(), Policy::default())];
        let writes = |name: &str| policies.for_bucket(&Bucket::new(name).unwrap()).writes;
        assert_eq!((writes("poky-a"), writes("poky"), writes("pony")), (Writes::Open, Writes::Secret, Writes::Secret));
        assert_eq!(policies.for_bucket(&Bucket::new("_kvs.copy").unwrap()).reads, Reads::Secret);
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
