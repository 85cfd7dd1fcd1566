//! An entry on one line: writing it, and reading back fast exactly what was written.
//!
//! `key: {value: "21.5", updated: 2026-11-20T12:00:00Z}` stores, `key: ~ # 2026-11-20T12:01:00Z` deletes. A comment at
//! the end is the revision of the write, if it is not `updated`. All other forms are left to
//! [`handwritten`](super::handwritten).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::parsed::{ParsedEntry, ParsedLine};
use super::{inline_json, scalar};
use crate::model::{ContentType, Entry, Key, Revision, Time};

/// YAML allows at most 1024 characters before `: `; a longer key takes the explicit form `? key`.
pub(crate) const MAX_IMPLICIT_KEY_BYTES: usize = 1024;

/// Appends the line of a change. `revision` is that of the write, if it is not that of the entry.
pub(crate) fn write(out: &mut Vec<u8>, key: &Key, entry: Option<&Entry>, revision: Option<Revision>) {
    write_key(out, key);
    match entry {
        Some(entry) => {
            out.extend_from_slice(b": {");
            write_entry(out, entry, false);
        }
        None => out.extend_from_slice(b": ~"),
    }
    if let Some(revision) = revision {
        push_time(out, " # ", revision.time());
    }
    out.push(b'\n');
}

/// Appends an entry on one line, with JSON as JSON.
pub(crate) fn write_at_rest(out: &mut Vec<u8>, key: &Key, entry: &Entry) {
    write_key(out, key);
    out.extend_from_slice(b": {");
    write_entry(out, entry, true);
    out.push(b'\n');
}

/// Appends a key as [`write`] does.
pub(crate) fn write_key(out: &mut Vec<u8>, key: &Key) {
    let start = out.len();
    scalar::write(out, key.as_str());
    if out.len() - start > MAX_IMPLICIT_KEY_BYTES {
        out.splice(start..start, *b"? ");
        out.push(b'\n');
    }
}

/// Appends the fields of an entry and the closing brace.
pub(crate) fn write_entry(out: &mut Vec<u8>, entry: &Entry, at_rest: bool) {
    match std::str::from_utf8(&entry.value) {
        Ok(text) if at_rest && entry.content_type.is_json() && inline_json::is_embeddable(text) => {
            out.extend_from_slice(b"json: ");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b", ");
            if entry.content_type.as_str() == ContentType::JSON {
                write_times(out, entry, "", ", ");
            } else {
                write_fields(out, entry, "", ", ");
            }
        }
        Ok(text) => {
            out.extend_from_slice(b"value: ");
            scalar::write(out, text);
            out.extend_from_slice(b", ");
            write_fields(out, entry, "", ", ");
        }
        Err(_) => {
            out.extend_from_slice(b"base64: ");
            scalar::write_quoted(out, &STANDARD.encode(&entry.value));
            out.extend_from_slice(b", ");
            write_fields(out, entry, "", ", ");
        }
    }
    out.truncate(out.len() - 2);
    out.push(b'}');
}

/// Appends the fields except the value, each between `before` and `after`.
pub(crate) fn write_fields(out: &mut Vec<u8>, entry: &Entry, before: &str, after: &str) {
    if !entry.content_type.is_default() {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b"type: ");
        scalar::write(out, entry.content_type.as_str());
        out.extend_from_slice(after.as_bytes());
    }
    write_times(out, entry, before, after);
}

fn write_times(out: &mut Vec<u8>, entry: &Entry, before: &str, after: &str) {
    let created = Some(entry.created).filter(|created| *created != entry.updated());
    let times = [
        ("updated", Some(entry.updated())),
        ("created", created),
        ("modified", entry.modified),
        ("expires", entry.expires),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(name.as_bytes());
            push_time(out, ": ", time);
            out.extend_from_slice(after.as_bytes());
        }
    }
}

fn push_time(out: &mut Vec<u8>, before: &str, time: Time) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{before}{time}");
}

/// Reads a line in the form of [`write`], without its line feed; `None` for any other form.
///
/// The explicit form of a long key has two lines, with a line feed between them.
pub(crate) fn read(line: &str) -> Option<ParsedLine> {
    let (key, rest) = if let Some(explicit) = line.strip_prefix("? ") {
        let (key, rest) = scalar::read(explicit)?;
        (key, rest.strip_prefix("\n: ")?)
    } else {
        let (key, rest) = scalar::read(line)?;
        if line.len() - rest.len() > MAX_IMPLICIT_KEY_BYTES {
            return None;
        }
        (key, rest.strip_prefix(": ")?)
    };
    let key = Key::new(&key).ok()?;
    let (parsed, rest) = if let Some(rest) = rest.strip_prefix('~') {
        (None, rest)
    } else {
        let (parsed, rest) = read_entry(rest.strip_prefix('{')?)?;
        (Some(parsed), rest)
    };
    let revision = match rest.strip_prefix(" # ") {
        Some(comment) => Some(Revision::from(read_commit_time(comment)?)),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(ParsedLine { key, parsed, revision })
}

/// Reads what [`write_entry`] has written, and returns the rest.
pub(crate) fn read_entry(text: &str) -> Option<(ParsedEntry, &str)> {
    let (parsed, rest) = if let Some(text) = text.strip_prefix("value: ") {
        let (value, rest) = scalar::read(text)?;
        let bytes = match value {
            Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        (ParsedEntry::text(bytes), rest)
    } else if let Some(text) = text.strip_prefix("json: ") {
        let (value, rest) = text.split_at_checked(inline_json::end(text)?)?;
        let mut parsed = ParsedEntry::text(Bytes::copy_from_slice(value.as_bytes()));
        parsed.content_type = ContentType::json();
        (parsed, rest)
    } else {
        let (value, rest) = scalar::read(text.strip_prefix("base64: ")?)?;
        (ParsedEntry::text(STANDARD.decode(value.as_bytes()).ok()?), rest)
    };
    let mut parsed = parsed;
    let rest = read_fields(&mut parsed, rest.strip_prefix(", ")?, "", ',')?;
    Some((parsed, rest.strip_prefix('}')?))
}

/// Reads the fields of [`write_fields`], each between `before` and `end`, and returns the rest. A comma must be
/// followed by a space, and is optional after the last field.
pub(crate) fn read_fields<'a>(parsed: &mut ParsedEntry, text: &'a str, before: &str, end: char) -> Option<&'a str> {
    let mut rest = text;
    let mut field = |name: &str, read: &mut dyn FnMut(&'a str) -> Option<&'a str>| -> Option<bool> {
        // The names differ in their first letter. Looking at it first saves most comparisons of strings.
        let is_likely = rest.as_bytes().get(before.len()) == name.as_bytes().first();
        let found = || rest.strip_prefix(before)?.strip_prefix(name)?.strip_prefix(": ");
        let Some(text) = is_likely.then(found).flatten() else { return Some(false) };
        let after = read(text)?;
        rest = match after.strip_prefix(end) {
            Some(after) if end == ',' => after.strip_prefix(' ')?,
            Some(after) => after,
            None if end == ',' => after,
            None => return None,
        };
        Some(true)
    };
    field("type", &mut |text| {
        let (kind, after) = scalar::read(text)?;
        parsed.content_type = ContentType::new(&kind).ok()?;
        Some(after)
    })?;
    let mut time_field = |name: &str| -> Option<Option<Time>> {
        let mut found = None;
        field(name, &mut |text| {
            let at = memchr::memchr3(b',', b'}', b'\n', text.as_bytes())?;
            let (time, after) = text.split_at_checked(at)?;
            found = Some(Time::parse_canonical(time)?);
            Some(after)
        })?;
        Some(found)
    };
    parsed.updated = Some(time_field("updated")?.filter(|time| *time <= Time::LATEST_COMMIT)?);
    parsed.created = time_field("created")?;
    parsed.modified = time_field("modified")?;
    parsed.expires = time_field("expires")?;
    Some(rest)
}

/// Reads a time that leaves room for later commits.
fn read_commit_time(text: &str) -> Option<Time> {
    Time::parse_canonical(text).filter(|time| *time <= Time::LATEST_COMMIT)
}

#[cfg(test)]
mod tests;
