//! The value of a key as an entry: a text, the fields of an entry, or a list or mapping that is stored as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::{NodeContent, Scalar, YamlNode};
use super::{json, timestamp};
use crate::model::{ContentType, Key, Time, parse_span};
use crate::yaml::format::parse_error::{ParseError, ParseErrorKind};
use crate::yaml::format::parsed::ParsedEntry;

/// A mapping with one of these fields is an entry; one without is stored as JSON.
const VALUE_FIELDS: [&str; 3] = ["value", "base64", "json"];

/// The other fields.
const OTHER_FIELDS: [&str; 6] = ["type", "updated", "created", "modified", "expires", "ttl"];

/// The entry of a node; `None` if it is null.
pub(crate) fn entry(key: &Key, node: &YamlNode<'_>) -> Result<Option<ParsedEntry>, ParseError> {
    let at = |error: ParseError| ParseError { text: format!("{key:?}: {}", error.text), ..error };
    match &node.content {
        NodeContent::Scalar(scalar) if scalar.is_null() => Ok(None),
        NodeContent::Scalar(scalar) => Ok(Some(ParsedEntry::text(scalar.text.clone().into_owned()))),
        NodeContent::Mapping(fields) if has_value(fields) => fields_of(fields).map(Some).map_err(at),
        NodeContent::Mapping(fields) if fields.iter().any(is_of_an_entry) => {
            let text =
                "it has no value: neither value, base64 nor json; to store this mapping as JSON write it under json:";
            Err(at(ParseError::new(node.line, text).of_kind(ParseErrorKind::MissingValue)))
        }
        NodeContent::List(_) | NodeContent::Mapping(_) => {
            let mut parsed = ParsedEntry::text(json::bytes(node));
            parsed.content_type = ContentType::json();
            Ok(Some(parsed))
        }
    }
}

fn has_value(fields: &[(Scalar<'_>, YamlNode<'_>)]) -> bool {
    fields.iter().any(|(name, _)| VALUE_FIELDS.contains(&&*name.text))
}

/// Whether a field of a mapping without a value shows that an entry was meant.
fn is_of_an_entry((name, node): &(Scalar<'_>, YamlNode<'_>)) -> bool {
    let NodeContent::Scalar(Scalar { text, .. }) = &node.content else { return false };
    match &*name.text {
        "type" => ContentType::new(text).is_ok(),
        "updated" | "created" | "modified" | "expires" => timestamp::read(text).is_ok(),
        "ttl" => parse_span(text).is_ok(),
        _ => false,
    }
}

fn fields_of(fields: &[(Scalar<'_>, YamlNode<'_>)]) -> Result<ParsedEntry, ParseError> {
    let mut parsed = ParsedEntry::text("");
    let mut values = 0;
    let has = |wanted: &str| fields.iter().any(|(name, _)| name.text == wanted);
    if has("json") {
        parsed.content_type = ContentType::json();
    }
    for (name, node) in fields {
        values += usize::from(VALUE_FIELDS.contains(&&*name.text));
        if values > 1 {
            let text = "it has two values; keep one of value, base64 and json";
            return Err(ParseError::new(name.line, text));
        }
        if name.text == "expires" && has("ttl") {
            return Err(ParseError::new(name.line, "it has both ttl and expires; keep one"));
        }
        if !VALUE_FIELDS.contains(&&*name.text) && !OTHER_FIELDS.contains(&&*name.text) {
            return Err(unknown_field(node.line, &name.text));
        }
        set(&mut parsed, &name.text, node).map_err(|text| ParseError::new(node.line, text))?;
    }
    Ok(parsed)
}

fn unknown_field(line: u64, name: &str) -> ParseError {
    let known = [&VALUE_FIELDS[..], &OTHER_FIELDS].concat().join(", ");
    let text =
        format!("unknown field {name:?}; the fields are {known}; to store this mapping as JSON write it under json:");
    ParseError::new(line, text).of_kind(ParseErrorKind::UnknownField(name.to_owned()))
}

fn set(parsed: &mut ParsedEntry, name: &str, node: &YamlNode<'_>) -> Result<(), String> {
    if name == "json" {
        parsed.value = json::bytes(node);
        return Ok(());
    }
    let NodeContent::Scalar(scalar) = &node.content else {
        return Err(match name {
            "value" => "value must be a text, not a list or a mapping; write it under json: instead".into(),
            _ => format!("{name} must be a text, not a list or a mapping"),
        });
    };
    let text = &*scalar.text;
    match name {
        "value" if scalar.is_null() => {
            return Err(
                "value must be a text, not ~; write \"\" for an empty one, or ~ instead of the whole entry to delete \
                 it"
                .into(),
            );
        }
        "value" => parsed.value = text.to_owned().into(),
        "base64" => parsed.value = STANDARD.decode(text).map_err(|e| format!("base64: {e}"))?.into(),
        _ if scalar.plain && (text.is_empty() || scalar.is_null()) => {
            return Err(format!("the field {name:?} is empty; remove it or give it a value"));
        }
        "type" => parsed.content_type = ContentType::new(text).map_err(|e| e.to_string())?,
        "ttl" => parsed.ttl = Some(ttl(text)?),
        _ => set_time(parsed, name, text).map_err(|e| format!("{name}: {e}"))?,
    }
    Ok(())
}

fn ttl(text: &str) -> Result<std::time::Duration, String> {
    let span = parse_span(text).map_err(|e| format!("ttl: {e}"))?;
    // Zero and too long times are refused here as on the command line.
    Time::default().expiry_after(span).map_err(|e| format!("ttl: {e}"))?;
    Ok(span)
}

fn set_time(parsed: &mut ParsedEntry, name: &str, text: &str) -> Result<(), String> {
    let time = timestamp::read(text).map_err(|e| e.to_string())?;
    match name {
        "updated" if time > Time::LATEST_COMMIT => {
            return Err(format!(
                "{text} is too late, since no write could follow it; remove the field, so that the entry counts as \
                 written when the file was saved"
            ));
        }
        "updated" => parsed.updated = Some(time),
        "created" => parsed.created = Some(time),
        "modified" => parsed.modified = Some(time),
        // The end of the range is never reached.
        _ => parsed.expires = Some(time).filter(|time| time.nanos() != i64::MAX),
    }
    Ok(())
}
