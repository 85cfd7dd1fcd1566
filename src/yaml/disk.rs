//! The seam: every call this floor makes to a file system goes through these two traits, so that tests can fail, freeze,
//! count, or forget each one. [`RealDisk`] is the operating system.

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// What tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The device it lies on.
    pub device: u64,
    /// Its number there: another one if the file was replaced.
    pub inode: u64,
    /// Its length in bytes.
    pub len: u64,
    /// When its bytes were last changed, in nanoseconds since the Unix epoch.
    pub modified: i64,
    /// When anything of it was last changed, likewise.
    pub changed: i64,
}

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// To read.
    Read,
    /// To read, to cut, and to write at the end: what another adds at the same time is not written over.
    Append,
    /// To read and write; made if it is missing. A symbolic link is refused: whoever owns the folder could lead root astray.
    Create,
}

/// How to hold a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// The state of a file; none if there is no such file.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// Opens a file. A new one belongs to the owner of its folder, as far as that can be had.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;
    /// Puts a file in the place of another at once. Durable once the folder is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it, durably.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a folder, in any order; none if there is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Its state.
    fn stat(&self) -> io::Result<Stat>;
    /// The bytes from an offset on, as many as asked for unless the file ends before.
    fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Writes all bytes at an offset.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to a length.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable. After an error nothing is known of what was written since the last sync.
    fn sync(&self) -> io::Result<()>;
    /// Gives this file the owner and mode of another, as far as that can be had.
    fn resemble(&self, other: &dyn File) -> io::Result<()>;
    /// Mode, user and group.
    fn rights(&self) -> io::Result<(u32, u32, u32)>;
    /// Takes the lock of this file if nobody holds it otherwise. Closing the file gives it back.
    fn try_lock(&self, hold: Hold) -> io::Result<bool>;
    /// Gives the lock back.
    fn unlock(&self) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

fn stat_of(meta: &std::fs::Metadata) -> Stat {
    let nanos = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stat {
        device: meta.dev(),
        inode: meta.ino(),
        len: meta.len(),
        modified: nanos(meta.mtime(), meta.mtime_nsec()),
        changed: nanos(meta.ctime(), meta.ctime_nsec()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
impl Disk for RealDisk {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match std::fs::metadata(path) {
            Ok(meta) => Ok(Some(stat_of(&meta))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(how != Open::Read).append(how == Open::Append);
        if how == Open::Create {
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        }
        let file = match options.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && how == Open::Create => {
                let file = options.create(true).truncate(false).open(path)?;
                own_as_folder(path);
                file
            }
            other => other?,
        };
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            match std::fs::create_dir(folder) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            own_as_folder(folder);
            self.sync_folder(folder_of(folder))?;
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}

/// Gives what root made to the owner of the folder it lies in, so that the web server's user can still write it.
///
/// For anyone else the system refuses, and the file is theirs.
fn own_as_folder(path: &Path) {
    if let Ok(meta) = std::fs::metadata(folder_of(path)) {
        let _ = std::os::unix::fs::lchown(path, Some(meta.uid()), Some(meta.gid()));
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl File for std::fs::File {
    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.metadata()?))
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.read_at(room, offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        let (mode, user, group) = other.rights()?;
        // Only root may give a file away; anyone else may at least leave it to a group of theirs, so that its other members
        // can still write it.
        if std::os::unix::fs::fchown(self, Some(user), Some(group)).is_err() {
            let _ = std::os::unix::fs::fchown(self, None, Some(group));
        }
        self.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        let meta = self.metadata()?;
        Ok((meta.mode(), meta.uid(), meta.gid()))
    }

    fn try_lock(&self, hold: Hold) -> io::Result<bool> {
        let taken = match hold {
            Hold::Shared => fs2::FileExt::try_lock_shared(self),
            Hold::Exclusive => fs2::FileExt::try_lock_exclusive(self),
        };
        match taken {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == fs2::lock_contended_error().kind() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        fs2::FileExt::unlock(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_file_of_ours_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("default.lock"));
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(RealDisk.open(&link, Open::Create).is_err());
        assert!(!victim.exists());
        RealDisk.open(&victim, Open::Create).unwrap().write(0, b"x").unwrap();
        assert!(RealDisk.open(&link, Open::Create).is_err());
    }

    #[test]
    fn what_is_opened_to_append_is_written_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("default.yaml");
        RealDisk.open(&path, Open::Create).unwrap().write(0, b"one").unwrap();
        RealDisk.open(&path, Open::Append).unwrap().write(0, b" two").unwrap();
        assert_eq!(RealDisk.open(&path, Open::Read).unwrap().read(0, 9).unwrap(), b"one two");
    }
}
