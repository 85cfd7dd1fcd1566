//! An entry of a log on one line: `- {index: 7, value: "21.5", updated: 2026-11-29T12:00:00Z}`.
//!
//! If the next line belongs to the same append, the line has the field `continues`. So an append that was written only
//! in part can be recognized. The field is before the value, so that a part of such a line is not taken for a whole
//! append.

use super::line;
use crate::model::{Entry, LogEntry, Revision};

/// The field of a line if the next one belongs to the same append.
const CONTINUES: &str = "continues: true, ";

/// A line of a log file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogLine {
    pub(crate) entry: LogEntry,
    /// Whether the next line belongs to the same append.
    pub(crate) continues: bool,
}

/// Appends the lines of an append.
pub(crate) fn write_all(out: &mut Vec<u8>, entries: &[LogEntry]) {
    for (number, entry) in entries.iter().enumerate() {
        write(out, entry, number + 1 < entries.len());
    }
}

fn write(out: &mut Vec<u8>, entry: &LogEntry, continues: bool) {
    let LogEntry { index, value, content_type, updated } = entry.clone();
    let entry = Entry {
        value,
        content_type,
        revision: Revision::from(updated),
        created: updated,
        modified: None,
        expires: None,
    };
    let continues = if continues { CONTINUES } else { "" };
    out.extend_from_slice(format!("- {{index: {index}, {continues}").as_bytes());
    line::write_entry(out, &entry, true);
    out.push(b'\n');
}

/// Reads a line in the form of [`write_all`], without its line feed; `None` for any other text.
pub(crate) fn read(text: &str) -> Option<LogLine> {
    let (index, rest) = read_index(text)?;
    let (continues, rest) = rest.strip_prefix(CONTINUES).map_or((false, rest), |rest| (true, rest));
    let (parsed, rest) = line::read_entry(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let entry = LogEntry { index, value: parsed.value, content_type: parsed.content_type, updated: parsed.updated? };
    Some(LogLine { entry, continues })
}

/// The index at the begin of a line, and the rest.
fn read_index(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.strip_prefix("- {index: ")?.split_once(", ")?;
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    // After the greatest number there would be no next index.
    Some((digits.parse().ok().filter(|index| is_number && *index < u64::MAX)?, rest))
}

/// Whether a line has no entry: it is empty or a comment.
pub(crate) fn is_empty(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty() || text.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Time};

    fn entry(index: u64, value: &'static [u8], content_type: &str) -> LogEntry {
        let content_type = ContentType::new(content_type).unwrap();
        LogEntry { index, value: value.into(), content_type, updated: Time::from_secs(1_795_867_200) }
    }

    #[test]
    fn lines_are_read_back_and_are_yaml() {
        let entries = [
            entry(0, b"21.5", ContentType::TEXT),
            entry(1, b"a\nb, continues: true, ", "text/csv"),
            entry(2, b"{\"a\": 1.50}", ContentType::JSON),
            entry(3, b"\xff\0", "image/png"),
        ];
        let mut text = Vec::new();
        write_all(&mut text, &entries);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<LogLine> = text.lines().map(|line| read(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line.continues).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(lines.into_iter().map(|line| line.entry).collect::<Vec<_>>(), entries);
        let yaml: Vec<serde_yaml::Value> = serde_yaml::from_str(&text).unwrap();
        assert_eq!(yaml[0]["value"], "21.5");
        assert_eq!(yaml[2]["json"]["a"], serde_yaml::from_str::<serde_yaml::Value>("1.50").unwrap());
        assert!(
            text.starts_with("- {index: 0, continues: true, value: \"21.5\", updated: 2026-11-28T12:00:00Z}\n"),
            "{text}"
        );
    }

    #[test]
    fn no_part_of_a_line_is_a_line() {
        let mut text = Vec::new();
        write_all(&mut text, &[entry(12, b"some text", "text/csv"), entry(13, b"x", ContentType::TEXT)]);
        let text = String::from_utf8(text).unwrap();
        let first = text.lines().next().unwrap();
        for end in 0..first.len() {
            assert_eq!(read(&first[..end]), None, "{}", &first[..end]);
        }
        assert_eq!(read(&first.replace("some", "so\0e")), None);
        for index in ["+1", "18446744073709551615", "18446744073709551616"] {
            assert_eq!(read(&format!("- {{index: {index}, value: a, updated: 2026-11-28T12:00:00Z}}")), None);
        }
    }
}
