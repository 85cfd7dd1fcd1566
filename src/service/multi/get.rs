//! Many values at once.

use std::collections::BTreeMap;

use axum::response::Response;
use bytes::Bytes;

use super::super::compose::{self, Composer};
use super::super::meta;
use super::super::reply::{self, Refusal};
use super::super::{Asked, Timestamps};
use super::rows::Named;
use crate::model::{Bucket, Key};

/// The values of one answer may have so many bytes together, as JSON writes them.
const MOST_BYTES: u64 = 64 << 20;

/// Answers with those keys that are there and have the date asked for.
pub(super) async fn answer(asked: Asked<'_>, bucket: &Bucket, rows: Vec<Named>) -> Result<Response, Refusal> {
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let entries = asked.service.store.get(bucket, &keys).await.map_err(Refusal::unread)?.entries;
    let by_date = asked.service.settings.policies.of(bucket).timestamps == Timestamps::Client;
    let now = asked.now().floor_to_second();
    let mut out = Composer::default();
    let mut found: BTreeMap<&str, &Bytes> = BTreeMap::new();
    let mut bytes = 0_u64;
    for (row, entry) in rows.iter().zip(&entries) {
        let Some(entry) = entry else { continue };
        meta::hold(&mut out, &entry.value);
        // The date as a read of the key gives it: our own are never in the future.
        let modified = if by_date { entry.last_modified() } else { entry.last_modified().min(now) };
        if row.modified.is_some_and(|date| date != modified) {
            continue;
        }
        bytes = bytes.saturating_add(compose::length_in_json(&entry.value));
        if bytes > MOST_BYTES {
            return Err(Refusal::invalid(format!(
                "these values have more than {MOST_BYTES} bytes as JSON; ask for fewer keys, or for each by GET"
            )));
        }
        found.insert(row.key.as_str(), &entry.value);
    }
    out.text("{");
    for (number, (key, value)) in found.into_iter().enumerate() {
        out.text(if number == 0 { "" } else { "," });
        out.json(&key)?;
        out.text(":");
        meta::value(&mut out, value);
    }
    out.text("}");
    Ok(reply::composed(out.finish(&asked.responses())?))
}
