//! Writing whole documents: the header of a file, and the document of a batch.

use super::line;
use super::stream::BYTE_ORDER_MARK;
use crate::model::{Bucket, Entry, Key, Revision, Time};

/// The beginning of the first line of a header.
const HEADER_PREFIX: &str = "# kvs bucket: ";

/// The text between the bucket and the revision in that line.
const AS_OF: &str = ", as of ";

/// The second line of a header.
const NOTICE: &str = "# You may edit this file: kvs keeps your comments, your order and your spelling.";

/// The revision in the header of earlier versions, on a line of its own.
const OLD_REVISION_PREFIX: &str = "# revision: ";

/// The mark that ends a document.
pub(crate) const END_MARK: &str = "...\n";

/// The header of a file: its bucket, its last revision, and that a person may edit it.
pub(crate) fn header(bucket: &Bucket, revision: Revision) -> String {
    let as_of = if revision > Revision::ZERO { format!("{AS_OF}{}", revision.time()) } else { String::new() };
    format!("{HEADER_PREFIX}{bucket}{as_of}\n{NOTICE}\n")
}

/// The length in bytes and the revision of the header at the start of a text, if kvs wrote one.
pub(crate) fn read_header(text: &str) -> Option<(usize, Revision)> {
    let (mut len, mut revision) = (0, Revision::ZERO);
    for (n, line) in text.split_inclusive('\n').take(3).enumerate() {
        let revision_here = match line.trim_end().strip_prefix(HEADER_PREFIX) {
            Some(name) if n == 0 => name.split_once(AS_OF).map(|(_, time)| time),
            None if n == 0 => return None,
            _ => match line.trim_end().strip_prefix(OLD_REVISION_PREFIX) {
                Some(time) => Some(time),
                None if line.trim_end() == NOTICE => None,
                None => break,
            },
        };
        len += line.len();
        let revision_here = revision_here.and_then(|time| time.trim().parse::<Time>().ok());
        revision =
            revision.max(revision_here.filter(|time| *time <= Time::LATEST_COMMIT).map(Into::into).unwrap_or_default());
    }
    Some((len, revision))
}

/// The revision in the header of a file: that of the last write before the file was last rewritten.
pub(crate) fn header_revision(bytes: &[u8]) -> Revision {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let head = String::from_utf8_lossy(text.get(..text.len().min(1024)).unwrap_or_default());
    read_header(&head).map(|(_, revision)| revision).unwrap_or_default()
}

/// Appends a document with these changes, at most one for each key.
pub(crate) fn document<'a>(
    text: &mut Vec<u8>,
    lines: impl Iterator<Item = (&'a Key, Option<&'a Entry>, Option<Revision>)>,
) {
    text.extend_from_slice(b"---\n");
    for (key, entry, revision) in lines {
        line::write(text, key, entry, revision);
    }
    text.extend_from_slice(END_MARK.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_this_and_earlier_versions_are_read_back() {
        let revision = Revision::from("2026-11-20T12:00:05Z".parse::<Time>().unwrap());
        for (text, revision_here) in [
            (header(&Bucket::default(), revision), revision),
            (header(&Bucket::default(), Revision::ZERO), Revision::ZERO),
            ("# kvs bucket: default\n# revision: 2026-11-20T12:00:05Z\n".into(), revision),
            ("# kvs bucket: default\r\n".into(), Revision::ZERO),
            ("# kvs bucket: default, as of yesterday\n".into(), Revision::ZERO),
        ] {
            assert_eq!(read_header(&format!("{text}# mine\na: 1\n")), Some((text.len(), revision_here)), "{text}");
        }
        assert_eq!(read_header("# mine\n# kvs bucket: default\n"), None);
    }
}
