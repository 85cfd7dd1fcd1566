//! A list, a mapping or a scalar of YAML as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::node::{Content, Node, Scalar};

/// The node as JSON: as it is spelled if that is JSON, else without white space in the order of the file.
pub(super) fn bytes(node: &Node<'_>) -> Bytes {
    let mut out = String::new();
    match node.spelling.filter(|text| is_json(text)) {
        Some(text) => out.push_str(text),
        None => write(&mut out, node),
    }
    out.into()
}

fn write(out: &mut String, node: &Node<'_>) {
    match &node.content {
        Content::Scalar(scalar) => out.push_str(&spelled(scalar)),
        Content::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                write(out, item);
            }
            out.push(']');
        }
        Content::Mapping(entries) => {
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

/// Numbers, `true` and `false` as they are spelled, if JSON spells them so; all other texts are texts.
fn spelled<'a>(scalar: &'a Scalar<'_>) -> Cow<'a, str> {
    if scalar.is_null() || scalar.plain && scalar.text.is_empty() {
        return "null".into();
    }
    // JSON that begins otherwise is in brackets or quotes, which no plain scalar begins with, or `null`.
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
