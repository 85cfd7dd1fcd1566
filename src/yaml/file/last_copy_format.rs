//! The format of the last copy of a bucket, `<bucket>.yaml.last`: the bucket as kvs last left it.
//!
//! It has the last good state if the data file is corrupt, and shows what a person changed in an edit. It has the
//! format of a data file: a snapshot, to which each write is appended. Appends are not synced. The snapshot is durable
//! only if it alone has the revisions of entries that a person wrote. So if a copy is missing or incomplete, nothing
//! acknowledged is lost.

use crate::model::{Bucket, Key, Revision, Time};
use crate::yaml::format::document::END_MARK;
use crate::yaml::format::parsed::ParsedLine;
use crate::yaml::format::reader::read;
use crate::yaml::format::stream::{RawDocument, split};
use crate::yaml::format::{at_rest, line};
use crate::yaml::fs::Stat;
use crate::yaml::state::{BucketState, Unstamped};

const DATA_FILE_FIELD: &str = "# of: ";
const REVISION_FIELD: &str = "# revision: ";
const BY_HAND_FIELD: &str = "# by hand: ";

/// Identifies the content of a data file by its length and a digest of its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint {
    pub(crate) len: u64,
    digest: String,
}

impl Fingerprint {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(bytes);
        Self { len: bytes.len() as u64, digest: format!("{digest:x}") }
    }

    /// Identifies a file by its inode and the time of its last change if `bytes` is none.
    pub(crate) fn of_file(bytes: Option<&[u8]>, stat: &Stat) -> Self {
        let by_stat = || Self { len: stat.len, digest: format!("inode={},modified={}", stat.inode, stat.modified) };
        bytes.map_or_else(by_stat, Self::of)
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.len, self.digest)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (len, digest) = text.split_once(' ')?;
        Some(Self { len: len.parse().ok()?, digest: digest.to_owned() })
    }
}

#[derive(Debug)]
pub(crate) struct LastCopy {
    /// The state in it, with all that was appended.
    pub(crate) state: BucketState,
    /// The data file when the snapshot was written.
    of: Fingerprint,
    /// The bytes that were appended to both since.
    appended: Vec<u8>,
}

/// How a data file relates to the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relation {
    /// Both hold the same.
    Same,
    /// From this offset on the data file has appended writes that the copy does not have.
    Appended(usize),
    /// Somebody else changed the file.
    Other,
}

/// The text of a copy of this state, which the data file with this fingerprint holds.
pub(crate) fn write(bucket: &Bucket, state: &BucketState, of: &Fingerprint) -> Vec<u8> {
    let mut text = format!(
        "# kvs bucket: {bucket}, a copy that kvs keeps for itself. You may remove this file, but do not edit it.\n"
    );
    text += &format!("{DATA_FILE_FIELD}{}\n{REVISION_FIELD}{}\n", of.text(), state.revision.time());
    if !state.by_hand.is_empty() {
        let keys: Vec<&str> = state.by_hand.iter().map(Key::as_str).collect();
        text += &format!("{BY_HAND_FIELD}{}\n", serde_json::to_string(&keys).unwrap_or_default());
    }
    let mut text = text.into_bytes();
    for view in state.entries.iter() {
        let (key, entry) = view.to_pair();
        line::write(&mut text, &key, Some(&entry), None);
    }
    text.extend_from_slice(END_MARK.as_bytes());
    text
}

/// A copy does not show the entry of a key without being read as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unclear;

/// A copy whose entries are not parsed.
pub(crate) struct RawCopy<'a> {
    bytes: &'a [u8],
    documents: Vec<RawDocument<'a>>,
    of: Fingerprint,
    revision: Revision,
    by_hand: Vec<Key>,
    /// What was appended to it.
    appended: &'a [u8],
}

impl<'a> RawCopy<'a> {
    /// Splits a copy. `None` if it is incomplete or was not written by kvs.
    pub(crate) fn split(bytes: &'a [u8]) -> Option<Self> {
        let mut documents = split(bytes).documents;
        // The last append may lack its last byte after a power cut. What is appended next would not begin a line.
        let is_whole = |raw: &RawDocument<'_>| bytes.get(..raw.end).is_some_and(|bytes| bytes.ends_with(b"\n"));
        if documents.len() > 1 && !documents.last().is_some_and(is_whole) {
            documents.pop();
        }
        let first = documents.first()?;
        let end = documents.last()?.end;
        let (snapshot, bytes) = (bytes.get(..first.end)?, bytes.get(..end)?);
        // The end mark of the snapshot, and that of the last append; no bytes that did not reach the disk.
        let is_complete =
            snapshot.ends_with(b"\n...\n") && documents.last()?.ended && memchr::memchr(0, bytes).is_none();
        if !is_complete {
            return None;
        }
        let (mut of, mut revision, mut by_hand) = (None, None, Vec::new());
        for line in std::str::from_utf8(first.text).ok()?.lines().take_while(|line| line.starts_with('#')) {
            if let Some(text) = line.strip_prefix(DATA_FILE_FIELD) {
                of = Fingerprint::parse(text);
            } else if let Some(text) = line.strip_prefix(REVISION_FIELD) {
                revision = Some(Revision::from(text.parse::<Time>().ok()?));
            } else if let Some(text) = line.strip_prefix(BY_HAND_FIELD) {
                by_hand = serde_json::from_str::<Vec<String>>(text).ok()?;
            }
        }
        Some(Self {
            bytes,
            appended: bytes.get(first.end..)?,
            of: of?,
            revision: revision?,
            by_hand: by_hand.iter().map(|key| Key::new(key)).collect::<Result<_, _>>().ok()?,
            documents,
        })
    }

    /// The revision of the bucket. `None` if kvs has not written the last append.
    pub(crate) fn revision(&self) -> Option<Revision> {
        let last = self.documents.last().filter(|_| !self.appended.is_empty());
        let written = last.map_or(Some(Revision::ZERO), |raw| {
            let document = read(raw).ok().filter(|document| !document.by_hand)?;
            document.lines.iter().map(ParsedLine::revision_reached).max()
        })?;
        Some(self.revision.max(written))
    }

    /// The last line of a key, without reading the others.
    ///
    /// # Errors
    /// The key takes two lines, or kvs has not written its line.
    pub(crate) fn last_line(&self, key: &Key) -> Result<Option<ParsedLine>, Unclear> {
        // Values are on the lines of their keys, so a line that begins so is one of this key.
        let mut begin = vec![b'\n'];
        line::write_key(&mut begin, key);
        begin.extend_from_slice(b": ");
        if begin.starts_with(b"\n? ") {
            return Err(Unclear);
        }
        let Some(at) = memchr::memmem::rfind(self.bytes, &begin) else { return Ok(None) };
        let text = self.bytes.get(at + 1..).unwrap_or_default();
        let text = memchr::memchr(b'\n', text).and_then(|end| text.get(..end)).unwrap_or_default();
        let line = std::str::from_utf8(text).ok().and_then(line::read).filter(|line| line.key == *key);
        line.map(Some).ok_or(Unclear)
    }

    /// How the data file with these bytes relates to the copy.
    pub(crate) fn relation(&self, data: &[u8]) -> Relation {
        relation(&self.of, self.appended, data)
    }
}

impl LastCopy {
    /// Parses a copy. `None` if it is incomplete or was not written by kvs.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let raw = RawCopy::split(bytes)?;
        let mut state = BucketState { revision: raw.revision, ..BucketState::default() };
        let mut unstamped = Unstamped::default();
        for (n, document) in raw.documents.iter().enumerate() {
            let read = read(document).ok().filter(|read| !read.by_hand)?;
            state.apply(read, &mut unstamped);
            if n == 0 {
                state.by_hand = raw.by_hand.iter().cloned().collect();
            }
        }
        Some(Self { state, of: raw.of, appended: raw.appended.to_vec() })
    }

    /// How the data file with these bytes relates to the copy.
    pub(crate) fn relation(&self, data: &[u8]) -> Relation {
        relation(&self.of, &self.appended, data)
    }
}

/// How the data file with these bytes relates to a copy of `of`, to which `appended` was appended.
fn relation(of: &Fingerprint, appended: &[u8], data: &[u8]) -> Relation {
    let Some((before, added)) = usize::try_from(of.len).ok().and_then(|len| data.split_at_checked(len)) else {
        return Relation::Other;
    };
    if Fingerprint::of(before) != *of {
        return Relation::Other;
    }
    let mark = at_rest::mark(before);
    let unmarked = added.strip_prefix(mark).unwrap_or(added);
    match unmarked.strip_prefix(appended) {
        Some(b"") => Relation::Same,
        Some(more)
            if more.starts_with(b"---\n")
                && (unmarked.len() < added.len() || before.ends_with(END_MARK.as_bytes())) =>
        {
            Relation::Appended(data.len() - more.len())
        }
        _ => Relation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::format::parsed::ParsedEntry;

    #[test]
    fn copy_has_the_state_and_identifies_its_data_file() {
        let bucket = Bucket::default();
        let mut state = BucketState { revision: Revision::new(9), ..BucketState::default() };
        state.entries.insert(Key::new("a").unwrap(), ParsedEntry::text("1").at(Revision::new(5)));
        state.by_hand.insert(Key::new("a").unwrap());
        let data = b"# mine\na: 1\n";
        let mut text = write(&bucket, &state, &Fingerprint::of(data));
        let last = LastCopy::read(&text).unwrap();
        assert_eq!((&last.state.entries, last.state.revision), (&state.entries, state.revision));
        assert_eq!(last.state.by_hand, state.by_hand);
        assert_eq!(last.relation(data), Relation::Same);
        assert_eq!(last.relation(b"# mine\na: 1\nb: 2\n"), Relation::Other);
        assert_eq!(last.relation(b"# mine\na: 2\n"), Relation::Other);
        assert_eq!(last.relation(b""), Relation::Other);
        let append = b"---\nb: {value: x, updated: 2026-11-20T12:00:00Z}\n...\n";
        let data = [data, b"...\n".as_slice(), append].concat();
        assert_eq!(last.relation(&data), Relation::Appended(16));
        text.extend_from_slice(append);
        let last = LastCopy::read(&text).unwrap();
        assert_eq!((last.relation(&data), last.state.entries.len()), (Relation::Same, 2));
        assert_eq!(last.relation(b"# mine\na: 1\n"), Relation::Other, "writes are gone");
        let cut = LastCopy::read(&text[..text.len() - 1]).unwrap();
        assert_eq!((cut.relation(&data), cut.state.entries.len()), (Relation::Appended(16), 1));
        text.extend_from_slice(b"---\nc: {val");
        assert_eq!(LastCopy::read(&text).unwrap().state.entries.len(), 2);
    }

    #[test]
    fn incomplete_copies_are_not_read() {
        let state = BucketState { revision: Revision::new(9), ..BucketState::default() };
        let text = write(&Bucket::default(), &state, &Fingerprint::of(b"x"));
        assert!(LastCopy::read(&text).is_some());
        for len in 0..text.len() - 1 {
            assert!(LastCopy::read(&text[..len]).is_none(), "{len}");
            assert!(RawCopy::split(&text[..len]).is_none(), "{len}");
        }
        assert!(LastCopy::read(&vec![0; text.len()]).is_none());
        assert!(LastCopy::read(b"a: 1\n").is_none());
    }
}
