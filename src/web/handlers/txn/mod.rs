//! `POST /txn/{bucket}`: a transaction of checks and operations, all or nothing.

mod parse_checks;
pub(super) mod parse_steps;
mod step_fields;

use serde_json::{Value, json};

use crate::model::{Bucket, Change, Entry, Key, Outcome, Returning, Write};
use crate::web::auth::authorize;
use crate::web::auth::authorize::Secrets;
use crate::web::auth::place::Place;
use crate::web::auth::secrets::Right;
use crate::web::body::{Body, Response};
use crate::web::budget::Budget;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::form::QueryString;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, number};
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed::Composer;
use crate::web::response::{entry_json, json_response};
use crate::web::write::commit;

/// What a response has besides the revision: `?return=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Returned {
    /// A result for each operation.
    Results,
    /// `changes`: the entries before and after each operation.
    Changes,
    /// `none`
    Nothing,
}

impl Returned {
    fn parse(query: QueryString<'_>) -> Result<Self, ApiError> {
        match query.text("return")?.as_deref() {
            None => Ok(Self::Results),
            Some("changes") => Ok(Self::Changes),
            Some("none") => Ok(Self::Nothing),
            Some(other) => {
                let other = number::quote(other);
                Err(ApiError::invalid(format!("return must be changes or none, got {other}")))
            }
        }
    }

    /// The begin of its member in the response.
    fn member(self) -> &'static str {
        match self {
            Self::Results => ",\"results\":[",
            Self::Changes => ",\"changes\":[",
            Self::Nothing => "",
        }
    }
}

pub(crate) async fn answer(ctx: RequestContext<'_>, bucket: &Bucket, body: Body) -> Result<Response, ApiError> {
    authorize::require_write(ctx, Place::KeysInBody(bucket)).await?;
    WritePreconditions::none(ctx)?;
    let returned = Returned::parse(ctx.query)?;
    let body = body::transaction(ctx, body).await?;
    let batch = parse_steps::parse(&body, ctx.max_value_bytes(bucket), ctx.now())?;
    let batch = if returned == Returned::Nothing { batch.returning(Returning::Nothing) } else { batch };
    let has_get = batch.writes.iter().any(|write| matches!(write, Write::Read { .. }));
    // A check reveals the current entry, as a read does.
    if has_get || !batch.expectations.is_empty() || returned == Returned::Changes {
        authorize::require_read(ctx, Place::KeysInBody(bucket)).await?;
        let checked = batch.expectations.iter().map(|check| &check.key);
        authorize::check_read(ctx, bucket, checked.chain(batch.writes.iter().map(Write::key)))?;
    }
    if batch.writes.iter().any(|write| matches!(write, Write::Restore { .. })) {
        // Its revision is that of the whole bucket.
        authorize::require_owner(ctx, Right::Write, bucket).await?;
    }
    let secrets = Secrets::in_headers(&ctx.parts.headers);
    authorize::check_write(ctx, &secrets, bucket, batch.writes.iter().map(Write::key))?;
    let writes = batch.writes.clone();
    let checked: Vec<Key> = batch.expectations.iter().map(|check| check.key.clone()).collect();
    match commit::apply(ctx, bucket, batch).await? {
        Outcome::Committed { revision, changes } => {
            let mut out = Composer::default();
            out.open_object(&json!({ "revision": revision.to_string() }))?;
            out.text(returned.member());
            let changes = if returned == Returned::Nothing { vec![] } else { changes };
            for (number, (write, change)) in writes.iter().zip(&changes).enumerate() {
                out.text(if number == 0 { "" } else { "," });
                let name = EntryName { bucket, key: write.key() };
                match write {
                    _ if returned == Returned::Changes => {
                        out.text("{\"before\":");
                        entry_json::entry_or_null(&mut out, name, change.before.as_ref())?;
                        out.text(",\"after\":");
                        entry_json::entry_or_null(&mut out, name, change.after.as_ref())?;
                        out.text("}");
                    }
                    Write::Read { .. } => entry_json::entry_or_null(&mut out, name, change.after.as_ref())?,
                    _ => out.json(&result(write, change)?)?,
                }
            }
            out.text(if returned == Returned::Nothing { "}" } else { "]}" });
            // The commit is done, so its response has no memory limit. A client that may write is trusted with this
            // memory.
            Ok(json_response::composed(out.finish(&Budget::default())?))
        }
        Outcome::PreconditionFailed { index, found } => {
            let key = checked
                .get(index)
                .ok_or_else(|| ApiError::internal("the store reported a check that does not exist"))?;
            json_response::conflict(index, EntryName { bucket, key }, found.as_ref())
        }
    }
}

/// The result of one operation.
fn result(write: &Write, change: &Change) -> Result<Value, ApiError> {
    let revision = change.after.as_ref().map(|entry| entry.revision.to_string());
    Ok(match write {
        Write::Put { .. } | Write::Append { .. } | Write::Restore { .. } => json!({ "revision": revision }),
        Write::Delete { .. } => json!({ "deleted": change.before.is_some() }),
        Write::Touch { .. } => json!({ "touched": change.before.is_some() }),
        Write::Read { .. } => Value::Null,
        Write::Increment { .. } => {
            let text = change.after.as_ref().and_then(Entry::as_text);
            let number: i64 = text
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| ApiError::internal("the store returned no number for an increment"))?;
            json!({ "value": number, "revision": revision })
        }
    })
}
