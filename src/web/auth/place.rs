//! What a request wants to reach: the right of a secret may be limited to buckets and to keys.

use crate::model::{Bucket, Key};
use crate::web::entry_name::EntryName;

/// What a request wants to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// One key.
    Key(EntryName<'a>),
    /// These keys of a bucket.
    Keys(&'a Bucket, &'a [Key]),
    /// The keys of a bucket that begin with this.
    Prefix(&'a Bucket, &'a str),
    /// Keys that are in the body of the request. The caller checks them when it has read the body.
    KeysInBody(&'a Bucket),
    /// A whole bucket.
    Bucket(&'a Bucket),
}

impl<'a> Place<'a> {
    pub(crate) fn bucket(self) -> &'a Bucket {
        match self {
            Self::Key(EntryName { bucket, .. })
            | Self::Keys(bucket, _)
            | Self::Prefix(bucket, _)
            | Self::KeysInBody(bucket)
            | Self::Bucket(bucket) => bucket,
        }
    }

    /// Whether all of it is below one of these prefixes.
    pub(crate) fn is_below(self, prefixes: &[String]) -> bool {
        let is_below = |text: &str| prefixes.iter().any(|prefix| text.starts_with(prefix));
        match self {
            Self::Key(EntryName { key, .. }) => is_below(key.as_str()),
            Self::Keys(_, keys) => keys.iter().all(|key| is_below(key.as_str())),
            Self::Prefix(_, prefix) => is_below(prefix),
            Self::KeysInBody(_) => true,
            Self::Bucket(_) => false,
        }
    }
}
