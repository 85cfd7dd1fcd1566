//! Collects a value that arrives in pieces: in memory as long as it is short, then as a blob.

use bytes::{Bytes, BytesMut};

use super::contract::{Blobs, NewBlob, StoredBlob};
use super::evaluate::Limits;
use crate::model::{BlobRef, Bucket, Error, ErrorKind, Result};

/// A value that is being collected. Nothing of it is kept if it is dropped.
pub struct ValueWriter<'a> {
    bucket: &'a Bucket,
    /// `None`: the whole value is kept in memory.
    blobs: Option<&'a dyn Blobs>,
    begin: BytesMut,
    blob: Option<Box<dyn NewBlob>>,
    bytes: u64,
}

/// A value that was collected.
pub enum CollectedValue {
    /// A short one, or one for a store without blobs.
    Whole(Bytes),
    /// A long one, which an entry must refer to.
    Blob(StoredBlob),
}

impl<'a> ValueWriter<'a> {
    /// Begins a value of this bucket. `blobs` are those of the store.
    #[must_use]
    pub fn new(bucket: &'a Bucket, blobs: Option<&'a dyn Blobs>) -> Self {
        Self { bucket, blobs, begin: BytesMut::new(), blob: None, bytes: 0 }
    }

    /// The number of bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the store; `TooLarge` if it has no blobs and the value does not fit into memory.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.bytes += piece.len() as u64;
        if let Some(blob) = &mut self.blob {
            return blob.write(piece).await;
        }
        self.begin.extend_from_slice(&piece);
        match self.blobs {
            Some(blobs) if self.begin.len() > BlobRef::FROM_BYTES => {
                let mut blob = blobs.create_blob(self.bucket).await?;
                blob.write(std::mem::take(&mut self.begin).freeze()).await?;
                self.blob = Some(blob);
                Ok(())
            }
            None if self.begin.len() > Limits::MAX_VALUE_LIMIT => {
                let text = "the value is too large for a store without blobs; nothing was stored";
                Err(Error::new(ErrorKind::TooLarge, text))
            }
            _ => Ok(()),
        }
    }

    /// The whole value. A blob is durable then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finish(self) -> Result<CollectedValue> {
        Ok(match self.blob {
            Some(blob) => CollectedValue::Blob(blob.finish().await?),
            None => CollectedValue::Whole(self.begin.freeze()),
        })
    }
}
