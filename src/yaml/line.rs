//! One entry, one line: writing it, and reading back fast exactly what was written so.
//!
//! `key: {value: "21.5", updated: 2026-11-20T12:00:00Z}` stores, `key: ~ # 2026-11-20T12:01:00Z` deletes. A comment at the
//! end is the revision of the write, where `updated` does not tell it. A line in any other form is left to
//! [`hand`](super::hand).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::scalar;
use crate::model::{ContentType, Entry, Key, Revision, Time};

/// YAML allows a key of at most 1024 characters before `: `; a longer one takes the explicit form `? key`.
const LONGEST_IMPLICIT_KEY: usize = 1024;

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
        }
    }

    /// The entry, with the revision it was written at.
    #[must_use]
    pub fn at(self, revision: Revision) -> Entry {
        Entry {
            value: self.value,
            content_type: self.content_type,
            revision,
            created: self.created.unwrap_or_else(|| revision.time()),
            modified: self.modified,
            expires: self.expires,
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

/// Appends the line of an entry. `revision` is that of the write, if it is not that of the entry.
pub(super) fn write(out: &mut Vec<u8>, key: &Key, entry: Option<&Entry>, revision: Option<Revision>) {
    let start = out.len();
    scalar::write(out, key.as_str());
    if out.len() - start > LONGEST_IMPLICIT_KEY {
        out.splice(start..start, *b"? ");
        out.push(b'\n');
    }
    match entry {
        Some(entry) => write_entry(out, entry),
        None => out.extend_from_slice(b": ~"),
    }
    if let Some(revision) = revision {
        push_time(out, " # ", revision.time());
    }
    out.push(b'\n');
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    if let Ok(text) = std::str::from_utf8(&entry.value) {
        out.extend_from_slice(b": {value: ");
        scalar::write(out, text);
    } else {
        out.extend_from_slice(b": {base64: ");
        scalar::write_quoted(out, &STANDARD.encode(&entry.value));
    }
    if !entry.content_type.is_default() {
        out.extend_from_slice(b", type: ");
        scalar::write(out, entry.content_type.as_str());
    }
    push_time(out, ", updated: ", entry.updated());
    if entry.created != entry.updated() {
        push_time(out, ", created: ", entry.created);
    }
    if let Some(time) = entry.modified {
        push_time(out, ", modified: ", time);
    }
    if let Some(time) = entry.expires {
        push_time(out, ", expires: ", time);
    }
    out.push(b'}');
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
    let (value, mut rest) = if let Some(text) = text.strip_prefix("value: ") {
        let (value, rest) = scalar::read(text)?;
        let bytes = match value {
            Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        (bytes, rest)
    } else {
        let (value, rest) = scalar::read(text.strip_prefix("base64: ")?)?;
        (Bytes::from(STANDARD.decode(value.as_bytes()).ok()?), rest)
    };
    let mut given = Given::text(value);
    if let Some(text) = rest.strip_prefix(", type: ") {
        let (kind, after) = scalar::read(text)?;
        given.content_type = ContentType::new(&kind).ok()?;
        rest = after;
    }
    let mut moment = |name: &str| -> Option<Option<Time>> {
        let Some(text) = rest.strip_prefix(name) else { return Some(None) };
        let end = memchr::memchr2(b',', b'}', text.as_bytes())?;
        let (time, after) = text.split_at_checked(end)?;
        rest = after;
        Some(Some(read_time(time)?))
    };
    given.updated = Some(moment(", updated: ")??).filter(|time| *time <= Time::LATEST_COMMIT);
    given.updated?;
    given.created = moment(", created: ")?;
    given.modified = moment(", modified: ")?;
    given.expires = moment(", expires: ")?;
    Some((given, rest.strip_prefix('}')?))
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(key: &Key, entry: Option<&Entry>, revision: Option<Revision>) -> String {
        let mut out = Vec::new();
        write(&mut out, key, entry, revision);
        String::from_utf8(out).unwrap()
    }

    fn times() -> impl Strategy<Value = Time> {
        (0..=Time::LATEST_COMMIT.nanos()).prop_map(Time::from_nanos)
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let value = prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()];
        let option = || proptest::option::of(times());
        (value, times(), times(), option(), option(), "(a/b|text/html; x=\"1\"|image/png)").prop_map(
            |(value, updated, created, modified, expires, kind): (Vec<u8>, Time, Time, _, _, String)| Entry {
                value: value.into(),
                content_type: ContentType::new(&kind).unwrap(),
                revision: updated.into(),
                created,
                modified,
                expires,
            },
        )
    }

    #[test]
    fn lines_look_as_the_format_has_them() {
        let key = Key::new("kitchen/temp").unwrap();
        let time: Time = "2026-11-20T12:00:00.123456789Z".parse().unwrap();
        let entry = Given::text("21.5").at(time.into());
        assert_eq!(
            written(&key, Some(&entry), None),
            "kitchen/temp: {value: \"21.5\", updated: 2026-11-20T12:00:00.123456789Z}\n"
        );
        assert_eq!(written(&key, None, Some(time.into())), "kitchen/temp: ~ # 2026-11-20T12:00:00.123456789Z\n");
    }

    #[test]
    fn other_forms_are_left_to_the_careful_reader() {
        for line in [
            "a: 1",
            "a: {value: 1, updated: 2026-11-20T12:00:00Z}",
            "a: {value: yes, updated: 2026-11-20T12:00:00Z}",
            "a: {value: x}",
            "a: {value: x, updated: 2026-11-20T12:00:00Z} ",
            "a: {value: x, updated: 2026-02-29T12:00:00Z}",
            "a: {value: x, updated: 2026-11-20T12:00:00Z, expires: 2026-11-20T12:00:00Z, created: 2026-11-20T12:00:00Z}",
            "a : ~",
            "a: ~ # soon",
            "\"a\\x41\": ~",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back(key in "\\PC{1,40}", entry in entries(), revision in proptest::option::of(times())) {
            prop_assume!(Key::new(&key).is_ok());
            let key = Key::new(&key).unwrap();
            let revision = revision.map(Revision::from);
            let text = written(&key, Some(&entry), revision);
            let line = read(text.strip_suffix('\n').unwrap()).unwrap();
            prop_assert_eq!(&line.key, &key);
            prop_assert_eq!(line.revision, revision);
            let given = line.given.unwrap();
            let updated = given.updated.unwrap();
            prop_assert_eq!(given.at(updated.into()), entry);
        }

        #[test]
        fn serde_yaml_finds_the_same(key in "\\PC{1,40}", entry in entries()) {
            prop_assume!(Key::new(&key).is_ok());
            let text = written(&Key::new(&key).unwrap(), Some(&entry), None);
            let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
            let fields = other.get(&key).unwrap();
            let value = match fields.get("value") {
                Some(value) => value.as_str().unwrap().as_bytes().to_vec(),
                None => STANDARD.decode(fields.get("base64").unwrap().as_str().unwrap()).unwrap(),
            };
            prop_assert_eq!(&value, &entry.value);
            prop_assert_eq!(fields.get("updated").unwrap().as_str().unwrap(), entry.updated().to_string());
        }

        #[test]
        fn times_are_read_as_the_careful_reader_does(nanos in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)]) {
            let time = Time::from_nanos(nanos);
            prop_assert_eq!(read_time(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn a_long_key_takes_the_explicit_form() {
        let key = Key::new(&"\u{feff}".repeat(340)).unwrap();
        let entry = Given::text("x").at(Revision::new(5));
        let text = written(&key, Some(&entry), None);
        assert!(text.starts_with("? \""), "{text}");
        assert_eq!(read(text.strip_suffix('\n').unwrap()).unwrap().key, key);
        let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        assert!(other.get(key.as_str()).is_some());
    }
}
