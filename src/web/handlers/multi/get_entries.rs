//! Reads many entries at once, with their metadata and the revision of the bucket, all at one moment.

use serde_json::json;

use super::get_many::MAX_RESPONSE_BYTES;
use super::parse_rows;
use super::parse_rows::KeyRow;
use crate::model::{Bucket, Key};
use crate::web::body::Response;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Composer;
use crate::web::response::{entry_json, json_response, streamed};

/// Returns an entry, or null, for each row.
pub(super) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, rows: Vec<KeyRow>) -> Result<Response, ApiError> {
    if let Some(number) = rows.iter().position(|row| row.modified.is_some()) {
        return Err(parse_rows::row_error(number, "modified_at is not allowed with meta; send only the key"));
    }
    let keys: Vec<Key> = rows.into_iter().map(|row| row.key).collect();
    let snapshot = ctx.state.store.get(bucket, &keys).await.map_err(ApiError::from_read)?;
    let length = |value| streamed::length_in_json(value);
    let bytes = snapshot.entries.iter().flatten().fold(0_u64, |sum, entry| sum.saturating_add(length(&entry.value)));
    if bytes > MAX_RESPONSE_BYTES {
        return Err(ApiError::too_large(format!(
            "the values have more than {MAX_RESPONSE_BYTES} bytes as JSON; send fewer keys, or GET each key"
        )));
    }
    let mut out = Composer::default();
    out.open_object(&json!({ "revision": snapshot.revision.to_string() }))?;
    out.text(",\"entries\":[");
    for (number, (key, entry)) in keys.iter().zip(&snapshot.entries).enumerate() {
        out.text(if number == 0 { "" } else { "," });
        if let Some(entry) = entry {
            entry_json::charge(&mut out, &entry.value);
        }
        entry_json::entry_or_null(&mut out, EntryName { bucket, key }, entry.as_ref())?;
    }
    out.text("]}");
    Ok(json_response::composed(out.finish(&ctx.responses())?))
}
