//! `POST /kv/{bucket}/{key}?op=`: changes an entry without reading it first; without `op` the same as PUT.

use bytes::Bytes;

use super::write_response::{is_by_date, ok, with_etag};
use super::{json_part, put_entry, return_old};
use crate::model::json::Pointer;
use crate::model::{Batch, Change, End, Write};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::form::QueryString;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::request::{body, number, ttl};
use crate::web::response::api_error::ApiError;
use crate::web::response::response;
use crate::web::response::response::Cache;
use crate::web::write::commit;

/// The value of `op`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Increment { by: i64 },
    Append(End),
    Touch,
    Persist,
}

impl Operation {
    /// Parses `op` and `by`; `None` without `op`.
    fn parse(query: QueryString<'_>) -> Result<Option<Self>, ApiError> {
        Ok(Some(match query.text("op")?.as_deref() {
            None => return Ok(None),
            Some("incr") => Self::Increment { by: query.number("by", i64::MIN..=i64::MAX)?.unwrap_or(1) },
            Some("append") => Self::Append(End::Append),
            Some("prepend") => Self::Append(End::Prepend),
            Some("touch") => Self::Touch,
            Some("persist") => Self::Persist,
            Some(other) => {
                let other = number::quote(other);
                return Err(ApiError::invalid(format!(
                    "op must be incr, append, prepend, touch or persist, got {other}"
                )));
            }
        }))
    }
}

pub(crate) async fn answer(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    path: Option<Pointer>,
    body: Body,
) -> Result<Response, ApiError> {
    match (Operation::parse(ctx.query)?, path) {
        (None, None) => put_entry::answer(ctx, name, body).await,
        (None, Some(path)) => json_part::put(ctx, name, path, body).await,
        (Some(operation), None) => operate(ctx, name, operation, body).await,
        (Some(_), Some(_)) => Err(ApiError::invalid("path is not allowed with op; change the part with PUT or PATCH")),
    }
}

async fn operate(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    operation: Operation,
    body: Body,
) -> Result<Response, ApiError> {
    let EntryName { bucket, key } = name;
    authorize::require_write(ctx, Place::Key(name)).await?;
    let preconditions = WritePreconditions::new(ctx, bucket)?;
    let return_old = return_old::parse(ctx, name).await?;
    let expires = ttl::parse(ctx.query, ctx.now())?;
    let touch = Write::Touch { key: key.clone(), expires };
    let value = match operation {
        Operation::Append(_) => body::collect(ctx, body, ctx.max_value_bytes(bucket)).await?,
        _ => body::drain(ctx, body).await.map(|()| Bytes::new())?,
    };
    let first = match operation {
        Operation::Increment { by } => Write::Increment { key: key.clone(), by },
        Operation::Append(end) => Write::Append { key: key.clone(), value, end },
        Operation::Touch if expires.is_none() => {
            return Err(ApiError::invalid("touch needs ttl=SECONDS or expires=UNIX; use persist to remove the expiry"));
        }
        Operation::Persist if expires.is_some() => {
            return Err(ApiError::invalid("persist does not accept ttl or expires; use touch"));
        }
        Operation::Touch | Operation::Persist => touch.clone(),
    };
    let mut writes = vec![first];
    if expires.is_some() && operation != Operation::Touch {
        writes.push(touch);
    }
    let is_number = matches!(operation, Operation::Increment { .. });
    let batch = Batch::new(writes).returning(return_old::returning(return_old || is_number));
    let changes = commit::commit(ctx, bucket, batch, preconditions).await?;
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return Err(ApiError::internal("the store returned no change for a write"));
    };
    let change = Change { before: first.before.clone(), after: last.after.clone() };
    let is_new = change.before.is_none();
    let response = match operation {
        Operation::Touch | Operation::Persist if is_new => {
            return Err(ApiError::not_found("no such key", Cache::Never).without_body(is_by_date(ctx, bucket)));
        }
        _ if return_old => return_old::answer(change.before),
        Operation::Increment { .. } => {
            let number = first.after.as_ref().map(|entry| entry.value.clone()).unwrap_or_default();
            response::text(number, Cache::Never)
        }
        _ => ok(ctx, bucket, is_new),
    };
    Ok(with_etag(ctx, bucket, change.after.as_ref(), response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_parsed_or_rejected() {
        let parse = |q| Operation::parse(QueryString::new(Some(q)).unwrap());
        assert_eq!(parse("ttl=5").unwrap(), None);
        assert_eq!(parse("op=incr").unwrap(), Some(Operation::Increment { by: 1 }));
        assert_eq!(parse("op=incr&by=-9223372036854775808").unwrap(), Some(Operation::Increment { by: i64::MIN }));
        assert_eq!(parse("op=prepend").unwrap(), Some(Operation::Append(End::Prepend)));
        for bad in [
            "op=",
            "op=INCR",
            "op=del",
            "op=incr&by=",
            "op=incr&by=1.5",
            "op=incr&by=%2B5",
            "op=incr&by=9223372036854775808",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
