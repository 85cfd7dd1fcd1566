//! The folder of a store, which must not be created again after it was lost: perhaps its disk is not mounted, and what
//! would be written there now would be hidden later.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::errors::{io_error_with_advice, is_full};
use super::fs::FileSystem;
use crate::model::{Error, ErrorKind, Result};

/// The folder of a store.
pub(crate) struct StoreFolder {
    path: Arc<PathBuf>,
    fs: Arc<dyn FileSystem>,
    /// Whether it existed when this process last looked.
    was_there: AtomicBool,
}

impl StoreFolder {
    pub(crate) fn new(path: Arc<PathBuf>, fs: Arc<dyn FileSystem>, is_there: bool) -> Self {
        Self { path, fs, was_there: AtomicBool::new(is_there) }
    }

    /// Checks that the folder is there, or that it never was.
    ///
    /// # Errors
    /// `Corrupt` if it is gone.
    pub(crate) fn ensure_not_lost(&self) -> Result<()> {
        let folder = self.path.display();
        match self.fs.stat(&self.path) {
            Ok(Some(_)) => self.was_there.store(true, Ordering::Relaxed),
            Ok(None) if self.was_there.load(Ordering::Relaxed) => {
                let text = format!("the folder {folder} is missing; put it back (is its disk mounted?)");
                return Err(Error::new(ErrorKind::Corrupt, text));
            }
            Ok(None) => {}
            Err(e) => return Err(io_error_with_advice(format!("cannot open the folder {folder}"), e)),
        }
        Ok(())
    }

    /// Checks that the store as a whole can be used. `had_data` says that a bucket of this process had data. A full disk
    /// is no error here, because reads and deletions work.
    ///
    /// # Errors
    /// If the folder is gone, or if kvs may not write to it.
    pub(crate) fn check(&self, had_data: bool) -> Result<()> {
        if had_data {
            self.was_there.store(true, Ordering::Relaxed);
        }
        self.ensure_not_lost()?;
        match self.fs.may_write(&self.path) {
            Err(e) if !is_full(&e) => {
                Err(io_error_with_advice(format!("cannot write to the folder {}", self.path.display()), e))
            }
            _ => Ok(()),
        }
    }
}
