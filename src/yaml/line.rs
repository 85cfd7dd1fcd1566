//! One entry, one line: writing it, and reading back fast exactly what was written so.
//!
//! `key: {value: "21.5", updated: 2026-11-20T12:00:00Z}` stores, `key: ~ # 2026-11-20T12:01:00Z` deletes. A comment at the
//! end is the revision of the write, where `updated` does not tell it. A line in any other form is left to
//! [`hand`](super::hand).

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{block, json, scalar};
use crate::model::{ContentType, Entry, Key, Revision, Time};

/// YAML allows a key of at most 1024 characters before `: `; a longer one takes the explicit form `? key`.
pub(super) const LONGEST_IMPLICIT_KEY: usize = 1024;

/// What a file says of a key: an entry whose revision may not be told, since a person wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The value.
    pub value: Bytes,
    /// Its media type.
    pub content_type: ContentType,
    /// When it was last written, if told.
    pub updated: Option<Time>,
    /// When the key came to be, if told and not the same.
    pub created: Option<Time>,
    /// The client's time of modification.
    pub modified: Option<Time>,
    /// The end of the entry.
    pub expires: Option<Time>,
    /// How long it lives from its write on, if that is given instead of its end.
    pub ttl: Option<Duration>,
}

impl Given {
    /// A bare value of which nothing else is known.
    pub fn text(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            content_type: ContentType::default(),
            updated: None,
            created: None,
            modified: None,
            expires: None,
            ttl: None,
        }
    }

    /// The entry, with the revision it was written at. Its time to live is counted from there.
    #[must_use]
    pub fn at(self, revision: Revision) -> Entry {
        Entry {
            value: self.value,
            content_type: self.content_type,
            revision,
            created: self.created.unwrap_or_else(|| revision.time()),
            modified: self.modified,
            expires: self.ttl.map_or(self.expires, |ttl| Some(revision.time().plus(ttl))),
        }
    }
}

/// A line, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) key: Key,
    /// What it stores; none: it deletes.
    pub(super) given: Option<Given>,
    /// The revision of the write, if a comment tells it.
    pub(super) revision: Option<Revision>,
}

/// Appends the line of an entry, as it is added to a file. `revision` is that of the write, if it is not that of the entry.
pub(super) fn write(out: &mut Vec<u8>, key: &Key, entry: Option<&Entry>, revision: Option<Revision>) {
    write_key(out, key);
    match entry {
        Some(entry) => write_entry(out, entry, false),
        None => out.extend_from_slice(b": ~"),
    }
    if let Some(revision) = revision {
        push_time(out, " # ", revision.time());
    }
    out.push(b'\n');
}

/// Appends an entry as a person would write it: a text with line breaks over several lines, JSON as JSON, all else as
/// [`write`] does.
pub(super) fn write_at_rest(out: &mut Vec<u8>, key: &Key, entry: &Entry) {
    if !block::write(out, key, entry) {
        write_key(out, key);
        write_entry(out, entry, true);
        out.push(b'\n');
    }
}

fn write_key(out: &mut Vec<u8>, key: &Key) {
    let start = out.len();
    scalar::write(out, key.as_str());
    if out.len() - start > LONGEST_IMPLICIT_KEY {
        out.splice(start..start, *b"? ");
        out.push(b'\n');
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry, at_rest: bool) {
    match std::str::from_utf8(&entry.value) {
        Ok(text) if at_rest && entry.content_type.is_json() && json::is_embeddable(text) => {
            out.extend_from_slice(b": {json: ");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b", ");
            if entry.content_type.as_str() == ContentType::JSON {
                write_times(out, entry, "", ", ");
            } else {
                write_fields(out, entry, "", ", ");
            }
        }
        Ok(text) => {
            out.extend_from_slice(b": {value: ");
            scalar::write(out, text);
            out.extend_from_slice(b", ");
            write_fields(out, entry, "", ", ");
        }
        Err(_) => {
            out.extend_from_slice(b": {base64: ");
            scalar::write_quoted(out, &STANDARD.encode(&entry.value));
            out.extend_from_slice(b", ");
            write_fields(out, entry, "", ", ");
        }
    }
    out.truncate(out.len() - 2);
    out.push(b'}');
}

/// Appends the fields besides the value, each between these texts.
pub(super) fn write_fields(out: &mut Vec<u8>, entry: &Entry, before: &str, after: &str) {
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
    // Writing to a vector does not fail.
    let _ = write!(out, "{before}{time}");
}

/// Reads a line, without its line feed, as [`write`] writes it; none if it was not written so.
///
/// The explicit form of a long key takes two lines; give them with the line feed between them.
pub(super) fn read(line: &str) -> Option<Line> {
    let (key, rest) = if let Some(explicit) = line.strip_prefix("? ") {
        let (key, rest) = scalar::read(explicit)?;
        (key, rest.strip_prefix("\n: ")?)
    } else {
        let (key, rest) = scalar::read(line)?;
        if line.len() - rest.len() > LONGEST_IMPLICIT_KEY {
            return None;
        }
        (key, rest.strip_prefix(": ")?)
    };
    let key = Key::new(&key).ok()?;
    let (given, rest) = if let Some(rest) = rest.strip_prefix('~') {
        (None, rest)
    } else {
        let (given, rest) = read_entry(rest.strip_prefix('{')?)?;
        (Some(given), rest)
    };
    let revision = match rest.strip_prefix(" # ") {
        Some(comment) => Some(Revision::from(read_commit_time(comment)?)),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(Line { key, given, revision })
}

fn read_entry(text: &str) -> Option<(Given, &str)> {
    let (given, rest) = if let Some(text) = text.strip_prefix("value: ") {
        let (value, rest) = scalar::read(text)?;
        let bytes = match value {
            Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        (Given::text(bytes), rest)
    } else if let Some(text) = text.strip_prefix("json: ") {
        let (value, rest) = text.split_at_checked(json::end(text)?)?;
        let mut given = Given::text(Bytes::copy_from_slice(value.as_bytes()));
        given.content_type = ContentType::json();
        (given, rest)
    } else {
        let (value, rest) = scalar::read(text.strip_prefix("base64: ")?)?;
        (Given::text(STANDARD.decode(value.as_bytes()).ok()?), rest)
    };
    let mut given = given;
    let rest = read_fields(&mut given, rest.strip_prefix(", ")?, "", ',')?;
    Some((given, rest.strip_prefix('}')?))
}

/// Reads the fields besides the value as [`write_fields`] writes them: each after `before`, and with `end` behind it. A comma
/// has a space behind it, and none is needed behind the last one. Gives what follows.
pub(super) fn read_fields<'a>(given: &mut Given, text: &'a str, before: &str, end: char) -> Option<&'a str> {
    let mut rest = text;
    let mut field = |name: &str, read: &mut dyn FnMut(&'a str) -> Option<&'a str>| -> Option<bool> {
        let found = rest.strip_prefix(before).and_then(|text| text.strip_prefix(name)?.strip_prefix(": "));
        let Some(text) = found else { return Some(false) };
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
        given.content_type = ContentType::new(&kind).ok()?;
        Some(after)
    })?;
    let mut moment = |name: &str| -> Option<Option<Time>> {
        let mut found = None;
        field(name, &mut |text| {
            let at = memchr::memchr3(b',', b'}', b'\n', text.as_bytes())?;
            let (time, after) = text.split_at_checked(at)?;
            found = Some(read_time(time)?);
            Some(after)
        })?;
        Some(found)
    };
    given.updated = Some(moment("updated")?.filter(|time| *time <= Time::LATEST_COMMIT)?);
    given.created = moment("created")?;
    given.modified = moment("modified")?;
    given.expires = moment("expires")?;
    Some(rest)
}

/// The same for a commit time, which leaves room for later ones.
fn read_commit_time(text: &str) -> Option<Time> {
    read_time(text).filter(|time| *time <= Time::LATEST_COMMIT)
}

/// Reads a time of the form `2026-11-20T12:00:00[.123456789]Z` and no other.
fn read_time(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19)?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = head else {
        return None;
    };
    let number =
        |digits: &[u8]| digits.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')));
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match tail {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            (digits.len()..9).fold(number(digits)?, |n, _| n * 10)
        }
        _ => return None,
    };
    let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    // What lies outside the range is left to the careful reader and its error.
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
    i64::try_from(nanos).ok().map(Time::from_nanos)
}

/// Days from 1970-01-01 in the Gregorian calendar; counts years from March, so that the leap day is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests;
