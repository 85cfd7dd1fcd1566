//! The paths of a bucket's files, and the errors of calls on them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::errors::io_error_with_advice;
use crate::model::{Bucket, Error, ErrorKind, Time};
use crate::yaml::fs::FileSystem;

/// The file in a folder whose disk space is released when the disk is full.
const RESERVE_FILE: &str = "_kvs.reserve";

/// A bucket's name and the paths of its files.
#[derive(Clone, Debug)]
pub(crate) struct BucketPaths {
    pub(crate) bucket: Bucket,
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) lock: PathBuf,
}

impl BucketPaths {
    pub(crate) fn new(folder: &Path, bucket: &Bucket) -> Self {
        Self::of(bucket, folder.join(format!("{bucket}.yaml")))
    }

    /// The paths for a data file with any name. Two buckets that share a data file also share its lock file.
    fn of(bucket: &Bucket, data: PathBuf) -> Self {
        let folder = data.parent().unwrap_or(Path::new("")).to_owned();
        let lock = if data.extension().is_some_and(|ending| ending == "yaml") {
            data.with_extension("lock")
        } else {
            with_ending(&data, "lock")
        };
        Self { bucket: bucket.clone(), folder, data, lock }
    }

    /// The real paths, if the data file is a symbolic link.
    pub(crate) fn resolved(&self, fs: &dyn FileSystem) -> io::Result<Self> {
        Ok(fs.resolve(&self.data)?.map_or_else(|| self.clone(), |data| Self::of(&self.bucket, data)))
    }

    /// A path next to the data file.
    pub(crate) fn side_path(&self, ending: &str) -> PathBuf {
        with_ending(&self.data, ending)
    }

    /// An unused path for a torn tail.
    pub(crate) fn torn(&self, fs: &dyn FileSystem, now: Time) -> io::Result<PathBuf> {
        self.unused_path(fs, "torn", now)
    }

    /// An unused path for entries that a person overwrote at that time.
    pub(crate) fn overwritten(&self, fs: &dyn FileSystem, at: Time) -> io::Result<PathBuf> {
        self.unused_path(fs, "overwritten", at)
    }

    fn unused_path(&self, fs: &dyn FileSystem, what: &str, time: Time) -> io::Result<PathBuf> {
        let mut number = time.nanos();
        loop {
            let path = self.side_path(&format!("{what}-{number}"));
            if fs.stat(&path)?.is_none() {
                return Ok(path);
            }
            number = number.saturating_add(1);
        }
    }

    /// The path of the last copy.
    pub(crate) fn last(&self) -> PathBuf {
        self.side_path("last")
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.folder.join(RESERVE_FILE)
    }

    /// The error of an operation that may succeed if it is tried again.
    pub(crate) fn busy(&self, text: &str) -> Error {
        Error::new(ErrorKind::Busy, format!("bucket {}: {text}", self.bucket))
    }

    pub(crate) fn failed(&self, doing: &str, e: io::Error) -> Error {
        io_error_with_advice(format!("cannot {doing} {}", self.data.display()), e)
    }

    pub(crate) fn lock_failed(&self, e: io::Error) -> Error {
        io_error_with_advice(format!("cannot use the lock file {}", self.lock.display()), e)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::fs::UnusableFile;

    #[test]
    fn files_of_a_bucket_are_next_to_each_other() {
        let paths = BucketPaths::new(Path::new("data"), &Bucket::new("a.b").unwrap());
        assert_eq!((paths.data.to_str(), paths.lock.to_str()), (Some("data/a.b.yaml"), Some("data/a.b.lock")));
        assert_eq!(paths.side_path("new").to_str(), Some("data/a.b.yaml.new"));
        let other = BucketPaths::of(&paths.bucket, "/srv/values".into());
        assert_eq!((other.folder.to_str(), other.lock.to_str()), (Some("/srv"), Some("/srv/values.lock")));
    }

    #[test]
    fn missing_rights_and_failures_have_different_error_kinds() {
        let paths = BucketPaths::new(Path::new("/srv/data"), &Bucket::default());
        let failed = |e: io::Error| paths.failed("open", e);
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::ResourceBusy] {
            let error = failed(kind.into());
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with("cannot open /srv/data/default.yaml: "), "{error}");
            assert!(!error.is_outcome_unknown());
        }
        assert_eq!(failed(UnusableFile::error("it is a folder")).kind(), ErrorKind::Corrupt);
        assert_eq!(failed(io::ErrorKind::StorageFull.into()).kind(), ErrorKind::StorageFull);
        assert_eq!(failed(io::ErrorKind::Other.into()).kind(), ErrorKind::Unavailable);
    }
}
