//! Compression of values with zstd (RFC 8878).

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::sealed_type::{read_type, write_type};
use super::transformed::{Form, Place, Transformed};
use super::transformed_store::is_store;
use crate::model::{Bucket, Clock, ContentType, Error, ErrorKind, Key, Result};
use crate::store::{Limits, Store};

/// A store that compresses values from a size on, if that makes them smaller.
///
/// A compressed value has the content type `application/vnd.kvs.zstd` in the store inside. Values from before the
/// layer, and values that it does not compress, are stored and returned unchanged. Compression costs time: choose it if
/// storage or its bandwidth is scarce.
///
/// ```
/// # kvs::example::run(async |_| {
/// use std::sync::Arc;
///
/// use kvs::client::Client;
/// use kvs::layers::Compressed;
/// use kvs::memory::MemoryStore;
/// use kvs::model::SystemClock;
/// use kvs::store::Limits;
///
/// let inner = Arc::new(MemoryStore::default());
/// let store = Compressed::new(inner.clone(), 1024, Arc::new(SystemClock), Limits::default());
/// let client = Client::new(Arc::new(store));
/// client.set("text", "a long text ".repeat(1000)).await?;
/// assert_eq!(client.get("text").await?.map(|text| text.len()), Some(12_000));
/// assert!(Client::new(inner).get("text").await?.expect("it was stored").len() < 100);
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Compressed(Transformed<Zstd>);

is_store!(Compressed);

impl Compressed {
    /// Compresses values from `from_bytes` bytes on. `limits` are those of the values before compression.
    pub fn new(inner: Arc<dyn Store>, from_bytes: usize, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self(Transformed { inner, form: Zstd { from_bytes }, clock, limits })
    }
}

/// Values as frames of zstd.
#[derive(Clone, Copy)]
struct Zstd {
    from_bytes: usize,
}

impl Form for Zstd {
    const MARK: &'static str = "application/vnd.kvs.zstd";

    type Hold = ();

    async fn encode(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
        (): &mut (),
    ) -> Result<(Bytes, ContentType)> {
        if value.len() < self.from_bytes {
            return Ok((value, content_type.clone()));
        }
        let cannot = |error| Error::io(format!("cannot compress {place}"), error);
        let compressed = zstd::bulk::compress(&value, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(cannot)?;
        let mut stored = BytesMut::new();
        write_type(&mut stored, content_type);
        stored.put_slice(&compressed);
        if stored.len() >= value.len() {
            return Ok((value, content_type.clone()));
        }
        Ok((stored.freeze(), ContentType::new(Self::MARK)?))
    }

    async fn decode(&self, place: Place<'_>, value: &Bytes, _: &ContentType) -> Result<(Bytes, ContentType)> {
        let damaged = || {
            let text = format!("{place} cannot be decompressed; store it again, or restore it from a backup");
            Error::new(ErrorKind::Corrupt, text)
        };
        let (content_type, compressed) = read_type(value).ok_or_else(damaged)?;
        // Not the limit of this store: that may have been lowered since.
        let length = zstd::zstd_safe::get_frame_content_size(compressed).ok().flatten().ok_or_else(damaged)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= Limits::MAX_VALUE_LIMIT);
        let value = zstd::bulk::decompress(compressed, length.ok_or_else(damaged)?)
            .map_err(|error| damaged().with_source(error))?;
        Ok((value.into(), content_type))
    }
}
