//! Removes blobs that nothing refers to, and checks the others.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;

use super::blob_rows::BlobRows;
use super::lease::in_background;
use super::stored_parts::{PART_BYTES, StoredParts};
use crate::model::{BlobId, BlobRef, ContentType, Error, ErrorKind, Result};
use crate::postgres::connect::pool::{Pool, discard};
use crate::postgres::error::{PgError, Retry};
use crate::postgres::sql::row::column;
use crate::store::{BlobReader, Finding, Severity};

/// Removes those of these blobs that nothing refers to; false if somebody is storing one of them.
pub(crate) async fn remove_these(rows: &BlobRows, ids: &[BlobId]) -> Result<bool> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id.sha_256()[..]).collect();
    let held = rows.query(&rows.statements().find_held, &[&ids]).await?;
    if take_names(rows, Some(&ids)).await? > 0 {
        let rows = rows.clone();
        in_background(async move {
            if let Err(error) = remove_expired(&rows).await {
                tracing::debug!("cannot delete the parts of unused blobs in bucket {}: {error}", rows.bucket);
            }
        });
    }
    Ok(held.is_empty())
}

/// Removes all blobs that nothing refers to. Returns their number.
pub(crate) async fn remove_all(rows: &BlobRows) -> Result<u64> {
    let removed = take_names(rows, None).await?;
    remove_expired(rows).await?;
    Ok(removed)
}

async fn take_names(rows: &BlobRows, ids: Option<&[&[u8]]>) -> Result<u64> {
    let runtime = rows.runtime()?;
    let mut retry = Retry::default();
    loop {
        match try_take_names(&runtime.pool, rows, ids).await {
            Ok(taken) => return Ok(taken),
            Err(error) => runtime.pool.retry(&mut retry, error).await.map_err(|e| rows.locate(e))?,
        }
    }
}

/// Two blobs of the same name must not lose it at the same time, each because of the other.
async fn try_take_names(pool: &Pool, rows: &BlobRows, ids: Option<&[&[u8]]>) -> Result<u64, PgError> {
    let (bucket, statements) = (rows.bucket.as_str(), rows.statements());
    let mut client = pool.client().await?;
    let taken = async {
        let transaction = pool.transaction(&mut client).await?;
        transaction.execute(&statements.lock, &[&bucket]).await.map_err(PgError::query)?;
        let taken = transaction.query(&statements.take_names, &[&bucket, &ids]).await.map_err(PgError::query)?;
        transaction.commit().await.map_err(PgError::commit)?;
        Ok(taken.len() as u64)
    };
    let taken = taken.await;
    if taken.is_err() {
        discard(client);
    }
    taken
}

/// Deletes what has no name and is not needed any more.
pub(super) async fn remove_expired(rows: &BlobRows) -> Result<()> {
    let statements = rows.statements();
    for row in rows.query(&statements.find_expired, &[]).await? {
        let upload: i64 = column(&row, 0)?;
        while !rows.query(&statements.remove_parts, &[&upload]).await?.is_empty() {}
        rows.query(&statements.remove, &[&upload]).await?;
    }
    Ok(())
}

/// Reads all blobs, and returns what is damaged or missing.
pub(crate) async fn check(rows: &BlobRows) -> Result<Vec<Finding>> {
    let damage = |text: String| Finding::new(Severity::Damage, text);
    let (mut findings, mut present) = (vec![], BTreeSet::new());
    for row in rows.query(&rows.statements().names, &[]).await? {
        let id = id(&row)?;
        present.insert(id);
        match hash(rows, id).await {
            Ok(found) if found.is_none_or(|found| found == id) => {}
            Ok(_) => findings.push(damage(format!("blob {id} has other bytes than its name says; restore it"))),
            Err(error) if error.kind() == ErrorKind::Corrupt => findings.push(damage(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    let mark = ContentType::new(BlobRef::MARK).unwrap_or_default();
    for row in rows.query(&rows.statements().references, &[]).await? {
        let (key, value): (&str, &[u8]) = (column(&row, 0)?, column(&row, 1)?);
        match BlobRef::parse(&Bytes::copy_from_slice(value), &mark) {
            Some(blob) if present.contains(&blob.id) => {}
            // It may have been stored since.
            Some(blob) if StoredParts::open(rows.clone(), blob.id).await?.is_some() => {}
            Some(blob) => {
                let text = format!("the value of {key:?} is blob {}, which is missing; store the value again", blob.id);
                findings.push(damage(text));
            }
            None => {
                let text =
                    format!("the value of {key:?} is not a reference to a blob, as its type says; store it again");
                findings.push(damage(text));
            }
        }
    }
    Ok(findings)
}

fn id(row: &Row) -> Result<BlobId> {
    let bytes: &[u8] = column(row, 0)?;
    let wrong = |_| Error::new(ErrorKind::Corrupt, "the name of a blob has not 32 bytes; delete its row");
    Ok(BlobId::new(bytes.try_into().map_err(wrong)?))
}

/// The name that the bytes of a blob should have; `None` if it was removed meanwhile.
async fn hash(rows: &BlobRows, id: BlobId) -> Result<Option<BlobId>> {
    let Some(blob) = StoredParts::open(rows.clone(), id).await? else { return Ok(None) };
    let (mut hash, mut offset) = (Sha256::new(), 0);
    loop {
        let piece = blob.read(offset, PART_BYTES).await?;
        if piece.is_empty() {
            return Ok(Some(BlobId::new(hash.finalize().into())));
        }
        offset += piece.len() as u64;
        hash.update(&piece);
    }
}
