//! Whole documents as they are written: the header of a file, and the document of a transaction.

use super::line;
use crate::model::{Bucket, Entry, Key, Revision, Time};

/// How the first line of a header begins.
const NAME: &str = "# kvs bucket: ";

/// What separates the bucket from the revision there.
const AS_OF: &str = ", as of ";

/// The second line of a header.
const NOTE: &str = "# You may edit this file: kvs keeps your comments, your order and your spelling.";

/// How earlier programs told the revision, on a line of its own.
const REVISION: &str = "# revision: ";

/// The mark that ends a document.
pub(super) const MARK: &str = "...\n";

/// The header of a file: what it is, its last revision, and that a person may edit it.
pub(super) fn header(bucket: &Bucket, revision: Revision) -> String {
    let as_of = if revision > Revision::ZERO { format!("{AS_OF}{}", revision.time()) } else { String::new() };
    format!("{NAME}{bucket}{as_of}\n{NOTE}\n")
}

/// The header that a text begins with, if it has one of kvs: how many bytes it has, and the revision that it tells.
pub(super) fn read_header(text: &str) -> Option<(usize, Revision)> {
    let (mut len, mut revision) = (0, Revision::ZERO);
    for (n, line) in text.split_inclusive('\n').take(3).enumerate() {
        let told = match line.trim_end().strip_prefix(NAME) {
            Some(name) if n == 0 => name.split_once(AS_OF).map(|(_, time)| time),
            None if n == 0 => return None,
            _ => match line.trim_end().strip_prefix(REVISION) {
                Some(time) => Some(time),
                None if line.trim_end() == NOTE => None,
                None => break,
            },
        };
        len += line.len();
        let told = told.and_then(|time| time.trim().parse::<Time>().ok());
        revision = revision.max(told.filter(|time| *time <= Time::LATEST_COMMIT).map(Into::into).unwrap_or_default());
    }
    Some((len, revision))
}

/// Appends a document: these changes, at most one of each key.
pub(super) fn document<'a>(
    text: &mut Vec<u8>,
    lines: impl Iterator<Item = (&'a Key, Option<&'a Entry>, Option<Revision>)>,
) {
    text.extend_from_slice(b"---\n");
    for (key, entry, revision) in lines {
        line::write(text, key, entry, revision);
    }
    text.extend_from_slice(MARK.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_so_is_that_of_earlier_programs() {
        let revision = Revision::from("2026-11-20T12:00:05Z".parse::<Time>().unwrap());
        for (text, told) in [
            (header(&Bucket::default(), revision), revision),
            (header(&Bucket::default(), Revision::ZERO), Revision::ZERO),
            ("# kvs bucket: default\n# revision: 2026-11-20T12:00:05Z\n".into(), revision),
            ("# kvs bucket: default\r\n".into(), Revision::ZERO),
            ("# kvs bucket: default, as of yesterday\n".into(), Revision::ZERO),
        ] {
            assert_eq!(read_header(&format!("{text}# mine\na: 1\n")), Some((text.len(), told)), "{text}");
        }
        assert_eq!(read_header("# mine\n# kvs bucket: default\n"), None);
    }
}
