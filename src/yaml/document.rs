//! Whole documents as they are written: the head and end of a snapshot, and the document of a transaction.

use super::line;
use crate::model::{Bucket, Entry, Key, Revision};

/// The first lines of a file: its bucket, and the last revision before it was written anew, if there was one.
pub(super) fn head(bucket: &Bucket, last: Revision) -> Vec<u8> {
    let mut text = format!("# kvs bucket: {bucket}\n");
    if last > Revision::ZERO {
        text += &format!("# revision: {}\n", last.time());
    }
    text.into_bytes()
}

/// Ends the snapshot. An empty one is a document all the same, with room for a person's first entry.
pub(super) fn finish(text: &mut Vec<u8>, empty: bool) {
    if empty {
        text.extend_from_slice(b"---\n");
    }
    text.extend_from_slice(b"...\n");
}

/// Appends a document: these changes, at most one of each key.
pub(super) fn document<'a>(
    text: &mut Vec<u8>,
    lines: impl Iterator<Item = (&'a Key, Option<&'a Entry>, Option<Revision>)>,
) {
    text.extend_from_slice(b"---\n");
    for (key, entry, revision) in lines {
        line::write(text, key, entry, revision);
    }
    text.extend_from_slice(b"...\n");
}
