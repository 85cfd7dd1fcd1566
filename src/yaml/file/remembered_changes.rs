//! The changes that a rewrite of the data file makes invisible: the third line of the lock file, and the lines after
//! it.
//!
//! A deleted key is only in the log of a data file, and a changed expiry leaves the revision of its entry. So a rewrite
//! records these changes here, for clients that follow the bucket. If the record is lost, they read the bucket again.
//!
//! The record belongs to an epoch, which every rewrite and every edit by a person ends. So it is never combined with a
//! file that it does not describe. It needs no sync.

use std::fmt::Write as _;
use std::io;

use super::data_file::DataFile;
use super::lock::{RECORD_BYTES, checksum};
use crate::model::{Key, Revision};
use crate::store::RecentChanges;
use crate::yaml::fs::File;
use crate::yaml::state::{BucketState, RememberedChanges};

/// The offset of the record, after the two lines before it.
const OFFSET: u64 = 2 * (RECORD_BYTES as u64 + 1);

/// The first line of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    epoch: u64,
    /// All changes after `from`, up to `to`, are in the record or visible in the data file.
    from: Revision,
    to: Revision,
    /// The length and the checksum of the lines after this one.
    bytes: u64,
    sum: u64,
}

impl Header {
    fn text(&self) -> String {
        let Self { epoch, from, to, bytes, sum } = self;
        let text = format!("changes epoch={epoch} from={from} to={to} bytes={bytes} of={sum:016x}");
        format!("{:RECORD_BYTES$}\n", format!("{text} sum={:016x}", checksum(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (text, sum) = text.trim_end().rsplit_once(" sum=")?;
        if sum != format!("{:016x}", checksum(text)) {
            return None;
        }
        let mut words = text.strip_prefix("changes ")?.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        Some(Self {
            epoch: word("epoch")?.parse().ok()?,
            from: word("from")?.parse().ok()?,
            to: word("to")?.parse().ok()?,
            bytes: word("bytes")?.parse().ok()?,
            sum: u64::from_str_radix(word("of")?, 16).ok()?,
        })
    }

    fn read(lock: &dyn File) -> Option<Self> {
        let bytes = lock.read(OFFSET, RECORD_BYTES as u64 + 1).ok()?;
        Self::parse(std::str::from_utf8(&bytes).ok()?)
    }
}

/// The changes in the record of an epoch, if the lock file has one.
fn read(lock: &dyn File, epoch: u64) -> Option<RememberedChanges> {
    let header = Header::read(lock).filter(|header| header.epoch == epoch)?;
    let bytes = lock.read(OFFSET + RECORD_BYTES as u64 + 1, header.bytes).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    if checksum(text) != header.sum {
        return None;
    }
    let change = |line: &str| {
        let (revision, key) = line.split_once(' ')?;
        Some((revision.parse().ok()?, Key::new(key).ok()?))
    };
    let changes = text.lines().map(change).collect::<Option<_>>()?;
    Some(RememberedChanges { from: header.from, to: header.to, changes })
}

fn write(lock: &dyn File, epoch: u64, remembered: &RememberedChanges) -> io::Result<()> {
    let mut text = String::new();
    for (revision, key) in &remembered.changes {
        let _ = writeln!(text, "{revision} {}", key.as_str());
    }
    let (bytes, sum) = (text.len() as u64, checksum(&text));
    let header = Header { epoch, from: remembered.from, to: remembered.to, bytes, sum }.text();
    lock.write(OFFSET, (header + &text).as_bytes())?;
    lock.truncate(OFFSET + RECORD_BYTES as u64 + 1 + bytes)
}

/// What must be remembered of a state, given what was remembered before.
///
/// After an edit by a person the file does not show all revisions of the state, so that all changes are remembered.
fn to_remember(state: &BucketState, before: Option<RememberedChanges>, after_edit: bool) -> RememberedChanges {
    let before = before.filter(|before| before.to >= state.recent.start());
    let mut all = RecentChanges::after(before.as_ref().map_or(state.recent.start(), |before| before.from));
    for (revision, key) in before.into_iter().flat_map(|before| before.changes) {
        all.insert(revision, key);
    }
    for (revision, key) in state.recent.iter_after(Revision::ZERO) {
        all.insert(revision, key.clone());
    }
    // A rewrite may leave out an entry with an expiry.
    let is_invisible = |(revision, key): &(Revision, &Key)| {
        let entry = state.entries.view(*key);
        after_edit || entry.is_none_or(|entry| entry.revision < *revision || entry.expires.is_some())
    };
    let invisible = all.iter_after(Revision::ZERO).filter(is_invisible);
    let mut changes: Vec<(Revision, Key)> = invisible.map(|(revision, key)| (revision, key.clone())).collect();
    let forgotten = changes.drain(..changes.len().saturating_sub(RecentChanges::MAX_KEYS)).next_back();
    let from = forgotten.map_or(all.start(), |(revision, _)| revision);
    RememberedChanges { from, to: state.revision, changes }
}

impl DataFile {
    /// The epoch of the remembered changes; 0 if there are none.
    pub(crate) fn remembered_epoch(&self) -> u64 {
        self.lock.as_ref().and_then(|lock| Header::read(&**lock)).map_or(0, |header| header.epoch)
    }

    /// The revision up to which the changes before the current epoch are remembered.
    pub(crate) fn remembered_up_to(&self, epoch: Option<u64>) -> Option<Revision> {
        let header = Header::read(&**self.lock.as_ref()?)?;
        Some(header.to).filter(|_| epoch == Some(header.epoch))
    }

    /// The changes that are remembered from before an epoch. Under the lock, in any mode.
    pub(crate) fn remembered_changes(&self, epoch: Option<u64>) -> Option<RememberedChanges> {
        read(&**self.lock.as_ref()?, epoch?)
    }

    /// Remembers the changes of a state for a new epoch. `before` are those of the epoch before. Under the exclusive
    /// lock.
    pub(crate) fn remember_changes(&self, state: &BucketState, before: Option<RememberedChanges>, after_edit: bool) {
        if let (Some(lock), Some(epoch)) = (&self.lock, self.known.epoch) {
            // Without this record followers read the bucket again, which is slower but correct.
            let _ = write(&**lock, epoch, &to_remember(state, before, after_edit));
        }
    }
}
