//! Parses the checks of a transaction from JSON.

use super::step_fields::{revision, value};
use crate::model::{Condition, Expectation};
use crate::web::request::etag;
use crate::web::request::json_fields::{JsonFields, ObjectSchema};
use crate::web::request::number;

pub(super) const CHECK: ObjectSchema = ObjectSchema {
    name: "a check",
    fields: &[
        "key",
        "revision",
        "expires",
        "absent",
        "value",
        "base64",
        "revisions",
        "not_revisions",
        "not_modified_since",
    ],
};

/// The expiry of an entry that never expires, in a check.
const NEVER: &str = "never";

pub(super) fn expectation(check: &JsonFields<'_>) -> Result<Expectation, String> {
    let key = check.key()?;
    let revision_in = |name| revisions(check, name);
    let conditions = [
        of_revision(check)?,
        check.flag("absent")?.map(|is_absent| if is_absent { Condition::Absent } else { Condition::Present }),
        value(check)?.map(Condition::ValueIs),
        revision_in("revisions")?.map(Condition::RevisionIn),
        revision_in("not_revisions")?.map(Condition::RevisionNotIn),
        check.time("not_modified_since")?.map(Condition::NotModifiedSince),
    ];
    let mut conditions = conditions.into_iter().flatten();
    match (conditions.next(), conditions.next()) {
        (Some(condition), None) => Ok(Expectation { key, condition }),
        _ => Err("a check needs exactly one of revision, absent, value, base64, revisions, not_revisions and \
                  not_modified_since"
            .to_owned()),
    }
}

/// `revision`, which a touch does not change; with `expires` no touch may have come either.
fn of_revision(check: &JsonFields<'_>) -> Result<Option<Condition>, String> {
    let expires = check.text("expires")?;
    let Some(text) = check.text("revision")? else {
        return match expires {
            None => Ok(None),
            Some(_) => Err("expires needs revision".to_owned()),
        };
    };
    let revision = revision("revision", etag::bare(&text))?;
    Ok(Some(match expires.as_deref() {
        None => Condition::RevisionIn(vec![revision]),
        Some(NEVER) => Condition::Unchanged { revision, expires: None },
        Some(_) => Condition::Unchanged { revision, expires: check.time("expires")? },
    }))
}

fn revisions(check: &JsonFields<'_>, name: &str) -> Result<Option<Vec<crate::model::Revision>>, String> {
    let Some(list) = check.list(name)? else { return Ok(None) };
    let parse = |raw: &serde_json::value::RawValue| {
        let text: String = serde_json::from_str(raw.get())
            .map_err(|_| format!("{name} must have strings, got {}", number::quote(raw.get())))?;
        revision(name, etag::bare(&text))
    };
    list.into_iter().map(parse).collect::<Result<_, _>>().map(Some)
}
