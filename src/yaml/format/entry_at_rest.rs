//! An entry as a person would write it.

use super::{block, line};
use crate::model::{Entry, Key};

/// Appends a text with line breaks as a [block](block::write), JSON as JSON, and all else as [`line::write`] does.
pub(crate) fn write(out: &mut Vec<u8>, key: &Key, entry: &Entry) {
    if !block::write(out, key, entry) {
        line::write_at_rest(out, key, entry);
    }
}
