//! Looking up single keys in the files of a bucket, without reading all entries: for a process that answers one
//! request.
//!
//! The lock file must say that the data file is as its last writer left it, and the last copy must be that of the data
//! file. Then the last line of a key in the copy is its entry. In all other cases the bucket is read as a whole.

use super::data_file::DataFile;
use super::last_copy::read_last_bytes;
use super::last_copy_format::{RawCopy, Relation, Unclear};
use crate::model::{Entry, Key, Revision, Snapshot};
use crate::yaml::format::document::header_revision;

impl DataFile {
    /// The entries of these keys, expired or not. `None` if the bucket must be read as a whole. Under the lock, in any
    /// mode.
    pub(crate) fn look_up(&self, keys: &[Key]) -> Option<Snapshot> {
        let data = self.read_if_durable_and_copied()?;
        let bytes = read_last_bytes(&*self.fs, &self.paths).ok()??;
        let copy = RawCopy::split(&bytes).filter(|copy| copy.relation(&data) == Relation::Same)?;
        let entries = keys.iter().map(|key| entry(&copy, key)).collect::<Result<_, _>>().ok()?;
        Some(Snapshot { revision: copy.revision()?.max(header_revision(&data)), entries })
    }
}

fn entry(copy: &RawCopy<'_>, key: &Key) -> Result<Option<Entry>, Unclear> {
    let Some(parsed) = copy.last_line(key)?.and_then(|line| line.parsed) else { return Ok(None) };
    let revision = Revision::from(parsed.updated.ok_or(Unclear)?);
    Ok(Some(parsed.at(revision)))
}
