//! The lock file of a bucket: it guards the data file, and records how the last writer left it.
//!
//! The lock is `flock` on a file that is never renamed or removed. Its first line is a record of the data file after
//! the last sync. It shows a reader what is durable, and whether bytes were only appended since its last read (the same
//! epoch), or the file was rewritten or edited by a person (another epoch, or no match). The record needs no sync: if
//! it is wrong or missing, the next reader reads the whole file. The second line identifies the file that last replaced
//! the data file. It is synced before the rename. `remembered_changes.rs` has what follows.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::last_copy_format::Fingerprint;
use crate::yaml::fs::{File, LockMode, Stat};

/// The first word of a record that rules out bytes.
const SUSPECT: &str = "suspect";

/// The state of the data file that the last writer recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LockRecord {
    /// Grows with each change of the file that is not an append.
    pub(crate) epoch: u64,
    /// The state of the file after its last sync.
    pub(crate) stat: Stat,
    /// A sync failed: the content may not be durable until the file has been rewritten.
    pub(crate) suspect: bool,
    /// Whether there was a [copy](super::last_copy_format) of this state. Missing in records of early versions.
    pub(crate) has_copy: Option<bool>,
}

/// A record is padded to this length, so that it covers an older, longer one.
pub(crate) const RECORD_BYTES: usize = 224;

/// The second line of the lock file: the file that last replaced the data file, and the one that it replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Announcement {
    pub(crate) next: Fingerprint,
    /// The file that was announced before. It is in place if the rename did not come about.
    pub(crate) before: Option<Fingerprint>,
}

impl Announcement {
    fn text(&self) -> String {
        let before = self.before.as_ref().map(|before| format!(" over {}", before.text())).unwrap_or_default();
        let text = format!("anew {}{before}", self.next.text());
        format!("{:RECORD_BYTES$}\n", format!("{text} sum={:016x}", checksum(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = without_padding(text);
        let fingerprints = text.strip_prefix("anew ")?.rsplit_once(" sum=")?.0;
        let (next, before) = match fingerprints.split_once(" over ") {
            Some((next, before)) => (next, Some(Fingerprint::parse(before)?)),
            None => (fingerprints, None),
        };
        let parsed = Self { next: Fingerprint::parse(next)?, before };
        (without_padding(&parsed.text()) == text).then_some(parsed)
    }
}

/// The text before the spaces at the end, which is whole even if a power cut has left zeros in their place.
fn without_padding(text: &str) -> &str {
    text.trim_end_matches(['\0', ' ', '\n'])
}

/// FNV-1a. It detects a record that was written only in part.
pub(crate) fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl LockRecord {
    /// The state of a file that a person may have changed.
    pub(crate) fn without_times(stat: Stat) -> Stat {
        Stat { modified: 0, changed: 0, ..stat }
    }

    /// Whether it describes the file as a writer left it.
    pub(crate) fn has_times(&self) -> bool {
        self.stat.changed != 0
    }

    /// Whether the file has the recorded times, so nobody has changed it since.
    pub(crate) fn has_times_of(&self, stat: &Stat) -> bool {
        (self.stat.modified, self.stat.changed) == (stat.modified, stat.changed)
    }

    fn text(&self) -> String {
        let s = &self.stat;
        let state = if self.suspect { SUSPECT } else { "durable" };
        let text = format!(
            "{state} epoch={} device={} inode={} len={} modified={} changed={}",
            self.epoch, s.device, s.inode, s.len, s.modified, s.changed
        );
        let text = match self.has_copy {
            Some(true) => text + " copy=yes",
            Some(false) => text + " copy=no",
            None => text,
        };
        let text = format!("{text} sum={:016x}", checksum(&text));
        format!("{text:RECORD_BYTES$}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let (text, sum) = without_padding(text.lines().next()?).rsplit_once(" sum=")?;
        if sum != format!("{:016x}", checksum(text)) {
            return None;
        }
        let mut words = text.split_ascii_whitespace();
        let suspect = match words.next()? {
            SUSPECT => true,
            "durable" => false,
            _ => return None,
        };
        let mut number = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<i128>().ok();
        let record = Self {
            epoch: u64::try_from(number("epoch")?).ok()?,
            stat: Stat {
                device: u64::try_from(number("device")?).ok()?,
                inode: u64::try_from(number("inode")?).ok()?,
                len: u64::try_from(number("len")?).ok()?,
                modified: i64::try_from(number("modified")?).ok()?,
                changed: i64::try_from(number("changed")?).ok()?,
            },
            suspect,
            has_copy: None,
        };
        let has_copy = match words.next() {
            Some("copy=yes") => Some(true),
            Some("copy=no") => Some(false),
            _ => None,
        };
        Some(Self { has_copy, ..record })
    }
}

/// The record in a lock file, if it has a valid one.
pub(crate) fn read(file: &dyn File) -> io::Result<Option<LockRecord>> {
    let bytes = file.read(0, RECORD_BYTES as u64 + 1)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(LockRecord::parse))
}

/// Whether the record begins as one that rules out bytes. This costs less than reading it.
pub(crate) fn may_be_suspect(file: &dyn File) -> io::Result<bool> {
    Ok(file.read(0, SUSPECT.len() as u64)?.starts_with(SUSPECT.as_bytes()))
}

/// Records durably which file is about to replace the data file. If no record of it can be written afterwards, it is
/// still known that nobody has changed it.
pub(crate) fn announce(file: &dyn File, announcement: &Announcement) -> io::Result<()> {
    file.write(RECORD_BYTES as u64 + 1, announcement.text().as_bytes())?;
    file.sync()
}

/// What was announced last; `None` also if it was interrupted.
pub(crate) fn announced(file: &dyn File) -> io::Result<Option<Announcement>> {
    let bytes = file.read(RECORD_BYTES as u64 + 1, RECORD_BYTES as u64 + 1)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(Announcement::parse))
}

pub(crate) fn write(file: &dyn File, record: &LockRecord) -> io::Result<()> {
    file.write(0, record.text().as_bytes())
}

/// The files of a bucket that this process has locked: the lock file, and the data file under its present name.
///
/// The lock file alone is not enough: if a person removes it, another process creates and locks a new one.
#[derive(Default)]
pub(crate) struct FileLocks {
    /// `None`: nothing needs to be locked.
    mode: Option<LockMode>,
    files: Vec<Arc<dyn File>>,
}

impl FileLocks {
    /// Locks a file like the others. Returns false if others hold it.
    pub(crate) fn add(&mut self, file: &Arc<dyn File>) -> io::Result<bool> {
        let Some(mode) = self.mode else { return Ok(true) };
        let id = file.id()?;
        for locked in &self.files {
            if locked.id()? == id {
                return Ok(true);
            }
        }
        let is_locked = file.try_lock(mode)?;
        if is_locked {
            self.files.push(Arc::clone(file));
        }
        Ok(is_locked)
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.mode == Some(LockMode::Exclusive)
    }

    /// Adds a file that is already locked.
    pub(crate) fn adopt(&mut self, file: &Arc<dyn File>) {
        self.files.push(Arc::clone(file));
    }
}

/// Locked files, until dropped.
pub(crate) struct FilesLock(Arc<Mutex<FileLocks>>);

impl FilesLock {
    /// Starts without files.
    pub(crate) fn begin(locks: &Arc<Mutex<FileLocks>>, mode: LockMode) -> Self {
        *locks.lock() = FileLocks { mode: Some(mode), files: Vec::new() };
        Self(Arc::clone(locks))
    }
}

impl Drop for FilesLock {
    fn drop(&mut self) {
        for file in std::mem::take(&mut *self.0.lock()).files.iter().rev() {
            // Closing the file releases the lock too, so there is nothing better to do.
            let _ = file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_are_read_back() {
        let stat = Stat { device: 1, inode: u64::MAX, len: 3, modified: -4, changed: i64::MAX };
        let record = LockRecord { epoch: u64::MAX, stat, suspect: true, has_copy: Some(true) };
        for has_copy in [None, Some(false), Some(true)] {
            let record = LockRecord { has_copy, ..record };
            assert_eq!(LockRecord::parse(&record.text()), Some(record));
        }
        assert_eq!(record.text().len(), RECORD_BYTES + 1);
        let (old, new) = (record.text(), LockRecord { epoch: 7, suspect: false, ..record }.text());
        for at in 1..old.trim_end().len() {
            let part = format!("{}{}", &new[..at], &old[at..]);
            assert!(part == old || part == new || LockRecord::parse(&part).is_none(), "written up to {at}: {part}");
        }
        let whole = old.trim_end();
        for padding in ["", "\n", "   ", "  \0\0\0", "\0\0\n"] {
            assert_eq!(LockRecord::parse(&format!("{whole}{padding}")), Some(record), "{padding:?}");
        }
        for bad in ["", "\n", "durable", "durable epoch=x", "durable epoch=1 inode=2 device=3", "hello"] {
            assert_eq!(LockRecord::parse(bad), None, "{bad}");
        }
    }
}
