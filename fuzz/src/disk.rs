//! A file system in memory, on which a store runs. What is on it can be read and replaced between two stores.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvs::store::Limits;
use kvs::yaml::fs::{File, FileBytes, FileSystem, LockMode, OpenMode, Stat};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::api::FixedClock;

/// The folder of a store.
pub const FOLDER: &str = "/nowhere/data";

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    modified: i64,
    /// Handles and how they hold it.
    locks: Vec<(u64, LockMode)>,
}

#[derive(Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    /// Handles, inodes and times come from it.
    next: u64,
}

impl State {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn now(&mut self) -> i64 {
        1_790_000_000_000_000_000 + i64::try_from(self.next()).unwrap_or(0) * 1_000_000
    }

    fn stat(&self, number: u64) -> Stat {
        let inode = &self.inodes[&number];
        let len = inode.bytes.len() as u64;
        Stat { device: 1, inode: number, len, modified: inode.modified, changed: inode.modified }
    }
}

/// The file system. Clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same files, and no open ones.
    pub fn copy(&self) -> Self {
        let mut state = self.lock().clone();
        state.inodes.values_mut().for_each(|inode| inode.locks.clear());
        Self(Arc::new(Mutex::new(state)))
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(path).map(|number| state.inodes[number].bytes.clone())
    }

    /// Replaces the bytes of a file, as a defect of the disk or a program that writes in place does.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.lock();
        let modified = state.now();
        if let Some(number) = state.names.get(path).copied() {
            let inode = state.inodes.get_mut(&number).expect("an inode");
            (inode.bytes, inode.modified) = (bytes, modified);
        }
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().map(|path| path.display().to_string()).collect()
    }
}

impl FileSystem for MemoryDisk {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.lock();
        Ok(state.names.get(path).map(|number| state.stat(*number)))
    }

    fn resolve(&self, _: &Path) -> io::Result<Option<PathBuf>> {
        Ok(None)
    }

    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        let number = match state.names.get(path) {
            Some(number) => *number,
            None if matches!(how, OpenMode::Create | OpenMode::Private) => {
                let (number, modified) = (state.next(), state.now());
                state.inodes.insert(number, Inode { modified, ..Inode::default() });
                state.names.insert(path.to_owned(), number);
                number
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let handle = state.next();
        Ok(Box::new(OpenFile { disk: self.clone(), inode: number, handle }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let number = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.lock().folders.insert(path.to_owned());
        Ok(())
    }

    fn make_subfolder(&self, path: &Path) -> io::Result<()> {
        self.make_folder(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn may_write(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn release(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

struct OpenFile {
    disk: MemoryDisk,
    inode: u64,
    handle: u64,
}

impl OpenFile {
    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.disk.lock();
        let modified = state.now();
        let inode = state.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        change(&mut inode.bytes);
        inode.modified = modified;
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

impl File for OpenFile {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.disk.lock().stat(self.inode))
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes> {
        let state = self.disk.lock();
        let bytes = &state.inodes[&self.inode].bytes;
        let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let to = usize::try_from(len).map_or(bytes.len(), |len| from.saturating_add(len).min(bytes.len()));
        Ok(bytes[from..to].to_vec().into())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.change(|bytes| {
            let end = offset + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset..end].copy_from_slice(new);
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.change(|bytes| bytes.resize(len, 0))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        other.rights().map(drop)
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        Ok((0o600, 0, 0))
    }

    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let mut state = self.disk.lock();
        let locks = &mut state.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?.locks;
        let conflicts = |(handle, held): &(u64, LockMode)| {
            *handle != self.handle && (mode == LockMode::Exclusive || *held == LockMode::Exclusive)
        };
        if locks.iter().any(conflicts) {
            return Ok(false);
        }
        locks.retain(|(handle, _)| *handle != self.handle);
        locks.push((self.handle, mode));
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        if let Some(inode) = self.disk.lock().inodes.get_mut(&self.inode) {
            inode.locks.retain(|(handle, _)| *handle != self.handle);
        }
        Ok(())
    }
}

/// A store on a disk, which does no work of its own accord.
pub fn open(disk: &MemoryDisk) -> YamlStore {
    let options = YamlOptions {
        limits: Limits::default(),
        lock_timeout: Duration::from_millis(500),
        min_log_bytes: u64::MAX,
        tidy_after: Duration::ZERO,
        max_open_buckets: 4,
        clock: Arc::new(FixedClock),
        file_system: Arc::new(disk.clone()),
        ..YamlOptions::default()
    };
    YamlStore::open(FOLDER, options).expect("a store")
}

/// Damage to a file, and the offset before which nothing is changed.
pub struct Damage {
    pub bytes: Vec<u8>,
    pub first: usize,
    /// Whether only the end is missing.
    pub is_cut: bool,
}

/// Damages a file as an input says: groups of four bytes, a kind, an offset of two bytes, and a byte.
pub fn damage(bytes: &[u8], input: &[u8]) -> Damage {
    let mut damage = Damage { bytes: bytes.to_vec(), first: bytes.len(), is_cut: true };
    for group in input.chunks_exact(4).take(6) {
        let [kind, high, low, byte] = *group else { break };
        let at = usize::from(u16::from_be_bytes([high, low])) % (damage.bytes.len() + 1);
        let here = at.min(damage.bytes.len().saturating_sub(1));
        let first = match kind % 7 {
            0 => {
                damage.bytes.truncate(at);
                at
            }
            _ if damage.bytes.is_empty() => 0,
            1 => {
                damage.bytes[here] ^= 1 << (byte % 8);
                here
            }
            2 => {
                damage.bytes.insert(at, byte);
                at
            }
            3 => {
                damage.bytes.remove(here);
                here
            }
            4 => {
                let end = (here + usize::from(byte)).min(damage.bytes.len());
                damage.bytes[here..end].fill(0);
                here
            }
            5 => {
                let end = (here + usize::from(byte)).min(damage.bytes.len());
                let again = damage.bytes[here..end].to_vec();
                damage.bytes.splice(end..end, again);
                end
            }
            _ => {
                let text: &[u8] =
                    [&b"\n...\n"[..], b"\n---\n", b"\n- ", b": ", b"# ", b"\"", b"~", b"\xff"][usize::from(byte % 8)];
                damage.bytes.splice(at..at, text.iter().copied());
                at
            }
        };
        damage.is_cut &= kind % 7 == 0;
        damage.first = damage.first.min(first);
    }
    damage
}
