//! Writes a blob: to a file of its own, which gets the name of the blob once it is durable.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::blob_folder::{BlobFolder, failed};
use crate::model::{BlobId, Error, ErrorKind, Result};
use crate::store::{NewBlob, StoredBlob};
use crate::yaml::fs::File;

/// How many bytes are collected before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// A blob that is being written.
pub(super) struct NewBlobFile {
    /// `None` after an error.
    unfinished: Option<Unfinished>,
    folder: BlobFolder,
    collected: Vec<Bytes>,
    collected_bytes: usize,
}

/// The file of a blob that is being written. It is removed if this is dropped.
struct Unfinished {
    folder: BlobFolder,
    path: PathBuf,
    file: Box<dyn File>,
    hash: Sha256,
    bytes: u64,
    has_name: bool,
}

impl NewBlobFile {
    pub(super) async fn create(folder: BlobFolder) -> Result<Self> {
        let used = folder.clone();
        let unfinished = in_background(move || {
            used.create()?;
            let (path, file) = used.create_unfinished()?;
            Ok(Unfinished { folder: used, path, file, hash: Sha256::new(), bytes: 0, has_name: false })
        });
        let unfinished = unfinished.await.inspect_err(|error| folder.note_error(error))?;
        Ok(Self { unfinished: Some(unfinished), folder, collected: vec![], collected_bytes: 0 })
    }

    async fn write_collected(&mut self) -> Result<Unfinished> {
        let (pieces, unfinished) = (std::mem::take(&mut self.collected), self.unfinished.take());
        self.collected_bytes = 0;
        let failed = || Error::new(ErrorKind::Unavailable, "an earlier part of the value could not be written");
        let mut unfinished = unfinished.ok_or_else(failed)?;
        let written = in_background(move || {
            for piece in pieces {
                unfinished.write(&piece)?;
            }
            Ok(unfinished)
        });
        written.await.inspect_err(|error| self.folder.note_error(error))
    }
}

#[async_trait]
impl NewBlob for NewBlobFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.collected_bytes += bytes.len();
        self.collected.push(bytes);
        if self.collected_bytes >= WRITE_BYTES {
            self.unfinished = Some(self.write_collected().await?);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredBlob> {
        let unfinished = self.write_collected().await?;
        let finished = in_background(move || unfinished.finish()).await;
        self.folder.note(&finished);
        finished
    }
}

impl Unfinished {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write(self.bytes, bytes).map_err(|e| failed("write", &self.path, e))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<StoredBlob> {
        self.file.sync().map_err(|e| failed("sync", &self.path, e))?;
        let id = BlobId::new(self.hash.finalize_reset().into());
        let hold = self.folder.hold()?;
        // If there is one of this name, it has the same bytes, unless it is damaged.
        let renamed = self.folder.fs.rename(&self.path, &self.folder.file(id));
        renamed.map_err(|e| failed("rename", &self.path, e))?;
        self.has_name = true;
        self.folder.sync()?;
        Ok(StoredBlob::new(id, self.bytes, Box::new(hold)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.has_name {
            // If this fails, the next sweep removes it.
            let _ = self.folder.fs.remove(&self.path);
        }
    }
}

/// Runs work on a thread where it does not delay other tasks.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::new(ErrorKind::Unavailable, "the write was aborted").with_source(e)))
}
