//! An open file of the disk that can lose power.

use std::io;

use kvs::yaml::fs::{File, FileBytes, LockMode, Stat};

use super::crash_disk::CrashFs;
use super::volatile::Change;

pub(super) struct OpenFile {
    pub(super) disk: CrashFs,
    pub(super) inode: u64,
    pub(super) handle: u64,
    /// Whether all writes go to the end, wherever that is by then.
    pub(super) appends: bool,
}

impl OpenFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let before = state.ended;
        if let Err(e) = state.step() {
            if let (false, Change::Write(at, bytes)) = (before, change) {
                let at = if self.appends { state.inodes[&self.inode].seen.len() } else { at };
                state.halved = Some((self.inode, at, bytes));
            }
            return Err(e);
        }
        let now = state.now();
        let inode = state.inode(self.inode);
        inode.change(match change {
            Change::Write(_, bytes) if self.appends => Change::Write(inode.seen.len(), bytes),
            other => other,
        });
        inode.modified = now;
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.disk.0.lock().inode(self.inode).locks.retain(|(handle, _)| *handle != self.handle);
    }
}

impl File for OpenFile {
    fn stat(&self) -> io::Result<Stat> {
        let state = self.disk.0.lock();
        state.alive()?;
        Ok(state.stat(self.inode))
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes> {
        let state = self.disk.0.lock();
        state.alive()?;
        let bytes = &state.inodes[&self.inode].seen;
        let from = bytes.len().min(usize::try_from(offset).unwrap());
        let to = bytes.len().min(from.saturating_add(usize::try_from(len).unwrap()));
        Ok(bytes[from..to].to_vec().into())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Truncate(usize::try_from(len).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        state.inode(self.inode).sync();
        Ok(())
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        other.rights()?;
        self.disk.0.lock().step()
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        self.disk.0.lock().alive().map(|()| (0o644, 0, 0))
    }

    fn links(&self) -> io::Result<u64> {
        self.disk.0.lock().alive().map(|()| 1)
    }

    fn try_lock(&self, hold: LockMode) -> io::Result<bool> {
        let mut state = self.disk.0.lock();
        state.alive()?;
        let locks = &mut state.inode(self.inode).locks;
        let others = |(handle, held): &(u64, LockMode)| {
            *handle != self.handle && (hold == LockMode::Exclusive || *held == LockMode::Exclusive)
        };
        if locks.iter().any(others) {
            return Ok(false);
        }
        locks.retain(|(handle, _)| *handle != self.handle);
        locks.push((self.handle, hold));
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.inode(self.inode).locks.retain(|(handle, _)| *handle != self.handle);
        Ok(())
    }
}
