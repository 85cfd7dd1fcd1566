//! Where the files of a bucket are.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use crate::model::{Bucket, Error, Time};

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

    /// A free name for bytes that are set aside.
    pub(super) fn torn(&self, disk: &dyn Disk, now: Time) -> io::Result<PathBuf> {
        let mut number = now.nanos();
        loop {
            let path = self.beside(&format!("torn-{number}"));
            if disk.stat(&path)?.is_none() {
                return Ok(path);
            }
            number = number.saturating_add(1);
        }
    }

    pub(super) fn failed(&self, doing: &str, e: io::Error) -> Error {
        Error::io(format!("cannot {doing} {}", self.data.display()), e)
    }
}
