//! Copies all buckets of a store to another folder, as they are at one moment, while others read and write them.
//!
//! `moment.rs` locks everything, so that nobody writes, and notes what each file contains. `new_files.rs` copies that from
//! the open files when the locks are released: whoever appends does not change what was there, and whoever rewrites a
//! file replaces it.

mod moment;
mod new_files;

use std::collections::BTreeSet;
use std::path::Path;

pub(super) use self::moment::Sources;
use self::moment::{BucketAtMoment, Moment};
pub use self::new_files::LinkBlob;
use self::new_files::NewFiles;
use super::log::log_path::LogPath;
use crate::model::{Bucket, Result, Revision};

/// A bucket as it was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CopiedBucket {
    /// Its name.
    pub bucket: Bucket,
    /// Its revision at the moment of the copy.
    pub revision: Revision,
    /// The number of its entries, with those that have expired.
    pub entries: u64,
    /// The number of its logs.
    pub logs: u64,
}

/// Copies the buckets of these sources to a folder.
pub(super) fn copy_to(target: &Path, sources: &Sources<'_>, link_blob: Option<&LinkBlob>) -> Result<Vec<CopiedBucket>> {
    let Moment { buckets, _blobs: _held } = Moment::take(sources)?;
    let new = NewFiles { folder: target, options: sources.options, shared: sources.shared, link_blob };
    new.create_folder()?;
    let mut copied = Vec::with_capacity(buckets.len());
    for bucket in &buckets {
        copied.push(copy_bucket(&new, sources, bucket)?);
    }
    new.sync(target)?;
    Ok(copied)
}

fn copy_bucket(new: &NewFiles<'_>, sources: &Sources<'_>, at: &BucketAtMoment) -> Result<CopiedBucket> {
    let state = at.state.read();
    if let Some(data) = &at.data {
        new.write_data(&at.bucket, &**data, at.committed, &state)?;
    }
    for log in &at.logs {
        let to = LogPath::new(new.folder, &at.bucket, &log.key);
        new.write_log(&to, &*log.file, log.end)?;
    }
    let blobs: BTreeSet<_> = state.entries.iter().filter_map(|view| view.blob()).map(|blob| blob.id).collect();
    if !blobs.is_empty() {
        new.write_blobs(&at.bucket, &sources.blobs(&at.bucket), &blobs)?;
    }
    Ok(CopiedBucket {
        bucket: at.bucket.clone(),
        revision: state.revision,
        entries: state.entries.len() as u64,
        logs: at.logs.len() as u64,
    })
}
