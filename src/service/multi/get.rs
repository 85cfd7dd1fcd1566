//! Many values at once.

use std::collections::BTreeMap;

use axum::response::Response;
use serde_json::Value;

use super::super::meta;
use super::super::reply::{self, Refusal};
use super::super::{Asked, Timestamps};
use super::rows::Named;
use crate::model::{Bucket, Key};

/// The values of one answer may have so many bytes together: thousands of large ones would not fit into memory.
const MOST_BYTES: usize = 64 << 20;

/// Answers with those keys that are there and have the date asked for.
pub(super) async fn answer(asked: Asked<'_>, bucket: &Bucket, rows: Vec<Named>) -> Result<Response, Refusal> {
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let entries = asked.service.store.get(bucket, &keys).await?.entries;
    let by_date = asked.service.settings.policies.of(bucket).timestamps == Timestamps::Client;
    let now = asked.now().floor_to_second();
    let mut found: BTreeMap<&str, Value> = BTreeMap::new();
    let mut bytes = 0_usize;
    for (row, entry) in rows.iter().zip(&entries) {
        let Some(entry) = entry else { continue };
        // The date as a read of the key gives it: our own are never in the future.
        let modified = if by_date { entry.last_modified() } else { entry.last_modified().min(now) };
        if row.modified.is_some_and(|date| date != modified) {
            continue;
        }
        bytes = bytes.saturating_add(entry.value.len());
        if bytes > MOST_BYTES {
            return Err(Refusal::invalid(format!(
                "these values have more than {MOST_BYTES} bytes; ask for fewer keys"
            )));
        }
        found.insert(row.key.as_str(), meta::value(&entry.value));
    }
    reply::json(&found)
}
