//! Changes of files and names that are not durable yet, and what a crash leaves of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kvs::yaml::fs::LockMode;

use super::seed::Seed;

/// Smaller than a real page, so that small files have many.
const PAGE: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
            Self::Truncate(len) => bytes.resize(*len, 0),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
    pub(super) modified: i64,
    pub(super) locks: Vec<(u64, LockMode)>,
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// Applies a crash: the changes up to some one, perhaps a part of that one, and any of the pages since the sync.
    pub(super) fn crash(&mut self, seed: &mut Seed) {
        let mut bytes = self.durable.clone();
        let whole = seed.below(self.unsynced.len() + 1);
        for change in &self.unsynced[..whole] {
            change.apply(&mut bytes);
        }
        if let Some(Change::Write(at, new)) = self.unsynced.get(whole) {
            Change::Write(*at, new[..seed.below(new.len() + 1)].to_vec()).apply(&mut bytes);
        }
        if seed.below(2) == 0 {
            for at in (0..bytes.len()).step_by(PAGE).filter(|_| seed.below(2) == 0).collect::<Vec<_>>() {
                for n in at..bytes.len().min(at + PAGE) {
                    bytes[n] = self.durable.get(n).copied().unwrap_or(0);
                }
            }
        }
        *self = Self { seen: bytes.clone(), durable: bytes, modified: self.modified, ..Self::default() };
    }
}

#[derive(Clone, Debug)]
pub(super) enum Naming {
    Set(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

impl Naming {
    /// Whether it changes a name in this folder.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let (Self::Set(path, _) | Self::Rename(_, path, _) | Self::Remove(path)) = self;
        path.parent() == Some(folder)
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Set(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}
