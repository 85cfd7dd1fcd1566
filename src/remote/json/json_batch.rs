//! A batch as the body of `POST /txn/{bucket}`, and its outcome.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json_entry::{JsonEntry, JsonValueMember};
use crate::model::{
    Batch, Change, Condition, End, Entry, Error, ErrorKind, Expectation, Outcome, Result, Revision, Time, Write,
};

#[derive(Serialize)]
struct Transaction<'a> {
    checks: Vec<Check<'a>>,
    ops: Vec<Operation<'a>>,
}

#[derive(Default, Serialize)]
struct Check<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<bool>,
    #[serde(flatten)]
    value: Option<JsonValueMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revisions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_revisions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_modified_since: Option<String>,
}

#[derive(Default, Serialize)]
struct Operation<'a> {
    op: &'static str,
    key: &'a str,
    #[serde(flatten)]
    value: Option<JsonValueMember<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

/// The body of the request for a batch.
pub(crate) fn body(batch: &Batch) -> Result<Bytes> {
    let checks = batch.expectations.iter().map(check).collect();
    let ops = batch.writes.iter().map(operation).collect();
    let json = serde_json::to_vec(&Transaction { checks, ops });
    json.map(Bytes::from).map_err(|error| Error::new(ErrorKind::Invalid, format!("cannot write JSON: {error}")))
}

fn check(expectation: &Expectation) -> Check<'_> {
    let texts = |revisions: &[Revision]| Some(revisions.iter().map(ToString::to_string).collect());
    let empty = Check { key: expectation.key.as_str(), ..Check::default() };
    match &expectation.condition {
        Condition::Absent => Check { absent: Some(true), ..empty },
        Condition::Present => Check { absent: Some(false), ..empty },
        Condition::Unchanged { revision, expires } => {
            let expires = expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
            Check { revision: Some(revision.to_string()), expires: Some(expires), ..empty }
        }
        Condition::RevisionIn(revisions) => Check { revisions: texts(revisions), ..empty },
        Condition::RevisionNotIn(revisions) => Check { not_revisions: texts(revisions), ..empty },
        Condition::ValueIs(value) => Check { value: Some(JsonValueMember::new(value)), ..empty },
        Condition::NotModifiedSince(date) => Check { not_modified_since: Some(date.to_string()), ..empty },
    }
}

fn operation(write: &Write) -> Operation<'_> {
    let text = |time: &Option<Time>| time.map(|time| time.to_string());
    let of = |op| Operation { op, key: write.key().as_str(), ..Operation::default() };
    match write {
        Write::Put { value, content_type, expires, modified, .. } => Operation {
            value: Some(JsonValueMember::new(value)),
            r#type: Some(content_type.as_str()),
            expires: text(expires),
            modified: text(modified),
            ..of("set")
        },
        Write::Delete { .. } => of("delete"),
        Write::Touch { expires: None, .. } => of("persist"),
        Write::Touch { expires, .. } => Operation { expires: text(expires), ..of("touch") },
        Write::Read { .. } => of("get"),
        Write::Increment { by, .. } => Operation { by: Some(*by), ..of("incr") },
        Write::Append { value, end, .. } => {
            let op = if *end == End::Append { "append" } else { "prepend" };
            Operation { value: Some(JsonValueMember::new(value)), ..of(op) }
        }
        Write::Restore { entry, .. } => Operation {
            value: Some(JsonValueMember::new(&entry.value)),
            r#type: Some(entry.content_type.as_str()),
            expires: text(&entry.expires),
            modified: text(&entry.modified),
            revision: Some(entry.revision.to_string()),
            created: Some(entry.created.to_string()),
            ..of("restore")
        },
    }
}

#[derive(Deserialize)]
struct Committed {
    revision: String,
    #[serde(default)]
    changes: Vec<JsonChange>,
}

#[derive(Deserialize)]
struct JsonChange {
    before: Option<JsonEntry>,
    after: Option<JsonEntry>,
}

/// The body of a 409.
#[derive(Deserialize)]
struct Failed {
    check: usize,
    found: Option<JsonEntry>,
}

fn entry(json: Option<JsonEntry>) -> Result<Option<Entry>> {
    json.map(|json| json.into_entry().map(|(_, entry)| entry)).transpose()
}

/// The outcome in the body of a response.
///
/// # Errors
/// If it is not such a body.
pub(crate) fn committed(body: &[u8]) -> Result<Outcome> {
    let Committed { revision, changes } = parse(body)?;
    let change = |JsonChange { before, after }| Ok(Change { before: entry(before)?, after: entry(after)? });
    let changes = changes.into_iter().map(change).collect::<Result<_>>()?;
    Ok(Outcome::Committed { revision: revision.parse()?, changes })
}

/// The outcome in the body of a 409.
///
/// # Errors
/// If it is not such a body.
pub(crate) fn failed(body: &[u8]) -> Result<Outcome> {
    let Failed { check, found } = parse(body)?;
    Ok(Outcome::PreconditionFailed { index: check, found: entry(found)? })
}

/// # Errors
/// If the text is not the JSON of this type.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
}
