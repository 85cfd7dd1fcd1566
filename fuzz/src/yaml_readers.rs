//! The comparison with other YAML readers: kvs and others may refuse a text, but if both read it, they read the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvs::yaml::{ParsedEntry, read_text};
use serde::Deserialize as _;
use serde_yaml::Value;

/// The characters that a YAML text may have (YAML 1.2, section 5.1). kvs ignores others in comments and accepts them in
/// blocks; other readers refuse the whole file then, so they read nothing else.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// The text with a line feed at its end. kvs reads a text without one as if it had one, which it adds before it appends
/// anything. So a block at the end of such a text ends with a line feed for kvs, but not for others.
pub fn terminated(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { text.to_owned() + "\n" }
}

/// What kvs reads: keys and entries, in the order of the keys. `None` if kvs refuses the text, or others certainly do.
pub fn by_kvs(text: &str) -> Option<Vec<(String, ParsedEntry)>> {
    // For kvs a byte order mark may precede any document, for others only the first one.
    let has_late_mark = text.chars().skip(1).any(|c| c == '\u{feff}');
    // libyaml takes `...#` for the end of a document, against YAML 1.2.
    let has_joined_mark = text.lines().any(|line| line.starts_with("...#"));
    if !text.chars().all(is_printable) || has_late_mark || has_joined_mark {
        return None;
    }
    let read = read_text(text).ok()?;
    Some(read.into_iter().map(|(key, entry)| (key.as_str().to_owned(), entry)).collect())
}

/// The text as other readers need it: a document that begins after `...` has a `---`, which kvs does not need
/// (docs/file-format.md).
pub fn with_document_starts(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    let mut is_after_end = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if is_after_end && !bare.is_empty() && !bare.starts_with('#') && !bare.starts_with('%') {
            if !(bare == "---" || bare.starts_with("--- ")) && bare != "..." {
                out.push_str("---\n");
            }
            is_after_end = bare == "...";
        }
        is_after_end |= bare == "..." || (line.starts_with("...") && bare[3..].trim_start().starts_with('#'));
        out.push_str(line);
    }
    out
}

/// Whether a scalar that another reader has typed is this text: the text, read alone, is the same value.
fn is_scalar(text: &str, value: &Value) -> bool {
    match value {
        Value::String(other) => text == other,
        // `a:` is the empty text for kvs.
        Value::Null => text.is_empty() || serde_yaml::from_str::<Value>(text).is_ok_and(|read| read.is_null()),
        Value::Bool(_) | Value::Number(_) => serde_yaml::from_str::<Value>(text).is_ok_and(|read| read == *value),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => false,
    }
}

/// Whether JSON and YAML are the same data. Numbers are compared as floats.
fn is_json(json: &serde_json::Value, value: &Value) -> bool {
    match (json, value) {
        (serde_json::Value::Null, Value::Null) => true,
        (serde_json::Value::Bool(one), Value::Bool(other)) => one == other,
        (serde_json::Value::String(one), Value::String(other)) => one == other,
        // Too large for a float.
        (serde_json::Value::Number(_), Value::String(other)) => other.parse::<f64>().is_ok(),
        (serde_json::Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (serde_json::Value::Array(one), Value::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_json(one, other))
        }
        (serde_json::Value::Object(one), Value::Mapping(other)) => {
            let member = |(name, value): (&Value, &Value)| {
                name.as_str().and_then(|name| one.get(name)).is_some_and(|found| is_json(found, value))
            };
            one.len() == other.len() && other.iter().all(member)
        }
        _ => false,
    }
}

/// Why an entry that kvs has read is not the value of another reader.
fn difference(entry: &ParsedEntry, value: &Value) -> Option<String> {
    let text = std::str::from_utf8(&entry.value).ok();
    let is_same = match value {
        Value::Mapping(fields) => {
            let field = |name: &str| fields.get(Value::String(name.to_owned()));
            match (field("value"), field("json"), field("base64")) {
                (Some(value), None, None) => text.is_some_and(|text| is_scalar(text, value)),
                (None, None, Some(Value::String(encoded))) => {
                    let plain: String = encoded.split_whitespace().collect();
                    STANDARD.decode(plain).is_ok_and(|bytes| entry.value == bytes)
                }
                (None, Some(json), None) => match serde_json::from_slice(&entry.value) {
                    Ok(read) => is_json(&read, json),
                    // Numbers that serde_json cannot represent.
                    Err(error) => error.is_data() || error.to_string().contains("out of range"),
                },
                // A mapping without these fields is JSON.
                (None, None, None) => {
                    serde_json::from_slice(&entry.value).is_ok_and(|read: serde_json::Value| is_json(&read, value))
                }
                _ => false,
            }
        }
        Value::Sequence(_) => {
            serde_json::from_slice(&entry.value).is_ok_and(|read: serde_json::Value| is_json(&read, value))
        }
        scalar => text.is_some_and(|text| is_scalar(text, scalar)),
    };
    (!is_same).then(|| format!("kvs reads {:?}, and another reader {value:?}", entry.value))
}

/// Compares what kvs reads with what `serde_yaml` reads. Returns false if one of them refuses the text.
///
/// # Panics
/// If they read different data.
pub fn compare_with_serde_yaml(text: &str) -> bool {
    let Some(by_kvs) = by_kvs(text) else { return false };
    let prepared = with_document_starts(text);
    let mut found: Vec<(Value, Value)> = vec![];
    for (number, document) in serde_yaml::Deserializer::from_str(&prepared).enumerate() {
        let Ok(document) = Value::deserialize(document) else { return false };
        let entries = match document {
            Value::Null => continue,
            Value::Mapping(entries) => entries,
            other => panic!("kvs reads {text:?}, but it is {other:?}"),
        };
        for (key, value) in entries {
            found.retain(|(known, _)| *known != key);
            if !(number > 0 && value.is_null()) || by_kvs.iter().any(|(name, _)| is_scalar(name, &key)) {
                found.push((key, value));
            }
        }
    }
    for (key, value) in &found {
        let entry = by_kvs.iter().find(|(name, _)| is_scalar(name, key));
        let (_, entry) = entry.unwrap_or_else(|| panic!("kvs does not read {key:?} in {text:?}: {by_kvs:?}"));
        if let Some(difference) = difference(entry, value) {
            panic!("{key:?} in {text:?}: {difference}");
        }
    }
    assert_eq!(by_kvs.len(), found.len(), "{text:?}: kvs reads {by_kvs:?}, and serde_yaml {found:?}");
    true
}
