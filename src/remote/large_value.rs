//! Values that are too large for JSON: in their place the server sends a reference, and the value is read on its own.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::connection::Connection;
use super::exchange::RemoteRequest;
use crate::model::{BlobRef, Bucket, Entry, Error, ErrorKind, Key, Result};
use crate::store::Limits;

/// Replaces the reference of an entry by the value. Returns false if the value has changed since.
pub(super) async fn resolve(connection: &Connection, bucket: &Bucket, key: &Key, entry: &mut Entry) -> Result<bool> {
    let Some(blob) = BlobRef::of(entry) else { return Ok(true) };
    if blob.bytes > Limits::MAX_VALUE_LIMIT as u64 {
        let text = format!(
            "{}: the value of {key} in {bucket} has {} bytes; over HTTP at most {} bytes can be read into memory; \
             download it with curl",
            connection.address,
            blob.bytes,
            Limits::MAX_VALUE_LIMIT
        );
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    let query = vec![("key", key.to_string())];
    let reply = connection.send(&RemoteRequest::get(format!("kv/{bucket}"), query)).await?;
    let hash: [u8; 32] = Sha256::digest(&reply.body).into();
    if !reply.status.is_success() || hash != *blob.id.sha_256() {
        return Ok(false);
    }
    entry.value = Bytes::clone(&reply.body);
    entry.content_type = blob.content_type;
    Ok(true)
}
