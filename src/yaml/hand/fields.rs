//! What stands behind a key, as an entry: a text, the fields of an entry, or a list or a mapping that is stored as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::{Content, Node, Scalar};
use super::{Fault, json, timestamp};
use crate::model::{ContentType, Key, Time, parse_span};
use crate::yaml::line::Given;

/// A mapping with one of these fields is an entry; one without is stored as JSON.
const VALUES: [&str; 3] = ["value", "base64", "json"];

/// The other fields.
const NAMES: [&str; 6] = ["type", "updated", "created", "modified", "expires", "ttl"];

/// The entry that a node says; none if it says that there is none.
pub(super) fn entry(key: &Key, node: &Node<'_>) -> Result<Option<Given>, Fault> {
    let at = |line, text: String| Fault { line, text: format!("{key:?}: {text}") };
    match &node.content {
        Content::Scalar(scalar) if scalar.is_null() => Ok(None),
        Content::Scalar(scalar) => Ok(Some(Given::text(scalar.text.clone().into_owned()))),
        Content::Mapping(fields) if has_value(fields) => fields_of(fields).map(Some).map_err(|f| at(f.line, f.text)),
        Content::Mapping(fields) if fields.iter().any(is_of_an_entry) => Err(at(
            node.line,
            "it has no value: neither value, base64 nor json; to store this mapping as JSON write it under json:"
                .into(),
        )),
        Content::List(_) | Content::Mapping(_) => {
            let mut given = Given::text(json::bytes(node));
            given.content_type = ContentType::json();
            Ok(Some(given))
        }
    }
}

fn has_value(fields: &[(Scalar<'_>, Node<'_>)]) -> bool {
    fields.iter().any(|(name, _)| VALUES.contains(&&*name.text))
}

/// Whether a field of a mapping without a value shows that an entry was meant.
fn is_of_an_entry((name, node): &(Scalar<'_>, Node<'_>)) -> bool {
    let Content::Scalar(Scalar { text, .. }) = &node.content else { return false };
    match &*name.text {
        "type" => ContentType::new(text).is_ok(),
        "updated" | "created" | "modified" | "expires" => timestamp::read(text).is_ok(),
        "ttl" => parse_span(text).is_ok(),
        _ => false,
    }
}

fn fields_of(fields: &[(Scalar<'_>, Node<'_>)]) -> Result<Given, Fault> {
    let mut given = Given::text("");
    let mut values = 0;
    let has = |wanted: &str| fields.iter().any(|(name, _)| name.text == wanted);
    if has("json") {
        given.content_type = ContentType::json();
    }
    for (name, node) in fields {
        values += usize::from(VALUES.contains(&&*name.text));
        if values > 1 {
            let text = "it has two values; keep one of value, base64 and json".into();
            return Err(Fault { line: name.line, text });
        }
        if name.text == "expires" && has("ttl") {
            return Err(Fault { line: name.line, text: "it has both ttl and expires; keep one".into() });
        }
        set(&mut given, &name.text, node).map_err(|text| Fault { line: node.line, text })?;
    }
    Ok(given)
}

fn set(given: &mut Given, name: &str, node: &Node<'_>) -> Result<(), String> {
    if name == "json" {
        given.value = json::bytes(node);
        return Ok(());
    }
    if !VALUES.contains(&name) && !NAMES.contains(&name) {
        let known = [&VALUES[..], &NAMES].concat().join(", ");
        return Err(format!(
            "unknown field {name:?}; the fields are {known}; to store this mapping as JSON write it under json:"
        ));
    }
    let Content::Scalar(scalar) = &node.content else {
        return Err(match name {
            "value" => "value: a list or a mapping is no text; write it under json: instead".into(),
            _ => format!("{name}: this is a list or a mapping; write a text"),
        });
    };
    let text = &*scalar.text;
    match name {
        "value" if scalar.is_null() => {
            return Err(
                "value: ~ is no text; write \"\" for an empty one, or ~ instead of the whole entry to delete it".into(),
            );
        }
        "value" => given.value = text.to_owned().into(),
        "base64" => given.value = STANDARD.decode(text).map_err(|e| format!("base64: {e}"))?.into(),
        _ if scalar.plain && (text.is_empty() || scalar.is_null()) => {
            return Err(format!("the field {name:?} is empty; remove it or give it a value"));
        }
        "type" => given.content_type = ContentType::new(text).map_err(|e| e.to_string())?,
        "ttl" => given.ttl = Some(ttl(text)?),
        _ => set_time(given, name, text).map_err(|e| format!("{name}: {e}"))?,
    }
    Ok(())
}

fn ttl(text: &str) -> Result<std::time::Duration, String> {
    let span = parse_span(text).map_err(|e| format!("ttl: {e}"))?;
    // What ends at once, or never, is refused here as it is on the command line.
    Time::default().expiry_after(span).map_err(|e| format!("ttl: {e}"))?;
    Ok(span)
}

fn set_time(given: &mut Given, name: &str, text: &str) -> Result<(), String> {
    let time = timestamp::read(text).map_err(|e| e.to_string())?;
    match name {
        "updated" if time > Time::LATEST_COMMIT => {
            return Err(format!(
                "{text} is too late, no later write could follow it; remove the field, so that the entry counts as written \
                 when the file was saved"
            ));
        }
        "updated" => given.updated = Some(time),
        "created" => given.created = Some(time),
        "modified" => given.modified = Some(time),
        // The end of the range is never reached.
        _ => given.expires = Some(time).filter(|time| time.nanos() != i64::MAX),
    }
    Ok(())
}
