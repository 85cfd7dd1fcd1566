//! `POST /log/{bucket}/{key}`: appends the body as an entry or, if it is `application/x-ndjson`, each of its lines.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use super::body_lines::each_line;
use super::parse_entries;
use super::store_logs::logs;
use crate::model::{AppendOutcome, ContentType, LogAppend, NewLogEntry, Retention, json::JsonValue, parse_span};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
use crate::web::body::{Body, Response};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::body;
use crate::web::request::form::QueryString;
use crate::web::request::number;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;
use crate::web::response::entry_json;
use crate::web::response::response;
use crate::web::response::response::Cache;

/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// The response.
#[derive(Serialize)]
struct Appended {
    /// The index of the first entry.
    index: u64,
    /// The number of entries, if the body had lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>, body: Body) -> Result<Response, ApiError> {
    authorize::require_write(ctx, Place::Key(name)).await?;
    WritePreconditions::none(ctx)?;
    // If it were ignored, entries would be added that should be removed.
    ctx.query.reject("before", "before is only allowed with DELETE; nothing was appended")?;
    let index = ctx.query.number("index", 0..=i64::MAX)?.map(i64::unsigned_abs);
    let retention = retention(ctx.query)?;
    let max_bytes = ctx.max_value_bytes(name.bucket);
    let has_lines = body::essence(&ctx.parts.headers) == NDJSON;
    let entries = if ctx.query.flag("entries")? {
        if !has_lines {
            return Err(ApiError::unsupported_media_type("entries needs Content-Type: application/x-ndjson"));
        }
        let lines = body::collect(ctx, body, body::max_encoded_bytes(max_bytes)).await?;
        parse_entries::parse(&lines, max_bytes)?
    } else if has_lines {
        let lines = body::collect(ctx, body, body::max_encoded_bytes(max_bytes)).await?;
        parse_lines(&lines, max_bytes)?
    } else {
        let value = Bytes::copy_from_slice(&body::collect(ctx, body, max_bytes).await?);
        let content_type = body::content_type(&ctx.parts.headers, &value)?;
        vec![NewLogEntry { value, content_type, updated: None }]
    };
    let count = has_lines.then_some(entries.len());
    let append = LogAppend { entries, index, retention };
    match logs(&ctx.state.store)?.append(name, append).await? {
        AppendOutcome::Appended { index } => {
            let body = entry_json::json(&Appended { index, count })?;
            Ok(response::with_body(StatusCode::CREATED, Cache::Never, ContentType::JSON, body))
        }
        AppendOutcome::IndexTaken { next } => Err(ApiError::index_taken(next)),
    }
}

/// The entries in lines of JSON. Empty lines are ignored.
fn parse_lines(body: &Bytes, max_value_bytes: usize) -> Result<Vec<NewLogEntry>, ApiError> {
    let entries = each_line(body, max_value_bytes, |text| {
        JsonValue::parse(text).map_err(|error| format!("is no JSON value: {error}"))?;
        let (value, content_type) = (Bytes::copy_from_slice(text.as_bytes()), ContentType::json());
        Ok(NewLogEntry { value, content_type, updated: None })
    })?;
    if entries.is_empty() {
        return Err(ApiError::invalid("the body has no lines; send a JSON value in each line"));
    }
    Ok(entries)
}

/// `keep=N` and `keep_for=TIME`. `all` removes the limit.
fn retention(query: QueryString<'_>) -> Result<Option<Retention>, ApiError> {
    let max_entries = match query.text("keep")?.as_deref() {
        None => None,
        Some("all") => Some(None),
        Some(text) => {
            let number = number::parse("keep", text, 1..=i64::MAX);
            let number = number.map_err(|error| ApiError::invalid(format!("{error}, or all")))?;
            Some(Some(number.unsigned_abs()))
        }
    };
    let max_age = match query.text("keep_for")?.as_deref() {
        None => None,
        Some("all") => Some(None),
        Some(text) => match parse_span(text).map_err(|error| ApiError::invalid(format!("keep_for: {error}")))? {
            Duration::ZERO => return Err(ApiError::invalid("keep_for must be longer than 0; write 30d, 12h or all")),
            age => Some(Some(age)),
        },
    };
    if max_entries.is_none() && max_age.is_none() {
        return Ok(None);
    }
    Ok(Some(Retention { max_entries: max_entries.flatten(), max_age: max_age.flatten() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_entry() {
        let body = Bytes::from_static(b"{\"t\": 21.50}\r\n\n 7 \n\"a\\nb\"");
        let values: Vec<_> = parse_lines(&body, 100).unwrap().into_iter().map(|entry| entry.value).collect();
        assert_eq!(values, ["{\"t\": 21.50}", "7", "\"a\\nb\""]);
        for bad in [&b""[..], b"\n \n", b"1\n{", b"1\n\xff", b"1 2"] {
            assert!(parse_lines(&Bytes::from_static(bad), 100).is_err(), "{bad:?}");
        }
        assert!(parse_lines(&body, 5).is_err());
    }

    #[test]
    fn retention_is_parsed_or_rejected() {
        let parse = |query| retention(QueryString::new(Some(query)).unwrap());
        let keep = |max_entries, secs: Option<u64>| Retention { max_entries, max_age: secs.map(Duration::from_secs) };
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("keep=10").unwrap(), Some(keep(Some(10), None)));
        assert_eq!(parse("keep=10&keep_for=1d").unwrap(), Some(keep(Some(10), Some(86_400))));
        assert_eq!(parse("keep=all").unwrap(), Some(Retention::default()));
        for bad in ["keep=0", "keep=-1", "keep=x", "keep=", "keep_for=0", "keep_for=x", "keep_for="] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
