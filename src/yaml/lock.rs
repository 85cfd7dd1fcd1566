//! The lock file of a bucket: who may read and write the data file, and what the last writer left there.
//!
//! The lock is `flock` on a file that is never renamed or removed. Its first line is a record of the data file as the last
//! writer left it, after its sync: so a reader knows what is durable, and whether bytes were only added since it last
//! looked (the same epoch) or the file was written anew or edited by a person (another epoch, or no match at all). The
//! record needs no sync: a wrong or missing one costs a full read, nothing else. Its second line says what was last put in
//! place as the data file, and is synced before that.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{File, Hold, Stat};
use super::last::Fingerprint;
use crate::model::{Error, Result};

/// What the last writer left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Grows with each change of the file that is no append.
    pub(super) epoch: u64,
    /// The state of the file after its last sync.
    pub(super) stat: Stat,
    /// A sync failed: what the file holds is not known to be durable until it has been written anew.
    pub(super) suspect: bool,
    /// Whether there is a [copy](super::last) of this state. Programs before there were copies did not say.
    pub(super) has_copy: Option<bool>,
}

/// A record is padded to this, so that a shorter one hides a longer one.
const WIDTH: usize = 224;

/// The second line of the lock file: what the data file was when it was last written anew.
fn next_text(next: &Fingerprint) -> String {
    let text = format!("anew {}", next.text());
    format!("{:WIDTH$}\n", format!("{text} sum={:016x}", checksum(&text)))
}

/// FNV-1a: it tells a record that was written in part, when the process was killed, from a whole one.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Record {
    fn text(&self) -> String {
        let s = &self.stat;
        let state = if self.suspect { "suspect" } else { "durable" };
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
        format!("{text:WIDTH$}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let (text, sum) = text.lines().next()?.trim_end().rsplit_once(" sum=")?;
        if sum != format!("{:016x}", checksum(text)) {
            return None;
        }
        let mut words = text.split_ascii_whitespace();
        let suspect = match words.next()? {
            "suspect" => true,
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

/// The record in a lock file, if there is one that can be read.
pub(super) fn read(file: &dyn File) -> io::Result<Option<Record>> {
    let bytes = file.read(0, WIDTH as u64 + 1)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(Record::parse))
}

/// Says which file is about to take the place of the data file, durably: if no record of it can be left afterwards, it is
/// known all the same that nobody has changed it.
pub(super) fn announce(file: &dyn File, next: &Fingerprint) -> io::Result<()> {
    file.write(WIDTH as u64 + 1, next_text(next).as_bytes())?;
    file.sync()
}

/// The file that was announced last.
pub(super) fn announced(file: &dyn File) -> io::Result<Option<Fingerprint>> {
    let bytes = file.read(WIDTH as u64 + 1, WIDTH as u64 + 1)?;
    let text = std::str::from_utf8(&bytes).ok();
    let next = text.and_then(|text| Fingerprint::parse(text.strip_prefix("anew ")?.rsplit_once(" sum=")?.0));
    Ok(next.filter(|next| next_text(next).as_bytes() == bytes))
}

/// Leaves a record.
pub(super) fn write(file: &dyn File, record: &Record) -> io::Result<()> {
    file.write(0, record.text().as_bytes())
}

/// The files of a bucket that this process has locked: its lock file, and the data file under its name at present.
///
/// The lock file alone would not do: if a person removes it, another process makes a new one and locks that.
#[derive(Default)]
pub(super) struct Locks {
    /// None: nothing is to be locked.
    hold: Option<Hold>,
    files: Vec<(Stat, Arc<dyn File>)>,
}

impl Locks {
    /// Locks a file as the others. False: others have it.
    pub(super) fn add(&mut self, file: &Arc<dyn File>) -> Result<bool> {
        let Some(hold) = self.hold else { return Ok(true) };
        let failed = |e| Error::io("cannot lock the bucket", e);
        let stat = file.stat().map_err(failed)?;
        if self.files.iter().any(|(locked, _)| locked.is_same_file(&stat)) {
            return Ok(true);
        }
        let taken = file.try_lock(hold).map_err(failed)?;
        if taken {
            self.files.push((stat, Arc::clone(file)));
        }
        Ok(taken)
    }

    /// Whether nobody else has the bucket.
    pub(super) fn is_exclusive(&self) -> bool {
        self.hold == Some(Hold::Exclusive)
    }

    /// Holds a file that has been locked already.
    pub(super) fn adopt(&mut self, file: &Arc<dyn File>, stat: Stat) {
        self.files.push((stat, Arc::clone(file)));
    }
}

/// Locks, held until dropped.
pub(super) struct Held(Arc<Mutex<Locks>>);

impl Held {
    /// Begins to lock files.
    pub(super) fn begin(locks: &Arc<Mutex<Locks>>, hold: Hold) -> Self {
        *locks.lock() = Locks { hold: Some(hold), files: Vec::new() };
        Self(Arc::clone(locks))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (_, file) in std::mem::take(&mut *self.0.lock()).files.iter().rev() {
            // Closing the file would give the lock back as well; there is nothing better to do.
            let _ = file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_anything_else_is_none() {
        let stat = Stat { device: 1, inode: u64::MAX, len: 3, modified: -4, changed: i64::MAX };
        let record = Record { epoch: u64::MAX, stat, suspect: true, has_copy: Some(true) };
        for has_copy in [None, Some(false), Some(true)] {
            let record = Record { has_copy, ..record };
            assert_eq!(Record::parse(&record.text()), Some(record));
        }
        assert_eq!(record.text().len(), WIDTH + 1);
        let (old, new) = (record.text(), Record { epoch: 7, suspect: false, ..record }.text());
        for at in 1..old.trim_end().len() {
            let part = format!("{}{}", &new[..at], &old[at..]);
            assert!(part == old || part == new || Record::parse(&part).is_none(), "written up to {at}: {part}");
        }
        for bad in ["", "\n", "durable", "durable epoch=x", "durable epoch=1 inode=2 device=3", "hello"] {
            assert_eq!(Record::parse(bad), None, "{bad}");
        }
    }
}
