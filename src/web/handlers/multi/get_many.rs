//! Reads many values at once.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::parse_rows::KeyRow;
use crate::model::{Bucket, Key};
use crate::web::auth::policy::Timestamps;
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Composer;
use crate::web::response::{entry_json, json_response, streamed};

/// How many bytes the values of one response may have together as JSON.
pub(super) const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// Returns the values of the existing keys, of a row with a date only if the entry has this date.
pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, rows: Vec<KeyRow>) -> Result<Response, ApiError> {
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let entries = ctx.state.store.get(bucket, &keys).await.map_err(ApiError::from_read)?.entries;
    let by_date = ctx.state.settings.policies.for_bucket(bucket).timestamps == Timestamps::Client;
    let now = ctx.now().floor_to_second();
    let mut out = Composer::default();
    let mut found: BTreeMap<&str, &Bytes> = BTreeMap::new();
    let mut bytes = 0_u64;
    for (row, entry) in rows.iter().zip(&entries) {
        let Some(entry) = entry else { continue };
        entry_json::charge(&mut out, &entry.value);
        // The same date as in `Last-Modified` of a read, where server timestamps are never in the future.
        let modified = if by_date { entry.last_modified() } else { entry.last_modified().min(now) };
        if row.modified.is_some_and(|date| date != modified) {
            continue;
        }
        bytes = bytes.saturating_add(streamed::length_in_json(&entry.value));
        if bytes > MAX_RESPONSE_BYTES {
            return Err(ApiError::too_large(format!(
                "the values have more than {MAX_RESPONSE_BYTES} bytes as JSON; send fewer keys, or GET each key"
            )));
        }
        found.insert(row.key.as_str(), &entry.value);
    }
    out.text("{");
    for (number, (key, value)) in found.into_iter().enumerate() {
        out.text(if number == 0 { "" } else { "," });
        out.json(&key)?;
        out.text(":");
        entry_json::value(&mut out, value);
    }
    out.text("}");
    Ok(json_response::composed(out.finish(&ctx.responses())?))
}
