//! Large values, which are written and read in parts.

use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt as _};

use super::client::Client;
use super::set::Options;
use crate::model::{BlobRef, ContentType, Entry, Error, ErrorKind, Key, Result, Revision};
use crate::store::{BlobReader, CollectedValue, ValueWriter};

/// How many bytes are read at a time.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// The parts of a value, one after another.
pub type ValueParts = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A value that is read in parts, as it was when it was found. Later writes do not change it.
pub struct LargeValue {
    /// The length of the value in bytes.
    pub bytes: u64,
    /// The media type of the value.
    pub content_type: ContentType,
    /// The revision of the write that stored it.
    pub revision: Revision,
    content: Content,
}

enum Content {
    Whole(Bytes),
    Blob(Arc<dyn BlobReader>),
}

impl Client {
    /// Stores a value that arrives in parts, such as a file. It may be larger than the memory, if the store has
    /// [blobs](crate::store::Blobs). If a part is an error, nothing is stored. Returns the revision of the write.
    ///
    /// ```
    /// # kvs::example::run(async |_| {
    /// # let client = kvs::open("memory:")?;
    /// use bytes::Bytes;
    /// use futures_util::{TryStreamExt as _, stream};
    /// use kvs::client::Options;
    ///
    /// let parts = stream::iter((0..100_u8).map(|n| Ok(Bytes::from(vec![n; 100_000]))));
    /// client.put_stream("firmware", parts, &Options::default()).await?;
    ///
    /// let firmware = client.get_stream("firmware").await?.expect("it was stored");
    /// assert_eq!(firmware.bytes, 10_000_000);
    /// let end: Vec<Bytes> = firmware.parts(9_999_990).try_collect().await?;
    /// assert_eq!(end.concat(), [99; 10]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Those of [`set_with`](Self::set_with), and the first one of the parts.
    pub async fn put_stream(
        &self,
        key: &str,
        parts: impl Stream<Item = Result<Bytes>> + Send,
        options: &Options,
    ) -> Result<Revision> {
        let mut value = self.begin_value(key, options)?;
        let mut parts = pin!(parts);
        while let Some(part) = parts.next().await {
            value.write(part?).await?;
        }
        self.put_collected(key, value, options).await
    }

    /// Begins a value for [`put_collected`](Self::put_collected). The arguments of both are the same; they are checked
    /// here, because the value may take long to arrive.
    pub(super) fn begin_value(&self, key: &str, options: &Options) -> Result<ValueWriter<'_>> {
        self.put(key, Bytes::new(), options)?;
        Ok(ValueWriter::new(&self.bucket, self.store.blobs()))
    }

    /// Stores a value that was collected.
    pub(super) async fn put_collected(&self, key: &str, value: ValueWriter<'_>, options: &Options) -> Result<Revision> {
        let blob = match value.finish().await? {
            CollectedValue::Whole(whole) => return self.set_with(key, whole, options).await,
            CollectedValue::Blob(blob) => blob,
        };
        let (reference, content_type) = blob.reference(options.content_type.clone());
        let stored = self.set_with(key, reference, &Options { content_type, ..options.clone() }).await;
        if let Some(blobs) = self.store.blobs() {
            // If this fails, the next sweep removes it.
            let _ = blob.release(blobs, &self.bucket, stored.is_ok()).await;
        }
        stored
    }

    /// The value under a key, to be read in parts.
    ///
    /// # Errors
    /// `Corrupt` if the value is a blob that is missing.
    pub async fn get_stream(&self, key: &str) -> Result<Option<LargeValue>> {
        let key = Key::new(key)?;
        let mut missing = None;
        loop {
            let entry = match self.store.blobs() {
                Some(blobs) => blobs.get_references(&self.bucket, std::slice::from_ref(&key)).await?.entries.pop(),
                None => Some(self.find(&key).await?),
            };
            let Some(entry) = entry.flatten() else { return Ok(None) };
            let revision = entry.revision;
            if let Some(found) = self.open_value(entry).await? {
                return Ok(Some(found));
            }
            // A blob may have been replaced before it was open.
            if missing.replace(revision) == Some(revision) {
                let text =
                    format!("the blob of {key:?} is missing; restore it from a backup, or store the value again");
                return Err(Error::new(ErrorKind::Corrupt, text));
            }
        }
    }

    /// The value of an entry; `None` if it is a blob that does not exist.
    async fn open_value(&self, entry: Entry) -> Result<Option<LargeValue>> {
        let revision = entry.revision;
        let (Some(blob), Some(blobs)) = (BlobRef::of(&entry), self.store.blobs()) else {
            let Entry { value, content_type, .. } = entry;
            let bytes = value.len() as u64;
            return Ok(Some(LargeValue { bytes, content_type, revision, content: Content::Whole(value) }));
        };
        let BlobRef { id, bytes, content_type } = blob;
        let reader = blobs.open_blob(&self.bucket, id).await?;
        Ok(reader.map(|reader| LargeValue { bytes, content_type, revision, content: Content::Blob(reader) }))
    }
}

impl LargeValue {
    /// The parts of the value from this offset on, in bytes. None is empty.
    pub fn parts(self, offset: u64) -> ValueParts {
        let value = Arc::new(self);
        Box::pin(try_unfold(offset, move |offset| {
            let value = Arc::clone(&value);
            async move {
                let part = value.read(offset).await?;
                let next = offset + part.len() as u64;
                Ok((!part.is_empty()).then_some((part, next)))
            }
        }))
    }

    /// Some bytes from this offset on; none at the end.
    pub(super) async fn read(&self, offset: u64) -> Result<Bytes> {
        if offset >= self.bytes {
            return Ok(Bytes::new());
        }
        match &self.content {
            Content::Whole(value) => Ok(value.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(value.len())..)),
            Content::Blob(reader) => match reader.read(offset, PIECE_BYTES).await? {
                part if part.is_empty() => {
                    let text = "a blob is shorter than its entry says; restore it from a backup";
                    Err(Error::new(ErrorKind::Corrupt, text))
                }
                part => Ok(part),
            },
        }
    }
}
