//! What the metadata of a file shows: whether it has changed, and who can read it.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Differs after the file was written, replaced, created or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStamp(Option<(u64, u64, i64, i64, i64, i64)>);

impl FileStamp {
    pub(crate) fn of(path: &Path) -> Self {
        let stamp = |m: Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        Self(std::fs::metadata(path).ok().map(stamp))
    }
}

/// Compares a file with its state at the beginning, at most once per interval.
pub(crate) struct FileWatch {
    path: PathBuf,
    stamp: FileStamp,
    interval: Duration,
    last_check: Mutex<Instant>,
}

impl FileWatch {
    pub(crate) fn new(path: &Path, interval: Duration) -> Self {
        let last_check = Mutex::new(Instant::now());
        Self { path: path.to_path_buf(), stamp: FileStamp::of(path), interval, last_check }
    }

    /// Whether the file has changed. False without a check, if the last check was less than an interval ago.
    pub(crate) fn has_changed(&self) -> bool {
        let mut last_check = self.last_check.lock();
        if last_check.elapsed() < self.interval {
            return false;
        }
        *last_check = Instant::now();
        FileStamp::of(&self.path) != self.stamp
    }
}

/// A warning, if every user of the machine can read or change this file of `what`.
pub(crate) fn exposure(what: &str, path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let access = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (false, false) => return None,
        (true, false) => "read",
        (false, true) => "change",
        (true, true) => "read and change",
    };
    let path = path.display();
    Some(format!(
        "every user of this machine can {access} the {what} in {path}; make the user that runs kvs its owner, and \
         `chmod 600` it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_is_created_written_or_removed_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.txt");
        let watch = || FileWatch::new(&path, Duration::ZERO);
        let missing = watch();
        let mut file = std::fs::File::create(&path).unwrap();
        assert!(missing.has_changed());
        let empty = watch();
        assert!(!empty.has_changed());
        file.write_all(b"secret").unwrap();
        assert!(empty.has_changed());
        let written = watch();
        std::fs::remove_file(&path).unwrap();
        assert!(written.has_changed());
    }

    #[test]
    fn a_file_is_checked_once_per_interval() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        let watch = FileWatch::new(&path, Duration::from_secs(3600));
        std::fs::File::create(&path).unwrap();
        assert!(!watch.has_changed());
    }
}
