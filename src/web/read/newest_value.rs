//! The value of the key that was written last, for a response: its bytes, or the open blob with them.

use crate::model::{BlobRef, Bucket, ContentType, Entry, Error, ErrorKind, Key, Revision};
use crate::web::metrics::counted::Counted;
use crate::web::response::api_error::ApiError;
use crate::web::response::blob_content::BlobContent;
use crate::web::response::streamed::Content;

/// How often the entries are read again because a blob was replaced before it was open.
const MAX_ATTEMPTS: usize = 10;

/// A value with its key.
pub(crate) struct NewestValue<'k> {
    pub(crate) key: &'k Key,
    /// The entry. Its own value and type may be those of a reference.
    pub(crate) entry: Entry,
    pub(crate) content_type: ContentType,
    pub(crate) content: Content,
}

/// The newest value among these keys, and the revision of the bucket.
pub(crate) async fn find<'k>(
    store: &Counted,
    bucket: &Bucket,
    keys: &'k [Key],
) -> Result<(Revision, Option<NewestValue<'k>>), ApiError> {
    let mut missing = None;
    for _ in 0..MAX_ATTEMPTS {
        let snapshot = store.get_references(bucket, keys).await.map_err(ApiError::from_read)?;
        let found = keys.iter().zip(snapshot.entries).filter_map(|(key, entry)| Some((key, entry?)));
        let newest = found.max_by_key(|(_, entry)| entry.revision);
        let Some((key, entry)) = newest else { return Ok((snapshot.revision, None)) };
        let Some((content_type, content)) = content(store, bucket, &entry).await? else {
            if missing == Some(entry.revision) {
                let text = format!(
                    "the blob of {key:?} in bucket {bucket} is missing; restore it from a backup, or store the value \
                     again"
                );
                return Err(ApiError::from_read(Error::new(ErrorKind::Corrupt, text)));
            }
            missing = Some(entry.revision);
            continue;
        };
        return Ok((snapshot.revision, Some(NewestValue { key, entry, content_type, content })));
    }
    Err(ApiError::contention())
}

/// The type and the bytes of a value; `None` if it is a blob that does not exist.
async fn content(store: &Counted, bucket: &Bucket, entry: &Entry) -> Result<Option<(ContentType, Content)>, ApiError> {
    let (Some(blob), Some(blobs)) = (BlobRef::of(entry), store.blobs()) else {
        return Ok(Some((entry.content_type.clone(), entry.value.clone().into())));
    };
    let reader = blobs.open_blob(bucket, blob.id).await.map_err(ApiError::from_read)?;
    let content = reader.map(|reader| Content::Blob(BlobContent::new(blob.id, reader, blob.bytes)));
    Ok(content.map(|content| (blob.content_type, content)))
}
