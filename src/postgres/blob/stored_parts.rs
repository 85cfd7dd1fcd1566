//! Reads a blob.

use async_trait::async_trait;
use bytes::Bytes;

use super::blob_rows::BlobRows;
use super::lease::Kept;
use crate::model::{BlobId, Error, ErrorKind, Result};
use crate::postgres::sql::row::column;
use crate::store::BlobReader;

/// The length of every part except the last.
pub(super) const PART_BYTES: usize = 1 << 20;

/// An open blob.
pub(crate) struct StoredParts {
    rows: BlobRows,
    id: BlobId,
    upload: i64,
    bytes: u64,
    kept: Kept,
}

impl StoredParts {
    /// Finds a blob; `None` if there is none of this name.
    pub(crate) async fn open(rows: BlobRows, id: BlobId) -> Result<Option<Self>> {
        let found = rows.query(&rows.statements().find, &[&&id.sha_256()[..]]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let (upload, bytes) = (column(row, 0)?, column::<i64>(row, 1)?);
        Ok(Some(Self { rows, id, upload, bytes: bytes.try_into().unwrap_or(0), kept: Kept::new() }))
    }
}

#[async_trait]
impl BlobReader for StoredParts {
    /// Reads from one part.
    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Bytes> {
        if offset >= self.bytes || max_bytes == 0 {
            return Ok(Bytes::new());
        }
        let statements = self.rows.statements();
        // At one moment of the database all parts stay visible.
        if !self.rows.is_at_one_moment() && self.kept.is_due() {
            self.rows.query(&statements.keep, &[&self.upload]).await?;
        }
        let part = i32::try_from(offset / PART_BYTES as u64).unwrap_or(i32::MAX);
        // From 1, and within a part.
        let begin = i32::try_from(offset % PART_BYTES as u64 + 1).unwrap_or(i32::MAX);
        let length = i32::try_from(max_bytes.min(PART_BYTES)).unwrap_or(i32::MAX);
        let rows = self.rows.query(&statements.read, &[&self.upload, &part, &begin, &length]).await?;
        let read: &[u8] = rows.first().map_or(Ok(&[][..]), |row| column(row, 0))?;
        if read.is_empty() {
            let text = format!("blob {} of bucket {} lacks its part {part}; restore it", self.id, self.rows.bucket);
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        Ok(Bytes::copy_from_slice(read))
    }
}
