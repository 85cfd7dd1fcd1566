//! The folder with the blobs of a bucket, and its lock.
//!
//! Whoever has given a blob its name holds the shared lock until an entry refers to it. Whoever removes blobs holds the
//! exclusive lock, so no blob is removed in between. A blob that is being written has a file with another name, which
//! its writer locks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::model::{BlobId, Bucket, Error, ErrorKind, Result};
use crate::yaml::bucket::bucket_store::SharedResources;
use crate::yaml::file::errors::io_error_with_advice;
use crate::yaml::fs::{File, FileSystem, LockMode, OpenMode};
use crate::yaml::last_failures::LastFailures;
use crate::yaml::options::YamlOptions;
use crate::yaml::store_folder::StoreFolder;

/// The folder of all blobs in the folder of the data.
const BLOBS: &str = "blobs";

/// The lock file in the folder of a bucket.
const LOCK: &str = "lock";

/// The ending of a file that is being written.
pub(super) const UNFINISHED_ENDING: &str = ".new";

/// How long to wait before another attempt to lock.
const PAUSE: Duration = Duration::from_millis(2);

/// The folder with the blobs of a bucket.
#[derive(Clone)]
pub(crate) struct BlobFolder {
    /// The folder of all blobs.
    parent: PathBuf,
    pub(super) path: PathBuf,
    pub(super) fs: Arc<dyn FileSystem>,
    lock_timeout: Duration,
    pub(super) failures: Arc<LastFailures>,
    store: Arc<StoreFolder>,
}

/// What is in the folder.
#[derive(Default)]
pub(super) struct Content {
    pub(super) blobs: Vec<BlobId>,
    /// Files that are being written, or that were when their writer was killed.
    pub(super) unfinished: Vec<PathBuf>,
}

impl BlobFolder {
    pub(crate) fn new(data_folder: &Path, bucket: &Bucket, options: &YamlOptions, shared: &SharedResources) -> Self {
        let parent = data_folder.join(BLOBS);
        let path = parent.join(bucket.as_str());
        let fs = Arc::clone(&options.file_system);
        Self {
            parent,
            path,
            fs,
            lock_timeout: options.lock_timeout,
            failures: Arc::clone(&shared.failures),
            store: Arc::clone(&shared.folder),
        }
    }

    /// Remembers how a write of a blob ended.
    pub(super) fn note<T>(&self, outcome: &Result<T>) {
        self.failures.note(&*self.fs, &self.path, outcome);
    }

    /// Remembers that a write of a blob failed.
    pub(super) fn note_error(&self, error: &Error) {
        self.failures.note_error(&*self.fs, &self.path, error);
    }

    /// Whether there is a folder.
    pub(crate) fn exists(&self) -> Result<bool> {
        let stat = self.fs.stat(&self.path).map_err(|e| failed("inspect", &self.path, e))?;
        Ok(stat.is_some())
    }

    /// The file of a blob.
    pub(crate) fn file(&self, id: BlobId) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// Creates the folder, durably.
    pub(crate) fn create(&self) -> Result<()> {
        self.store.ensure_not_lost()?;
        let create = |folder: &Path| self.fs.make_subfolder(folder).map_err(|e| failed("create", folder, e));
        create(&self.parent)?;
        create(&self.path)
    }

    /// Makes the names in the folder durable, and the folder itself: whoever created it may have been killed before.
    pub(crate) fn sync(&self) -> Result<()> {
        for folder in self.path.ancestors().take(3) {
            self.fs.sync_folder(folder).map_err(|e| failed("sync", folder, e))?;
        }
        Ok(())
    }

    /// Creates an empty file with a name that nobody uses, and locks it.
    pub(super) fn create_unfinished(&self) -> Result<(PathBuf, Box<dyn File>)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!("{}-{number}{UNFINISHED_ENDING}", std::process::id()));
            let file = self.fs.open(&path, OpenMode::Create).map_err(|e| failed("create", &path, e))?;
            // A file that a killed process left, or that is being removed as such, is not used.
            let is_mine =
                self.try_lock(&path, &*file, LockMode::Exclusive)? && file.stat().is_ok_and(|stat| stat.len == 0);
            if is_mine {
                return Ok((path, file));
            }
        }
    }

    /// Prevents the removal of blobs of this bucket until it is dropped. The folder exists.
    pub(crate) fn hold(&self) -> Result<Box<dyn File>> {
        let locked = self.lock(LockMode::Shared, self.lock_timeout)?;
        locked.ok_or_else(|| {
            let text = format!("blobs are being removed in {}; nothing was stored; try again", self.path.display());
            Error::new(ErrorKind::Busy, text)
        })
    }

    /// The lock file, locked; `None` if others hold it for longer than `timeout`.
    pub(super) fn lock(&self, mode: LockMode, timeout: Duration) -> Result<Option<Box<dyn File>>> {
        let (path, deadline) = (self.path.join(LOCK), Instant::now() + timeout);
        loop {
            let file = self.fs.open(&path, OpenMode::Create).map_err(|e| failed("open", &path, e))?;
            if self.try_lock(&path, &*file, mode)? {
                return Ok(Some(file));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            drop(file);
            std::thread::sleep(PAUSE);
        }
    }

    /// Locks a file, if nobody else has locked it and it still has its name.
    fn try_lock(&self, path: &Path, file: &dyn File, mode: LockMode) -> Result<bool> {
        let locked = file.try_lock(mode).and_then(|is_locked| {
            let named = if is_locked { self.fs.stat(path)? } else { None };
            Ok(named.is_some_and(|named| file.stat().is_ok_and(|stat| stat.is_same_file(&named))))
        });
        locked.map_err(|e| failed("lock", path, e))
    }

    /// Removes a file that a killed writer left. Returns whether it did.
    pub(super) fn remove_unfinished(&self, path: &Path) -> Result<bool> {
        let file = match self.fs.open(path, OpenMode::Read) {
            Ok(file) => file,
            // Its writer has finished meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(failed("open", path, e)),
        };
        if !self.try_lock(path, &*file, LockMode::Exclusive)? {
            return Ok(false);
        }
        self.fs.remove(path).map_err(|e| failed("remove", path, e))?;
        Ok(true)
    }

    /// Removes a blob. Returns whether it was there.
    pub(super) fn remove(&self, id: BlobId) -> Result<bool> {
        let path = self.file(id);
        match self.fs.remove(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(failed("remove", &path, e)),
        }
    }

    pub(super) fn content(&self) -> Result<Content> {
        let mut content = Content::default();
        for name in self.fs.list(&self.path).map_err(|e| failed("list", &self.path, e))? {
            if let Ok(id) = name.parse() {
                content.blobs.push(id);
            } else if name.ends_with(UNFINISHED_ENDING) {
                content.unfinished.push(self.path.join(name));
            }
        }
        Ok(content)
    }
}

impl fmt::Debug for BlobFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// The error of a call on a file or a folder.
pub(super) fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    io_error_with_advice(format!("cannot {doing} {}", path.display()), error)
}
