//! The name of an entry.

use crate::model::{Bucket, Key};

/// The bucket and the key of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryName<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) key: &'a Key,
}
