//! The last failed write to each log, and to the blobs of each bucket, so that `/status` can report it.
//!
//! A failure is forgotten when a later write succeeds, or when another process has changed the file since.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::fs::{FileSystem, Stat};
use crate::model::{Error, ErrorKind, Result};
use crate::store::{Finding, Report, Severity};

/// The maximum number of failures that are remembered.
const MAX_FAILURES: usize = 1_000;

/// The failures by the path that was written.
#[derive(Default, Debug)]
pub(crate) struct LastFailures(Mutex<HashMap<PathBuf, Failure>>);

#[derive(Debug)]
struct Failure {
    error: Error,
    /// The file after the failure.
    stat: Option<Stat>,
}

impl LastFailures {
    /// Remembers how a write ended. A write that is refused because of what it asks for says nothing about the file.
    pub(crate) fn note<T>(&self, fs: &dyn FileSystem, path: &Path, outcome: &Result<T>) {
        let mut failures = self.0.lock();
        match outcome {
            Ok(_) if failures.is_empty() => {}
            Ok(_) => drop(failures.remove(path)),
            Err(error) => {
                drop(failures);
                self.note_error(fs, path, error);
            }
        }
    }

    /// Remembers that a write failed.
    pub(crate) fn note_error(&self, fs: &dyn FileSystem, path: &Path, error: &Error) {
        let mut failures = self.0.lock();
        if is_of_the_system(error.kind()) && failures.len() < MAX_FAILURES {
            let stat = fs.stat(path).ok().flatten();
            failures.insert(path.to_owned(), Failure { error: error.duplicate(), stat });
        }
    }

    /// The failure of this path, and those of paths in it.
    pub(crate) fn below(&self, fs: &dyn FileSystem, folder: &Path) -> Vec<Error> {
        let mut failures = self.0.lock();
        failures.retain(|path, failure| {
            !path.starts_with(folder) || path == folder || fs.stat(path).is_ok_and(|stat| stat == failure.stat)
        });
        let found = failures.iter().filter(|(path, _)| path.starts_with(folder));
        found.map(|(_, failure)| failure.error.duplicate()).collect()
    }
}

/// Adds an error to the findings of a status. That of a full disk is kept in `full` instead: it concerns the whole disk.
pub(crate) fn add_error(error: Error, report: &mut Report, full: &mut Option<Error>) {
    if error.kind() == ErrorKind::StorageFull {
        *full = Some(error);
    } else {
        report.findings.push(Finding::new(Severity::Damage, error.to_string()));
    }
}

fn is_of_the_system(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::PermissionDenied | ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::fs::RealFileSystem;

    #[test]
    fn failure_is_forgotten_after_a_success_or_a_change_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (fs, failures) = (RealFileSystem, LastFailures::default());
        let file = folder.path().join("a.log");
        let fail = |kind| failures.note(&fs, &file, &Err::<(), _>(Error::new(kind, "no")));
        let count = || failures.below(&fs, folder.path()).len();
        fail(ErrorKind::Busy);
        assert_eq!(count(), 0);
        fail(ErrorKind::Unavailable);
        assert_eq!(count(), 1);
        assert_eq!(failures.below(&fs, &folder.path().join("other")).len(), 0);
        failures.note(&fs, &file, &Ok(()));
        assert_eq!(count(), 0);
        fail(ErrorKind::StorageFull);
        std::fs::File::create(&file).unwrap();
        assert_eq!(count(), 0);
    }
}
