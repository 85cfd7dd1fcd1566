//! An open file of the disk with faults.

use std::io;
use std::path::PathBuf;

use kvs::yaml::fs::{File, FileBytes, FileId, LockMode, Stat};

use super::faulty_disk::{ProcessFs, Verdict};
use crate::support::disks::Call;

pub(super) struct OpenFile {
    pub(super) fs: ProcessFs,
    pub(super) inner: Box<dyn File>,
    pub(super) path: PathBuf,
    pub(super) handle: u64,
}

impl OpenFile {
    /// Writes as much as the disk has room for.
    fn write_within_room(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let growth = (offset + bytes.len() as u64).saturating_sub(self.inner.stat()?.len);
        let room = self.fs.disk.room();
        if growth <= room {
            return self.inner.write(offset, bytes);
        }
        let fits = bytes.len().saturating_sub(usize::try_from(growth - room).unwrap_or(usize::MAX));
        self.inner.write(offset, &bytes[..fits])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.fs.disk.forget_lock(self.handle);
    }
}

impl File for OpenFile {
    fn stat(&self) -> io::Result<Stat> {
        self.fs.call(Call::FileStat, || self.inner.stat())
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes> {
        self.fs.call(Call::Read, || self.inner.read(offset, len))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.fs.verdict(Call::Write)? {
            Verdict::Fail(error, percent) => {
                let part = bytes.len() * percent / 100;
                if part > 0 {
                    self.inner.write(offset, &bytes[..part])?;
                }
                Err(error)
            }
            Verdict::Go | Verdict::Lie => self.write_within_room(offset, bytes),
            Verdict::Last(cut) => {
                let done = self.write_within_room(offset, bytes);
                self.fs.disk.end(self.fs.process, cut);
                done
            }
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.fs.call(Call::Truncate, || self.inner.truncate(len))
    }

    fn sync(&self) -> io::Result<()> {
        match self.fs.verdict(Call::Sync)? {
            Verdict::Fail(error, _) => {
                // If the store cannot even record that a sync has failed, nobody can know what is lost.
                if self.fs.alive().is_ok() && self.fs.disk.is_unarmed(self.fs.process) {
                    self.fs.disk.inner.lose_unsynced_of(self.inner.stat()?.inode);
                }
                Err(error)
            }
            Verdict::Lie => Ok(()),
            Verdict::Go => self.inner.sync(),
            Verdict::Last(cut) => {
                let done = self.inner.sync();
                self.fs.disk.end(self.fs.process, cut);
                done
            }
        }
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        self.fs.call(Call::Resemble, || self.inner.resemble(other))
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        self.fs.call(Call::FileStat, || self.inner.rights())
    }

    fn links(&self) -> io::Result<u64> {
        self.fs.call(Call::FileStat, || self.inner.links())
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let locked = self.fs.call(Call::Lock, || self.inner.try_lock(mode))?;
        if locked {
            self.fs.disk.note_lock(self.fs.process, self.handle, &self.path, mode);
        }
        Ok(locked)
    }

    fn unlock(&self) -> io::Result<()> {
        self.fs.disk.forget_lock(self.handle);
        self.inner.unlock()
    }
}
