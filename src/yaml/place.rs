//! Where the files of a bucket are.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::{Bucket, Error};

/// A bucket's name and the paths of its files.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: Bucket,
    pub(super) folder: PathBuf,
    pub(super) data: PathBuf,
    pub(super) lock: PathBuf,
}

impl Place {
    pub(super) fn new(folder: &Path, bucket: &Bucket) -> Self {
        let file = |ending: &str| folder.join(format!("{bucket}.{ending}"));
        Self { bucket: bucket.clone(), folder: folder.to_owned(), data: file("yaml"), lock: file("lock") }
    }

    /// A file beside the data file.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.yaml.{ending}", self.bucket))
    }

    pub(super) fn failed(&self, doing: &str, e: io::Error) -> Error {
        Error::io(format!("cannot {doing} {}", self.data.display()), e)
    }
}
