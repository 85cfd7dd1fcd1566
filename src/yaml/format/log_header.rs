//! The lines of a log file before its entries: its key, its first index and its retention.

use std::time::Duration;

use super::scalar;
use crate::model::{Key, Retention, parse_span};

/// The header is at most this long: the longest key needs six bytes for each of its bytes.
pub(crate) const MAX_HEADER_BYTES: u64 = 8 << 10;

const COMMENT: &str =
    "# A log of kvs, which appends to it. Read it with any program; edit it only while kvs is stopped.";

/// The line before the entries.
const ENTRIES: &str = "entries:";

/// The header of a log file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogHeader {
    pub(crate) key: Key,
    /// No entry before this index is in the log.
    pub(crate) first: u64,
    pub(crate) retention: Retention,
}

/// Appends a header.
pub(crate) fn write(out: &mut Vec<u8>, header: &LogHeader) {
    let mut line = |name: &str, value: &str| out.extend_from_slice(format!("{name}{value}\n").as_bytes());
    let mut key = Vec::new();
    scalar::write(&mut key, header.key.as_str());
    line(COMMENT, "");
    line("key: ", &String::from_utf8_lossy(&key));
    if header.first > 0 {
        line("first: ", &header.first.to_string());
    }
    if let Some(number) = header.retention.max_entries {
        line("keep: ", &number.to_string());
    }
    if let Some(age) = header.retention.max_age {
        line("keep_for: ", &span(age));
    }
    line(ENTRIES, "");
}

/// A span of time in seconds or, if it is no whole number of them, in milliseconds.
pub(crate) fn span(span: Duration) -> String {
    if span.subsec_millis() == 0 { format!("{}s", span.as_secs()) } else { format!("{}ms", span.as_millis()) }
}

/// Reads the header at the begin of a file, and returns it with its length. `None` if there is no whole header.
pub(crate) fn read(bytes: &[u8]) -> Option<(LogHeader, u64)> {
    let (mut key, mut first, mut retention) = (None, 0, Retention::default());
    let mut length = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        length += line.len() as u64;
        // A person may have removed the last line feed of a log without entries.
        let is_ended = line.ends_with(b"\n");
        let line = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !is_ended && line != ENTRIES {
            return None;
        }
        match line.split_once(": ") {
            _ if line.trim_end() == ENTRIES => return Some((LogHeader { key: key?, first, retention }, length)),
            _ if line.trim_start().starts_with('#') || line.trim().is_empty() => {}
            Some(("key", text)) => {
                let (text, _) = scalar::read(text.trim()).filter(|(_, rest)| rest.is_empty())?;
                key = Some(Key::new(&text).ok()?);
            }
            Some(("first", text)) => first = text.trim().parse().ok().filter(|first| *first < u64::MAX)?,
            Some(("keep", text)) => retention.max_entries = Some(text.trim().parse().ok()?),
            Some(("keep_for", text)) => retention.max_age = Some(parse_span(text).ok()?),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back() {
        let headers = [
            LogHeader { key: Key::new("kitchen/temp").unwrap(), first: 0, retention: Retention::default() },
            LogHeader {
                key: Key::new("# \u{2028}: \u{feff}").unwrap(),
                first: 7,
                retention: Retention { max_entries: Some(9), max_age: Some(Duration::from_millis(1_500)) },
            },
        ];
        for header in headers {
            let mut text = Vec::new();
            write(&mut text, &header);
            let length = text.len();
            for end in 0..length - 1 {
                assert_eq!(read(&text[..end]), None);
            }
            assert_eq!(read(&text[..length - 1]), Some((header.clone(), length as u64 - 1)));
            text.extend_from_slice(b"- {index: 0, value: a, updated: 2026-11-28T12:00:00Z}\n");
            assert_eq!(read(&text), Some((header, length as u64)));
            let yaml: serde_yaml::Value = serde_yaml::from_slice(&text).unwrap();
            assert_eq!(yaml["entries"][0]["value"], "a");
        }
        assert!(read("key: a\nunknown: 1\nentries:\n".as_bytes()).is_none());
        let longest = LogHeader {
            key: Key::new(&"\u{ad}".repeat(Key::MAX_BYTES / 2)).unwrap(),
            first: 0,
            retention: Retention::default(),
        };
        let mut text = Vec::new();
        write(&mut text, &longest);
        assert!(text.len() as u64 + 100 < MAX_HEADER_BYTES);
    }
}
