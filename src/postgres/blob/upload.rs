//! Writes a blob: its parts, then its name.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::blob_rows::BlobRows;
use super::lease::{Hold, Kept, in_background};
use super::stored_parts::PART_BYTES;
use super::unused_blobs::remove_expired;
use crate::model::{BlobId, Error, ErrorKind, Result};
use crate::postgres::sql::row::column;
use crate::store::{NewBlob, StoredBlob};

/// A blob that is being written.
pub(crate) struct Upload {
    rows: BlobRows,
    number: i64,
    kept: Kept,
    hash: Sha256,
    bytes: u64,
    parts: i32,
    /// The begin of the next part.
    pending: BytesMut,
    /// Whether the blob has its name, so that it must not be given up.
    is_named: bool,
}

impl Upload {
    pub(crate) async fn begin(rows: BlobRows) -> Result<Self> {
        let number = loop {
            if let Some(row) = rows.query(&rows.statements().begin, &[]).await?.first() {
                break column(row, 0)?;
            }
        };
        Ok(Self {
            rows,
            number,
            kept: Kept::new(),
            hash: Sha256::new(),
            bytes: 0,
            parts: 0,
            pending: BytesMut::new(),
            is_named: false,
        })
    }

    async fn add_part(&mut self, part: &[u8]) -> Result<()> {
        let statements = self.rows.statements();
        if self.kept.is_due() {
            self.rows.query(&statements.keep, &[&self.number]).await?;
        }
        self.rows.query(&statements.add_part, &[&self.number, &self.parts, &part]).await?;
        self.parts += 1;
        Ok(())
    }
}

#[async_trait]
impl NewBlob for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.pending.extend_from_slice(&bytes);
        while self.pending.len() >= PART_BYTES {
            let part = self.pending.split_to(PART_BYTES);
            self.add_part(&part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredBlob> {
        let last = self.pending.split();
        if !last.is_empty() {
            self.add_part(&last).await?;
        }
        let id = BlobId::new(self.hash.finalize_reset().into());
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let named = self.rows.query(&self.rows.statements().name, &[&self.number, &&id.sha_256()[..], &bytes]).await?;
        if named.is_empty() {
            let text =
                "the value took so long to arrive that what had arrived was removed; nothing was stored, try again";
            return Err(Error::new(ErrorKind::Busy, text));
        }
        self.is_named = true;
        Ok(StoredBlob::new(id, self.bytes, Box::new(Hold::new(self.rows.clone(), self.number))))
    }
}

impl Drop for Upload {
    /// Gives up an upload that is not complete. If that fails, it is given up an hour after its last part.
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        let (rows, number) = (self.rows.clone(), self.number);
        in_background(async move {
            let given_up = async {
                rows.query(&rows.statements().give_up, &[&number]).await?;
                remove_expired(&rows).await
            };
            if let Err(error) = given_up.await {
                tracing::debug!("a part of a blob of bucket {} is kept for up to an hour: {error}", rows.bucket);
            }
        });
    }
}
