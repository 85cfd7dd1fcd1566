//! A file system in memory that can lose power.
//!
//! Each file has the bytes that everybody sees and the bytes that are durable; the difference is the changes since the
//! last sync. The same holds for the names in the folder. [`CrashFs::stop_before`] stops everything before a chosen
//! call that changes something; [`CrashFs::crashed`] is the state that the machine finds after a power cut, and
//! [`CrashFs::killed`] the state that other processes find if only the process was killed. What always holds: after a
//! crash a file is as at its last sync, plus any part of the later changes, page by page; a name is as at the last sync
//! of its folder, plus any of the later changes. The same holds for a folder within the folder of a store; if it is
//! lost, its files are lost too. The folder of a store exists and is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvs::yaml::fs::{File, FileSystem, OpenMode, Stat};
use parking_lot::Mutex;

use super::open_file::OpenFile;
use super::seed::Seed;
use super::volatile::{Change, Inode, Naming};

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<Naming>,
    /// The folders within the folder of a store, and those of them that are not durable.
    folders: BTreeSet<PathBuf>,
    unsynced_folders: BTreeSet<PathBuf>,
    handles: u64,
    /// The number of calls that changed something.
    changes: u64,
    stop_before: Option<u64>,
    pub(super) ended: bool,
    /// The write that was interrupted.
    pub(super) halved: Option<(u64, usize, Vec<u8>)>,
}

/// The number of parts of the path of the folder of a store: the root, and two names.
const STORE_FOLDER_PARTS: usize = 3;

fn dead() -> io::Error {
    io::Error::other("the disk is gone")
}

impl State {
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.ended { Err(dead()) } else { Ok(()) }
    }

    /// Counts a call that changes something. Returns an error if everything stops before it.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.ended |= self.stop_before.is_some_and(|stop| self.changes >= stop);
        self.alive()?;
        self.changes += 1;
        Ok(())
    }

    /// The time of files advances with every fourth change, as coarsely as on a real file system.
    pub(super) fn now(&self) -> i64 {
        1_790_000_000_000_000_000 + i64::try_from(self.changes / 4).unwrap() * 4_000_000
    }

    pub(super) fn stat(&self, number: u64) -> Stat {
        let inode = &self.inodes[&number];
        Stat {
            device: 1,
            inode: number,
            len: inode.seen.len() as u64,
            modified: inode.modified,
            changed: inode.modified,
        }
    }

    pub(super) fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes.get_mut(&number).unwrap()
    }

    fn rename(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
    }
}

/// The file system. Clones are the same one; [`crashed`](Self::crashed) and [`killed`](Self::killed) are new ones.
#[derive(Clone, Default)]
pub(crate) struct CrashFs(pub(super) Arc<Mutex<State>>);

impl CrashFs {
    /// Stops everything before a call that changes something; `number` counts such calls from 0 on, starting now.
    pub(crate) fn stop_before(&self, number: u64) {
        let mut state = self.0.lock();
        state.stop_before = Some(state.changes + number);
    }

    /// The number of calls that changed something.
    pub(crate) fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// The time of the files, in nanoseconds since 1970.
    pub(crate) fn time(&self) -> i64 {
        self.0.lock().now()
    }

    /// Lets this many milliseconds pass.
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.0.lock().changes += milliseconds;
    }

    /// The state that a new process finds after this one was killed: all visible changes, with the same durability.
    pub(crate) fn killed(&self, seed: &mut Seed) -> Self {
        let mut state = self.0.lock().clone();
        state.stop_before = None;
        state.ended = false;
        if let Some((inode, at, bytes)) = state.halved.take() {
            let part = bytes[..seed.below(bytes.len() + 1)].to_vec();
            state.inode(inode).change(Change::Write(at, part));
        }
        for inode in state.inodes.values_mut() {
            inode.locks.clear();
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// A state that the machine may find after a power cut.
    pub(crate) fn crashed(&self, seed: &mut Seed) -> Self {
        let killed = self.killed(seed);
        let mut state = killed.0.lock();
        let mut names = state.durable_names.clone();
        for naming in std::mem::take(&mut state.unsynced_names) {
            if seed.below(2) == 0 {
                naming.apply(&mut names);
            }
        }
        for folder in std::mem::take(&mut state.unsynced_folders) {
            if seed.below(2) == 0 {
                names.retain(|path, _| !path.starts_with(&folder));
                state.folders.remove(&folder);
            }
        }
        state.inodes.retain(|number, _| names.values().any(|n| n == number));
        for inode in state.inodes.values_mut() {
            inode.crash(seed);
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        drop(state);
        killed
    }

    /// Loses the changes of a file that are not synced, as a system does after a failed sync: everybody still sees
    /// them, and no later sync makes them durable. For a file that was opened under another name before a rename, give
    /// both names.
    pub(crate) fn lose_unsynced(&self, path: &Path, renamed: &Path) {
        let mut state = self.0.lock();
        let number = *state.names.get(path).unwrap_or_else(|| &state.names[renamed]);
        state.inode(number).unsynced.clear();
    }

    /// The same for a file of this number.
    pub(crate) fn lose_unsynced_of(&self, inode: u64) {
        self.0.lock().inode(inode).unsynced.clear();
    }

    /// The length of all files that have a name.
    pub(crate) fn used_bytes(&self) -> u64 {
        let state = self.0.lock();
        state.names.values().map(|number| state.inodes[number].seen.len() as u64).sum()
    }

    /// The bytes of a file that everybody sees.
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.names.get(path).map(|number| state.inodes[number].seen.clone())
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// Changes a file in place, like an editor that keeps the file.
    pub(crate) fn edit(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let number = state.names[path];
        state.changes += 4;
        let modified = state.now();
        let inode = state.inode(number);
        inode.change(Change::Truncate(0));
        inode.change(Change::Write(0, bytes.to_vec()));
        inode.modified = modified;
    }

    /// Removes a file, as a person does.
    pub(crate) fn take_away(&self, path: &Path) {
        self.0.lock().rename(Naming::Remove(path.to_owned()));
    }

    /// Puts a file in place by rename, like an editor; durable.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let number = state.inodes.keys().last().map_or(10, |n| n + 1);
        state.changes += 4;
        let modified = state.now();
        state.inodes.insert(number, Inode { seen: bytes.into(), durable: bytes.into(), modified, ..Inode::default() });
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
        let folder = path.parent().unwrap();
        state.folders.insert(folder.to_owned());
        state.unsynced_folders.remove(folder);
    }
}

impl FileSystem for CrashFs {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.0.lock();
        state.alive()?;
        let is_store_folder = path.components().count() <= STORE_FOLDER_PARTS;
        Ok(state.names.get(path).map(|number| state.stat(*number)).or(is_store_folder.then(Stat::default)))
    }

    fn resolve(&self, _: &Path) -> io::Result<Option<PathBuf>> {
        self.0.lock().alive().map(|()| None)
    }

    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock();
        state.alive()?;
        let number = match state.names.get(path) {
            Some(number) => *number,
            None if matches!(how, OpenMode::Create | OpenMode::Private) => {
                state.step()?;
                let number = state.inodes.keys().last().map_or(10, |n| n + 1);
                let modified = state.now();
                state.inodes.insert(number, Inode { modified, ..Inode::default() });
                state.rename(Naming::Set(path.to_owned(), number));
                number
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        state.handles += 1;
        let appends = how == OpenMode::Append;
        Ok(Box::new(OpenFile { disk: self.clone(), inode: number, handle: state.handles, appends }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        let number = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.rename(Naming::Rename(from.to_owned(), to.to_owned(), number));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(Naming::Remove(path.to_owned()));
        Ok(())
    }

    fn make_subfolder(&self, path: &Path) -> io::Result<()> {
        self.make_folder(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        if path.components().count() <= STORE_FOLDER_PARTS || !state.folders.insert(path.to_owned()) {
            return Ok(());
        }
        state.unsynced_folders.insert(path.to_owned());
        // It is made, and then the folder above is synced.
        state.step()?;
        state.unsynced_folders.remove(path);
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.unsynced_folders.retain(|folder| folder.parent() != Some(path));
        let (synced, others) = std::mem::take(&mut state.unsynced_names).into_iter().partition(|n| n.is_in(path));
        state.unsynced_names = others;
        for naming in Vec::<Naming>::into_iter(synced) {
            naming.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.alive()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn may_write(&self, _: &Path) -> io::Result<()> {
        self.0.lock().alive()
    }

    fn reserve(&self, _: &Path) -> io::Result<()> {
        self.0.lock().alive()
    }

    fn release(&self, _: &Path) -> io::Result<bool> {
        self.0.lock().alive().map(|()| false)
    }
}
