//! Writes the files of a copied store, durably.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::{BlobId, Bucket, Error, ErrorKind, Result};
use crate::yaml::blob::BlobFolder;
use crate::yaml::bucket::bucket_store::SharedResources;
use crate::yaml::file::errors::io_error_with_advice;
use crate::yaml::file::last_copy_format::{self, Fingerprint};
use crate::yaml::file::paths::BucketPaths;
use crate::yaml::fs::{File, OpenMode};
use crate::yaml::log::log_path::LogPath;
use crate::yaml::options::YamlOptions;
use crate::yaml::state::BucketState;

/// How many bytes are copied at a time.
const PART_BYTES: u64 = 4 << 20;

/// Puts a blob of a bucket at a path without copying it, for instance by a link to an earlier copy. Returns whether it
/// did.
pub type LinkBlob = dyn Fn(&Bucket, BlobId, &Path) -> bool + Send + Sync;

/// The folder of the copy.
pub(super) struct NewFiles<'a> {
    pub(super) folder: &'a Path,
    pub(super) options: &'a YamlOptions,
    pub(super) shared: &'a SharedResources,
    pub(super) link_blob: Option<&'a LinkBlob>,
}

impl NewFiles<'_> {
    /// Creates the folder unless it exists.
    pub(super) fn create_folder(&self) -> Result<()> {
        self.options.file_system.make_folder(self.folder).map_err(|e| failed("create", self.folder, e))
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync(&self, folder: &Path) -> Result<()> {
        self.options.file_system.sync_folder(folder).map_err(|e| failed("sync", folder, e))
    }

    /// Writes a data file. A copy next to it has the revisions that the data file lacks.
    pub(super) fn write_data(&self, bucket: &Bucket, data: &dyn File, len: u64, state: &BucketState) -> Result<()> {
        let paths = BucketPaths::new(self.folder, bucket);
        self.copy(data, len, &paths.data)?;
        if len > self.options.tidy_up_to {
            return Ok(());
        }
        let bytes = data.read(0, len).map_err(|e| failed("read", &paths.data, e))?;
        let last = last_copy_format::write(bucket, state, &Fingerprint::of(&bytes));
        self.write(&last, &paths.last())
    }

    /// Writes the file of a log.
    pub(super) fn write_log(&self, path: &LogPath, log: &dyn File, end: u64) -> Result<()> {
        let made = self.options.file_system.make_subfolder(&path.folder);
        made.map_err(|e| failed("create", &path.folder, e))?;
        self.copy(log, end, &path.file)?;
        self.sync(&path.folder)
    }

    /// Writes the blobs that cannot be linked.
    pub(super) fn write_blobs(&self, bucket: &Bucket, from: &BlobFolder, blobs: &BTreeSet<BlobId>) -> Result<()> {
        let fs = &self.options.file_system;
        let to = BlobFolder::new(self.folder, bucket, self.options, self.shared);
        to.create()?;
        for id in blobs {
            let (source, target) = (from.file(*id), to.file(*id));
            if !self.link_blob.is_some_and(|link_blob| link_blob(bucket, *id, &target)) {
                let read = |e| failed("read", &source, e);
                let file = fs.open(&source, OpenMode::Read).map_err(read)?;
                let len = file.stat().map_err(read)?.len;
                self.copy(&*file, len, &target)?;
            }
        }
        to.sync()
    }

    /// Copies the first bytes of a file.
    fn copy(&self, from: &dyn File, len: u64, to: &Path) -> Result<()> {
        let file = self.create(to)?;
        let mut at = 0;
        while at < len {
            let part = from.read(at, PART_BYTES.min(len - at)).map_err(|e| failed("read the source of", to, e))?;
            if part.is_empty() {
                let text = format!("cannot copy {}: its source has become shorter meanwhile; try again", to.display());
                return Err(Error::new(ErrorKind::Busy, text));
            }
            file.write(at, &part).map_err(|e| failed("write to", to, e))?;
            at += part.len() as u64;
        }
        file.sync().map_err(|e| failed("sync", to, e))
    }

    fn write(&self, bytes: &[u8], to: &Path) -> Result<()> {
        let file = self.create(to)?;
        let written = file.write(0, bytes).and_then(|()| file.sync());
        written.map_err(|e| failed("write to", to, e))
    }

    /// Creates a file that does not exist.
    fn create(&self, path: &Path) -> Result<Box<dyn File>> {
        let fs = &self.options.file_system;
        if fs.stat(path).map_err(|e| failed("inspect", path, e))?.is_some() {
            let text = format!("{} exists already; copy to an empty folder", path.display());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        fs.open(path, OpenMode::Create).map_err(|e| failed("create", path, e))
    }
}

fn failed(doing: &str, path: &Path, error: std::io::Error) -> Error {
    io_error_with_advice(format!("cannot {doing} {}", path.display()), error)
}
