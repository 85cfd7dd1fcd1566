//! Receives a value: in memory or, if it is large, as a blob of the store, piece by piece.

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::body;
use super::content_digest::PiecewiseDigest;
use crate::model::{BlobRef, Bucket, ContentType};
use crate::store::{Blobs, CollectedValue, StoredBlob, ValueWriter};
use crate::web::body::Body;
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;

/// A value that was received.
pub(crate) struct ReceivedValue {
    /// The value itself, or a reference to its blob.
    pub(crate) value: Bytes,
    pub(crate) content_type: ContentType,
    /// Keep it until the value is committed.
    pub(crate) blob: Option<StoredBlob>,
}

/// Receives the body of a request as a value.
///
/// # Errors
/// As for [`body::collect`], and those of the store.
pub(crate) async fn receive(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<ReceivedValue, ApiError> {
    let headers = &ctx.parts.headers;
    let Some(blobs) = ctx.state.store.blobs() else { return collect(ctx, bucket, body).await };
    let max_bytes = ctx.max_blob_bytes(bucket);
    let announced = body::announced_length(headers, max_bytes)?;
    if announced.is_some_and(|length| length <= BlobRef::FROM_BYTES as u64) {
        return collect(ctx, bucket, body).await;
    }
    match body.into_whole() {
        Ok(whole) => collect(ctx, bucket, whole.into()).await,
        Err(body) => {
            let pieces = Pieces { body: body.in_pieces(), max_bytes, announced };
            receive_pieces(ctx, bucket, blobs, pieces).await
        }
    }
}

/// Receives a value in memory.
async fn collect(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<ReceivedValue, ApiError> {
    // A copy, because the memory of the body is charged to a budget and given back with the request.
    let value = Bytes::copy_from_slice(&body::collect(ctx, body, ctx.max_value_bytes(bucket)).await?);
    let content_type = body::content_type(&ctx.parts.headers, &value)?;
    Ok(ReceivedValue { value, content_type, blob: None })
}

/// A body that arrives in pieces.
struct Pieces {
    body: Body,
    max_bytes: u64,
    announced: Option<u64>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(body::incomplete_body)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

async fn receive_pieces(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    blobs: &dyn Blobs,
    mut pieces: Pieces,
) -> Result<ReceivedValue, ApiError> {
    let headers = &ctx.parts.headers;
    let _receiving = ctx.timer.begin_receive();
    let mut value = ValueWriter::new(bucket, Some(blobs));
    let (mut digest, mut text) = (PiecewiseDigest::new(headers), Utf8Check::default());
    while let Some(piece) = pieces.next().await? {
        if value.bytes() + piece.len() as u64 > pieces.max_bytes {
            return Err(body::too_large(pieces.max_bytes));
        }
        digest.update(&piece);
        text.update(&piece);
        value.write(piece).await?;
    }
    body::check_length(pieces.announced, value.bytes())?;
    ctx.timer.set_received(usize::try_from(value.bytes()).unwrap_or(usize::MAX));
    let content_type = body::content_type_of(headers, || text.is_utf8())?;
    let stored = match value.finish().await? {
        CollectedValue::Blob(stored) => stored,
        // It was short after all.
        CollectedValue::Whole(whole) => return collect(ctx, bucket, whole.into()).await,
    };
    if let Err(error) = digest.verify(headers, stored.id.sha_256()) {
        release(blobs, bucket, stored, false).await;
        return Err(error);
    }
    let (value, content_type) = stored.reference(content_type);
    Ok(ReceivedValue { value, content_type, blob: Some(stored) })
}

/// Ends the storing of a blob.
pub(crate) async fn release(blobs: &dyn Blobs, bucket: &Bucket, stored: StoredBlob, is_committed: bool) {
    if let Err(error) = stored.release(blobs, bucket, is_committed).await {
        tracing::warn!("unused blobs of bucket {bucket} are kept until the next sweep: {error}");
    }
}

/// Whether bytes that arrive in pieces are UTF-8.
#[derive(Default)]
struct Utf8Check {
    /// The begin of a character whose end has not arrived.
    begun: Vec<u8>,
    is_broken: bool,
}

impl Utf8Check {
    fn update(&mut self, mut piece: &[u8]) {
        // The bytes of a character come one by one until it is complete.
        while let (false, false, Some((byte, rest))) = (self.is_broken, self.begun.is_empty(), piece.split_first()) {
            self.begun.push(*byte);
            piece = rest;
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) => self.is_broken = error.error_len().is_some(),
            }
        }
        if self.is_broken || !self.begun.is_empty() {
            return;
        }
        if let Err(error) = std::str::from_utf8(piece) {
            self.is_broken = error.error_len().is_some();
            self.begun.extend_from_slice(piece.get(error.valid_up_to()..).unwrap_or_default());
        }
    }

    fn is_utf8(&self) -> bool {
        !self.is_broken && self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_utf8_however_they_are_cut() {
        let text = "aä€😀b".repeat(3);
        let cases: [&[u8]; 6] = [text.as_bytes(), b"", b"\xff", b"a\xc3", b"\xe2\x82\xac\xe2\x82", b"a\xc3a"];
        for bytes in cases {
            for size in 1..=bytes.len().max(1) {
                let mut check = Utf8Check::default();
                bytes.chunks(size).for_each(|piece| check.update(piece));
                assert_eq!(check.is_utf8(), std::str::from_utf8(bytes).is_ok(), "{bytes:?} {size}");
            }
        }
    }
}
