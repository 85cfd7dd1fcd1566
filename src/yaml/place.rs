//! Where the files of a bucket are, and what is said of a call on them that failed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Unfit};
use crate::model::{Bucket, Error, Kind, Time};

/// The file in a folder that takes up room to be given back when the disk is full.
const RESERVE: &str = "_kvs.reserve";

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
        Self::of(bucket, folder.join(format!("{bucket}.yaml")))
    }

    /// The files of a bucket whose data file has this path, whatever it is called: two buckets with one data file have one
    /// lock file too.
    fn of(bucket: &Bucket, data: PathBuf) -> Self {
        let folder = data.parent().unwrap_or(Path::new("")).to_owned();
        let lock = if data.extension().is_some_and(|ending| ending == "yaml") {
            data.with_extension("lock")
        } else {
            with_ending(&data, "lock")
        };
        Self { bucket: bucket.clone(), folder, data, lock }
    }

    /// The place of the files themselves, if the data file is a symbolic link.
    pub(super) fn resolved(&self, disk: &dyn Disk) -> io::Result<Self> {
        Ok(disk.resolve(&self.data)?.map_or_else(|| self.clone(), |data| Self::of(&self.bucket, data)))
    }

    /// A file beside the data file.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        with_ending(&self.data, ending)
    }

    /// A free name for bytes that are set aside.
    pub(super) fn torn(&self, disk: &dyn Disk, now: Time) -> io::Result<PathBuf> {
        self.free(disk, "torn", now)
    }

    /// A free name for entries that a person overwrote at that time.
    pub(super) fn overwritten(&self, disk: &dyn Disk, at: Time) -> io::Result<PathBuf> {
        self.free(disk, "overwritten", at)
    }

    fn free(&self, disk: &dyn Disk, what: &str, time: Time) -> io::Result<PathBuf> {
        let mut number = time.nanos();
        loop {
            let path = self.beside(&format!("{what}-{number}"));
            if disk.stat(&path)?.is_none() {
                return Ok(path);
            }
            number = number.saturating_add(1);
        }
    }

    /// The copy of the bucket as kvs last left it.
    pub(super) fn last(&self) -> PathBuf {
        self.beside("last")
    }

    /// The file that keeps room for deletions.
    pub(super) fn reserve(&self) -> PathBuf {
        self.folder.join(RESERVE)
    }

    pub(super) fn failed(&self, doing: &str, e: io::Error) -> Error {
        explained(format!("cannot {doing} {}", self.data.display()), e)
    }

    pub(super) fn lock_failed(&self, e: io::Error) -> Error {
        explained(format!("cannot use the lock file {}", self.lock.display()), e)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    name.into()
}

/// The error of a failed call, with what a person can do about it.
pub(super) fn explained(doing: String, e: io::Error) -> Error {
    let advice = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("kvs runs as user {user}; give the folder and the files in it to that user")
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount its file system so that it can be written".to_owned(),
        io::ErrorKind::ResourceBusy => {
            "a single file is mounted there, which cannot be replaced; mount its folder".to_owned()
        }
        _ if Unfit::caused(&e) => return Error::new(Kind::Damaged, doing).because(e),
        _ => return Error::io(doing, e),
    };
    Error::new(Kind::PermissionDenied, format!("{doing}: {advice}")).because(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_bucket_stand_side_by_side() {
        let place = Place::new(Path::new("data"), &Bucket::new("a.b").unwrap());
        assert_eq!((place.data.to_str(), place.lock.to_str()), (Some("data/a.b.yaml"), Some("data/a.b.lock")));
        assert_eq!(place.beside("new").to_str(), Some("data/a.b.yaml.new"));
        let other = Place::of(&place.bucket, "/srv/values".into());
        assert_eq!((other.folder.to_str(), other.lock.to_str()), (Some("/srv"), Some("/srv/values.lock")));
    }

    #[test]
    fn what_is_not_permitted_is_told_from_what_failed() {
        let place = Place::new(Path::new("/srv/data"), &Bucket::default());
        let failed = |e: io::Error| place.failed("open", e);
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::ResourceBusy] {
            let error = failed(kind.into());
            assert_eq!(error.kind(), Kind::PermissionDenied);
            assert!(error.to_string().starts_with("cannot open /srv/data/default.yaml: "), "{error}");
            assert!(!error.is_outcome_open());
        }
        assert_eq!(failed(Unfit::error("it is a folder")).kind(), Kind::Damaged);
        assert_eq!(failed(io::ErrorKind::StorageFull.into()).kind(), Kind::Full);
        assert_eq!(failed(io::ErrorKind::Other.into()).kind(), Kind::Failed);
    }
}
