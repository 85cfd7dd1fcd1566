//! Reads a blob.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::blob_folder::{BlobFolder, failed};
use crate::model::{BlobId, Error, ErrorKind, Result};
use crate::store::BlobReader;
use crate::yaml::fs::{File, FileBytes, OpenMode};

/// How many bytes are read at a time to check a blob.
const CHECKED_BYTES: u64 = 1 << 20;

/// An open blob.
#[derive(Clone)]
pub(super) struct BlobFile {
    path: Arc<PathBuf>,
    file: Arc<dyn File>,
}

impl BlobFile {
    /// Opens a blob; `None` if there is none of this name.
    pub(super) fn open(folder: &BlobFolder, id: BlobId) -> Result<Option<Self>> {
        let path = folder.file(id);
        if folder.fs.resolve(&path).is_ok_and(|target| target.is_some()) {
            let text = format!("{} is a symbolic link; put the file itself in its place", path.display());
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        match folder.fs.open(&path, OpenMode::Read) {
            Ok(file) => Ok(Some(Self { path: Arc::new(path), file: file.into() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("open", &path, e)),
        }
    }

    fn read_now(&self, offset: u64, max_bytes: u64) -> Result<FileBytes> {
        self.file.read(offset, max_bytes).map_err(|e| failed("read", &self.path, e))
    }

    /// Reads the whole blob and computes its name.
    pub(super) fn compute_id(&self) -> Result<BlobId> {
        let (mut hash, mut offset) = (Sha256::new(), 0);
        loop {
            let piece = self.read_now(offset, CHECKED_BYTES)?;
            if piece.is_empty() {
                return Ok(BlobId::new(hash.finalize().into()));
            }
            hash.update(&*piece);
            offset += piece.len() as u64;
        }
    }
}

#[async_trait]
impl BlobReader for BlobFile {
    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Bytes> {
        let blob = self.clone();
        let read = tokio::task::spawn_blocking(move || blob.read_now(offset, max_bytes as u64)).await;
        let read = read.map_err(|e| Error::new(ErrorKind::Unavailable, "the read was aborted").with_source(e));
        read?.map(Bytes::from_owner)
    }
}
