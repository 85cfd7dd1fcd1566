//! What the target remembers of copies: for each bucket of what it is a copy, and how far the bucket had come when the
//! last of it was written. So a later run knows its own work, and whether anybody else has written there since.
//!
//! It lies in a bucket that is kvs' own. Before a batch is written it is noted what the bucket will have come to with it, so
//! that it holds true whether the batch was written or the program died before.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::{Batch, Bucket, Entry, Key, Result, Revision, Write};
use crate::store::Store;

/// The bucket of notes. Its name begins as those that clients cannot reach.
const NOTES: &str = "_kvs.copy";

/// The notes of a target on one source.
pub(super) struct Ledger {
    to: Arc<dyn Store>,
    notes: Bucket,
    source: String,
}

impl Ledger {
    pub(super) fn new(to: Arc<dyn Store>, source: String) -> Result<Self> {
        Ok(Self { to, notes: Bucket::new(NOTES)?, source })
    }

    /// Whether all that stands in the bucket, which has come to `revision`, was copied from this source, and nobody else has
    /// written there since.
    pub(super) async fn knows(&self, bucket: &Bucket, revision: Revision) -> Result<bool> {
        let key = Key::new(bucket.as_str())?;
        let found = self.to.get(&self.notes, &[key]).await?.entries.into_iter().next().flatten();
        Ok(found.is_some_and(|entry| self.tells(&entry, revision)))
    }

    fn tells(&self, note: &Entry, revision: Revision) -> bool {
        // What is no note of ours tells nothing.
        let note: Value = serde_json::from_slice(&note.value).unwrap_or_default();
        let is = |name: &str| note.get(name).and_then(Value::as_str) == Some(&revision.to_string());
        note.get("from").and_then(Value::as_str) == Some(&self.source) && (is("revision") || is("next"))
    }

    /// Notes that the bucket has come to `revision`, and comes to `next` with the batch that is written next.
    pub(super) async fn note(&self, bucket: &Bucket, revision: Revision, next: Revision) -> Result<()> {
        let note =
            json!({ "from": self.source, "revision": revision.to_string(), "next": next.to_string() }).to_string();
        let writes = vec![Write::put(Key::new(bucket.as_str())?, note)];
        self.to.apply(&self.notes, Batch::of(writes).untold()).await.map(drop)
    }
}
