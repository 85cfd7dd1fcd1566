//! How the data file relates to the record of the last writer in the lock file.

use super::load::FileChange;
use super::lock::LockRecord;
use crate::yaml::format::at_rest;
use crate::yaml::fs::Stat;

/// How the data file relates to the record of the last writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordMatch {
    /// The file is as recorded, so all of it is durable.
    Durable(LockRecord),
    /// The bytes after the recorded length may not be durable, because a sync failed.
    Suspect(LockRecord),
    /// It is the same file, but it was changed later: by a person, or by a writer that was killed.
    Outdated(LockRecord),
    /// There is no record, or it is of another file.
    Unrelated,
}

impl RecordMatch {
    pub(crate) fn of(record: Option<LockRecord>, stat: &Stat) -> Self {
        match record {
            Some(record) if record.stat == *stat && !record.suspect => Self::Durable(record),
            Some(record) if record.stat.inode != stat.inode => Self::Unrelated,
            Some(record) if record.suspect => Self::Suspect(record),
            Some(record) => Self::Outdated(record),
            None => Self::Unrelated,
        }
    }

    /// The epoch, if it still holds.
    pub(crate) fn epoch(&self) -> Option<u64> {
        if let Self::Durable(record) = self { Some(record.epoch) } else { None }
    }

    /// The length that is durable, if it is known.
    pub(crate) fn synced(&self) -> Option<u64> {
        match self {
            Self::Durable(record) | Self::Suspect(record) | Self::Outdated(record) => Some(record.stat.len),
            Self::Unrelated => None,
        }
    }

    /// How the file with these bytes has changed since the last writer recorded it.
    ///
    /// `has_copies`: a version wrote it that keeps copies.
    pub(crate) fn change(&self, stat: &Stat, bytes: &[u8], has_copies: bool) -> FileChange {
        match self {
            Self::Durable(_) => FileChange::Unchanged,
            Self::Suspect(record) if record.has_times_of(stat) => FileChange::Unchanged,
            // A power cut may have undone the times.
            Self::Suspect(record) if record.has_times() && record.stat.len == bytes.len() as u64 => {
                FileChange::ProbablyAppended
            }
            // A writer was killed after an append.
            Self::Outdated(record) if appended_at(bytes, record.stat.len).is_some() => FileChange::ProbablyAppended,
            // Versions without copies left entries that have all their fields.
            _ if has_copies => FileChange::Changed,
            _ => FileChange::Unknown,
        }
    }

    /// The number of these bytes that are certainly durable.
    ///
    /// After a failed sync the record may describe a file that was not recorded before, up to its torn tail. One without
    /// times may describe the torn tail too.
    pub(crate) fn durable(&self, bytes: &[u8]) -> u64 {
        let len = self.synced().unwrap_or(0);
        let is_committed = || {
            let end = usize::try_from(len).ok().and_then(|len| bytes.get(..len));
            end.is_some_and(|bytes| bytes.ends_with(b"\n...\n"))
        };
        match self {
            Self::Suspect(record) if !record.has_times() || !is_committed() => 0,
            _ => len,
        }
    }
}

/// The number of these bytes of a file that are certainly durable, by the record in its lock file.
pub(crate) fn durable(record: Option<LockRecord>, stat: &Stat, bytes: &[u8]) -> u64 {
    RecordMatch::of(record, stat).durable(bytes)
}

/// The offset `len`, if the bytes from there on are an append by kvs, not an edit by a person.
pub(crate) fn appended_at(bytes: &[u8], len: u64) -> Option<usize> {
    let (before, after) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    let mark = if before.ends_with(b"\n...\n") { b"" } else { at_rest::mark(before) };
    let begin = [mark, b"---\n"].concat();
    // Some of it may not have reached the disk.
    let is_append = !after.is_empty() && after.iter().zip(&begin).all(|(byte, wanted)| byte == wanted || *byte == 0);
    is_append.then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_match_only_the_file_they_describe() {
        let stat = Stat { inode: 7, len: 100, ..Stat::default() };
        let longer = Stat { len: 120, ..stat };
        let other = Stat { inode: 8, ..stat };
        let record = |stat, suspect| Some(LockRecord { epoch: 3, stat, suspect, has_copy: None });
        let durable = RecordMatch::of(record(stat, false), &stat);
        assert_eq!((durable.epoch(), durable.synced()), (Some(3), Some(100)));
        let outdated = RecordMatch::of(record(stat, false), &longer);
        assert!(matches!(outdated, RecordMatch::Outdated(_)));
        assert_eq!((outdated.epoch(), outdated.synced()), (None, Some(100)));
        for now in [stat, longer] {
            let suspect = RecordMatch::of(record(stat, true), &now);
            assert!(matches!(suspect, RecordMatch::Suspect(_)) && suspect.epoch().is_none());
        }
        for suspect in [false, true] {
            assert_eq!(RecordMatch::of(record(other, suspect), &stat), RecordMatch::Unrelated);
        }
        assert_eq!(RecordMatch::of(None, &stat), RecordMatch::Unrelated);
    }
}
