//! The progress record of the target: for each bucket the source that it was copied from, and the bucket's revision
//! after the last write of the copy. With it a later run recognises its own data, and notices if anybody else has
//! written since.
//!
//! It is in a reserved bucket, which other clients do not see. It is saved before each batch, with the revision that the
//! bucket will have after the batch, so it is correct whether the batch was written or the program died before.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::{Batch, Bucket, Entry, Key, Result, Returning, Revision, Write};
use crate::store::Store;

/// The records of a target about one source.
pub(crate) struct ProgressRecord {
    to: Arc<dyn Store>,
    records: Bucket,
    source: String,
}

impl ProgressRecord {
    pub(crate) fn new(to: Arc<dyn Store>, source: String) -> Result<Self> {
        Ok(Self { to, records: Bucket::new(Bucket::COPY_RECORDS)?, source })
    }

    /// Whether the whole bucket, which has this revision, was copied from this source, and nobody else has written
    /// since.
    pub(crate) async fn matches(&self, bucket: &Bucket, revision: Revision) -> Result<bool> {
        let key = Key::new(bucket.as_str())?;
        let found = self.to.get(&self.records, &[key]).await?.entries.into_iter().next().flatten();
        Ok(found.is_some_and(|entry| self.is_match(&entry, revision)))
    }

    fn is_match(&self, record: &Entry, revision: Revision) -> bool {
        // An invalid record matches nothing.
        let record: Value = serde_json::from_slice(&record.value).unwrap_or_default();
        let is = |name: &str| record.get(name).and_then(Value::as_str) == Some(&revision.to_string());
        record.get("from").and_then(Value::as_str) == Some(&self.source) && (is("revision") || is("next"))
    }

    /// Records that the bucket has `revision`, and will have `next` after the next batch.
    pub(crate) async fn save(&self, bucket: &Bucket, revision: Revision, next: Revision) -> Result<()> {
        let record =
            json!({ "from": self.source, "revision": revision.to_string(), "next": next.to_string() }).to_string();
        let writes = vec![Write::put(Key::new(bucket.as_str())?, record)];
        self.to.apply(&self.records, Batch::new(writes).returning(Returning::Nothing)).await.map(drop)
    }
}
