//! The copy of a bucket as kvs last left it: the file `<bucket>.yaml.last`.
//!
//! It says what was good when the data file is damaged, and what a person changed when it is edited. It has the format of a
//! data file: a snapshot, to which each write is appended. An append to it is never synced, and it is made durable
//! only if it alone has the revisions of what a person wrote: one that is missing or incomplete costs nothing that was
//! acknowledged.

use super::disk::Stat;
use super::document::MARK;
use super::image::{Image, Unstamped};
use super::line;
use super::reader::read;
use super::rest;
use super::stream::cut;
use crate::model::{Bucket, Key, Revision, Time};

const OF: &str = "# of: ";
const AS_OF: &str = "# revision: ";
const BY_HAND: &str = "# by hand: ";

/// What tells a data file from another: its length, and a digest of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint {
    pub(super) len: u64,
    digest: String,
}

impl Fingerprint {
    pub(super) fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(bytes);
        Self { len: bytes.len() as u64, digest: format!("{digest:x}") }
    }

    /// The same of a file whose bytes are not looked at: its number and the time of its change.
    pub(super) fn of_file(bytes: Option<&[u8]>, stat: &Stat) -> Self {
        let by_stat = || Self { len: stat.len, digest: format!("inode={},modified={}", stat.inode, stat.modified) };
        bytes.map_or_else(by_stat, Self::of)
    }

    pub(super) fn text(&self) -> String {
        format!("{} {}", self.len, self.digest)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (len, digest) = text.split_once(' ')?;
        Some(Self { len: len.parse().ok()?, digest: digest.to_owned() })
    }
}

/// The copy, read.
#[derive(Debug)]
pub(super) struct Last {
    /// What it holds, with all that was appended.
    pub(super) image: Image,
    /// The data file as it was when the snapshot was written.
    of: Fingerprint,
    /// What was appended to both since.
    appended: Vec<u8>,
}

/// How a data file relates to the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// The copy says what the file holds.
    Same,
    /// Writes were appended from this offset on that the copy does not have.
    Behind(usize),
    /// Somebody else changed the file.
    Other,
}

/// The text of a copy of this image, which the data file with this fingerprint holds.
pub(super) fn write(bucket: &Bucket, image: &Image, of: &Fingerprint) -> Vec<u8> {
    let mut text = format!(
        "# kvs bucket: {bucket}, a copy that kvs keeps for itself. You may remove this file, but do not edit it.\n"
    );
    text += &format!("{OF}{}\n{AS_OF}{}\n", of.text(), image.revision.time());
    if !image.by_hand.is_empty() {
        let keys: Vec<&str> = image.by_hand.iter().map(Key::as_str).collect();
        text += &format!("{BY_HAND}{}\n", serde_json::to_string(&keys).unwrap_or_default());
    }
    let mut text = text.into_bytes();
    for (key, entry) in &image.entries {
        line::write(&mut text, key, Some(entry), None);
    }
    text.extend_from_slice(MARK.as_bytes());
    text
}

impl Last {
    /// Reads a copy. None if it is not whole, or not as kvs wrote it.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let cut = cut(bytes, true);
        let (first, appended) = cut.pieces.split_first()?;
        let (mut of, mut revision, mut by_hand) = (None, None, Vec::new());
        for line in std::str::from_utf8(first.text).ok()?.lines().take_while(|line| line.starts_with('#')) {
            if let Some(text) = line.strip_prefix(OF) {
                of = Fingerprint::parse(text);
            } else if let Some(text) = line.strip_prefix(AS_OF) {
                revision = Some(Revision::from(text.parse::<Time>().ok()?));
            } else if let Some(text) = line.strip_prefix(BY_HAND) {
                by_hand = serde_json::from_str::<Vec<String>>(text).ok()?;
            }
        }
        let mut image = Image { revision: revision?, ..Image::default() };
        let mut unstamped = Unstamped::default();
        for (n, piece) in cut.pieces.iter().enumerate() {
            let document = read(piece).ok().filter(|document| piece.ended && !document.by_hand)?;
            image.take(document.lines, &mut unstamped);
            if n == 0 {
                image.by_hand = by_hand.iter().map(|key| Key::new(key)).collect::<Result<_, _>>().ok()?;
            }
        }
        let appended = bytes.get(first.end..appended.last().map_or(first.end, |last| last.end))?.to_vec();
        Some(Self { image, of: of?, appended })
    }

    /// How the data file with these bytes relates to it.
    pub(super) fn relation(&self, data: &[u8]) -> Relation {
        let Some((before, added)) = usize::try_from(self.of.len).ok().and_then(|len| data.split_at_checked(len)) else {
            return Relation::Other;
        };
        if Fingerprint::of(before) != self.of {
            return Relation::Other;
        }
        let mark = rest::mark(before);
        let unmarked = added.strip_prefix(mark).unwrap_or(added);
        match unmarked.strip_prefix(self.appended.as_slice()) {
            Some(b"") => Relation::Same,
            Some(more)
                if more.starts_with(b"---\n")
                    && (unmarked.len() < added.len() || before.ends_with(MARK.as_bytes())) =>
            {
                Relation::Behind(data.len() - more.len())
            }
            _ => Relation::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Given;
    use super::*;

    #[test]
    fn a_copy_says_what_was_written_and_what_of() {
        let bucket = Bucket::default();
        let mut image = Image { revision: Revision::new(9), ..Image::default() };
        image.entries.insert(Key::new("a").unwrap(), Given::text("1").at(Revision::new(5)));
        image.by_hand.insert(Key::new("a").unwrap());
        let data = b"# mine\na: 1\n";
        let mut text = write(&bucket, &image, &Fingerprint::of(data));
        let last = Last::read(&text).unwrap();
        assert_eq!((&last.image.entries, last.image.revision), (&image.entries, image.revision));
        assert_eq!(last.image.by_hand, image.by_hand);
        assert_eq!(last.relation(data), Relation::Same);
        assert_eq!(last.relation(b"# mine\na: 1\nb: 2\n"), Relation::Other);
        assert_eq!(last.relation(b"# mine\na: 2\n"), Relation::Other);
        assert_eq!(last.relation(b""), Relation::Other);
        let append = b"---\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n...\n";
        let data = [data, b"...\n".as_slice(), append].concat();
        assert_eq!(last.relation(&data), Relation::Behind(16));
        text.extend_from_slice(append);
        let last = Last::read(&text).unwrap();
        assert_eq!((last.relation(&data), last.image.entries.len()), (Relation::Same, 2));
        assert_eq!(last.relation(b"# mine\na: 1\n"), Relation::Other, "writes are gone");
        text.extend_from_slice(b"---\nc: {val");
        assert_eq!(Last::read(&text).unwrap().image.entries.len(), 2);
    }

    #[test]
    fn a_copy_that_is_not_whole_is_none() {
        let image = Image { revision: Revision::new(9), ..Image::default() };
        let text = write(&Bucket::default(), &image, &Fingerprint::of(b"x"));
        assert!(Last::read(&text).is_some());
        for len in 0..text.len() - 1 {
            assert!(Last::read(&text[..len]).is_none(), "{len}");
        }
        assert!(Last::read(&vec![0; text.len()]).is_none());
        assert!(Last::read(b"a: 1\n").is_none());
    }
}
