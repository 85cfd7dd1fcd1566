//! A YAML list, mapping or scalar as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::node::{NodeContent, Scalar, YamlNode};

/// The node as JSON: its own spelling if that is JSON, else without white space, in the order of the file.
pub(crate) fn bytes(node: &YamlNode<'_>) -> Bytes {
    let mut out = String::new();
    match node.spelling.filter(|text| is_json(text)) {
        Some(text) => out.push_str(text),
        None => write(&mut out, node),
    }
    out.into()
}

fn write(out: &mut String, node: &YamlNode<'_>) {
    match &node.content {
        NodeContent::Scalar(scalar) => out.push_str(&spelled(scalar)),
        NodeContent::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                write(out, item);
            }
            out.push(']');
        }
        NodeContent::Mapping(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                out.push_str(&quoted(&key.text));
                out.push(':');
                write(out, value);
            }
            out.push('}');
        }
    }
}

/// Numbers, `true` and `false` in their own spelling, if that is JSON; all other scalars as text.
fn spelled<'a>(scalar: &'a Scalar<'_>) -> Cow<'a, str> {
    if scalar.is_null() || scalar.plain && scalar.text.is_empty() {
        return "null".into();
    }
    // Other JSON begins with a bracket or a quote, which a plain scalar never does, or is `null`.
    let could_be = |c: char| c == '-' || c.is_ascii_digit() || c == 't' || c == 'f';
    if scalar.plain && scalar.text.starts_with(could_be) && is_json(&scalar.text) {
        return Cow::Borrowed(&scalar.text);
    }
    quoted(&scalar.text).into()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
