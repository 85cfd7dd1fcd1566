//! The file system of the operating system.
//!
//! It opens regular files only, and opening never blocks: a FIFO or a device in the place of a file is an error.

use std::fs::{Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FallocateFlags, OFlags};

use super::file_bytes::FileBytes;
use super::file_system::{File, FileId, FileSystem, LockMode, OpenMode, Stat, UnusableFile};

/// The mode of a new folder: for its owner only.
const FOLDER_MODE: u32 = 0o700;
/// The bits of a folder's mode that its files can get. Others never get the right to write.
const FILE_BITS: u32 = 0o664;
/// The least and the most disk space to reserve.
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 20;
/// A longer read is refused if it needs more than half of the machine's memory.
const MAX_UNCHECKED_READ_BYTES: u64 = 64 << 20;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

fn stat_of(meta: &Metadata) -> Stat {
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
impl FileSystem for RealFileSystem {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        if_exists(std::fs::metadata(path)).map(|meta| meta.as_ref().map(stat_of))
    }

    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let Some(link) = if_exists(std::fs::symlink_metadata(path))?.filter(Metadata::is_symlink) else {
            return Ok(None);
        };
        let Some(target) = if_exists(std::fs::metadata(path))? else {
            return Err(UnusableFile::error(
                "it is a symbolic link that leads to no file; remove it, or create the file",
            ));
        };
        // Like SymLinksIfOwnerMatch of Apache: otherwise anyone who may write the folder could make root write any
        // file.
        if ![target.uid(), rustix::process::geteuid().as_raw()].contains(&link.uid()) {
            return Err(UnusableFile::error(
                "it is a symbolic link to a file of another user; remove it, or give it to that user",
            ));
        }
        path.canonicalize().map(Some)
    }

    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>> {
        loop {
            match open_present(path, how) {
                Err(e)
                    if e.kind() == io::ErrorKind::NotFound && matches!(how, OpenMode::Create | OpenMode::Private) => {}
                opened => return Ok(Box::new(opened?)),
            }
            let mut options = OpenOptions::new();
            match options.read(true).write(true).create_new(true).mode(0o600).open(path) {
                // Another process has created it.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    let created = created?;
                    give_to_folder_owner(&created, path, how)?;
                    return Ok(Box::new(OpenFile::new(created)?));
                }
            }
        }
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
            match std::fs::DirBuilder::new().mode(FOLDER_MODE).create(folder) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                created => created?,
            }
            if let Ok(above) = std::fs::metadata(folder_of(folder)) {
                // The system refuses this to anyone but root, and then the folder belongs to the caller.
                let _ = std::os::unix::fs::lchown(folder, Some(above.uid()), Some(above.gid()));
            }
            self.sync_folder(folder_of(folder))?;
        }
        Ok(())
    }

    fn make_subfolder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return refuse_link_of_others(path);
        }
        let above = folder_of(path);
        self.make_folder(above)?;
        let above = std::fs::metadata(above)?;
        self.make_folder(path)?;
        let folder = std::fs::File::open(path)?;
        let grouped = give(&folder, above.uid(), above.gid());
        folder.set_permissions(Permissions::from_mode(shared_with(above.mode() & 0o7777, grouped)))?;
        folder.sync_all()
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

    fn may_write(&self, folder: &Path) -> io::Result<()> {
        let above = folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
        for path in above {
            match rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK) {
                Err(rustix::io::Errno::NOENT) => {}
                access => {
                    access?;
                    // A file system without a block count has no limit.
                    let space = rustix::fs::statvfs(path)?;
                    let available = if rustix::process::geteuid().is_root() { space.f_bfree } else { space.f_bavail };
                    return if space.f_blocks > 0 && available == 0 {
                        Err(io::ErrorKind::StorageFull.into())
                    } else {
                        Ok(())
                    };
                }
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn reserve(&self, path: &Path) -> io::Result<()> {
        if if_exists(std::fs::metadata(path))?.is_some_and(|meta| meta.len() > 0) {
            return Ok(());
        }
        let space = rustix::fs::statvfs(folder_of(path))?;
        let part = (space.f_bavail.saturating_mul(space.f_frsize) / 16).min(*RESERVE_BYTES.end());
        if part < *RESERVE_BYTES.start() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(self.open(path, OpenMode::Create)?);
        let file = open_present(path, OpenMode::Create)?;
        let reserved = match rustix::fs::fallocate(&file.file, FallocateFlags::empty(), 0, part) {
            // This file system cannot allocate space in advance. Writing zeros does not help: where they are compressed
            // they need none.
            Err(rustix::io::Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            other => other.map_err(io::Error::from),
        };
        if reserved.is_err() {
            self.remove(path)?;
        }
        reserved
    }

    fn release(&self, path: &Path) -> io::Result<bool> {
        let file = match open_present(path, OpenMode::Create) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let had_space = file.file.metadata()?.len() > 0;
        file.file.set_len(0)?;
        Ok(had_space)
    }
}

/// `None` if the file does not exist.
fn if_exists(meta: io::Result<Metadata>) -> io::Result<Option<Metadata>> {
    match meta {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Refuses a folder that is a symbolic link of another user. A user who may write to its parent folder could otherwise
/// make kvs write files to any folder. Root may move such a folder to another disk.
fn refuse_link_of_others(folder: &Path) -> io::Result<()> {
    let link = std::fs::symlink_metadata(folder)?;
    let allowed = [0, rustix::process::geteuid().as_raw(), std::fs::metadata(folder)?.uid()];
    if link.is_symlink() && !allowed.contains(&link.uid()) {
        return Err(UnusableFile::error(
            "it is a symbolic link of another user to a folder of someone else; remove it, or give it to that user",
        ));
    }
    Ok(())
}

/// Opens an existing regular file.
fn open_present(path: &Path, how: OpenMode) -> io::Result<OpenFile> {
    // Checked before opening, since opening a device may have an effect.
    ensure_regular(&if how == OpenMode::Read { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }?)?;
    let links = if how == OpenMode::Read { OFlags::empty() } else { OFlags::NOFOLLOW };
    let mut options = OpenOptions::new();
    options.read(true).write(how != OpenMode::Read).append(how == OpenMode::Append);
    options.custom_flags((OFlags::NONBLOCK | links).bits().cast_signed());
    let file = options.open(path)?;
    let meta = file.metadata()?;
    ensure_regular(&meta)?;
    Ok(OpenFile { file, id: stat_of(&meta).id() })
}

fn ensure_regular(meta: &Metadata) -> io::Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    let what = match meta.file_type() {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a symbolic link",
        _ => "a FIFO, a device or a socket",
    };
    Err(UnusableFile::error(format!("it is {what} and not a file; remove it")))
}

/// Gives a new file to the owner and group of its folder, as far as possible, and to the users that the folder's mode
/// allows. So the web server can write the files that root creates, and other users cannot read what they should not.
fn give_to_folder_owner(file: &std::fs::File, path: &Path, how: OpenMode) -> io::Result<()> {
    let folder = std::fs::metadata(folder_of(path))?;
    let grouped = give(file, folder.uid(), folder.gid());
    if how == OpenMode::Create {
        file.set_permissions(Permissions::from_mode(shared_with(folder.mode() & FILE_BITS | 0o600, grouped)))?;
    }
    Ok(())
}

/// Gives a file to a user and a group. Only root may do both; others may at least set a group of their own. Returns
/// whether the group was set.
fn give(file: &std::fs::File, user: u32, group: u32) -> bool {
    let give = std::os::unix::fs::fchown;
    give(file, Some(user), Some(group)).or_else(|_| give(file, None, Some(group))).is_ok()
}

/// The mode of a file. If its group could not be set, its present group gets only the rights of all others.
fn shared_with(mode: u32, grouped: bool) -> u32 {
    if grouped { mode } else { mode & !0o070 | (mode & 0o007) << 3 }
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Half of the memory of the machine or of the container.
fn max_read_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    machine.map_or(u64::MAX, |kilobytes| kilobytes << 10).min(container.unwrap_or(u64::MAX)) / 2
}

/// An open file, with its identity, which never changes.
struct OpenFile {
    file: std::fs::File,
    id: FileId,
}

impl OpenFile {
    fn new(file: std::fs::File) -> io::Result<Self> {
        let id = stat_of(&file.metadata()?).id();
        Ok(Self { file, id })
    }
}

impl File for OpenFile {
    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.file.metadata()?))
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(self.id)
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes> {
        if len > MAX_UNCHECKED_READ_BYTES && len > max_read_bytes() {
            let text = format!("its {len} bytes are too many for the memory of this machine; make the file smaller");
            return Err(UnusableFile::error(text));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        FileBytes::read(len, |buffer, filled| self.file.read_at(buffer, offset + filled as u64))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        let (mode, user, group) = other.rights()?;
        let grouped = give(&self.file, user, group);
        self.file.set_permissions(Permissions::from_mode(shared_with(mode & 0o7777, grouped)))
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        let meta = self.file.metadata()?;
        Ok((meta.mode(), meta.uid(), meta.gid()))
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.nlink())
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let locked = match mode {
            LockMode::Shared => fs2::FileExt::try_lock_shared(&self.file),
            LockMode::Exclusive => fs2::FileExt::try_lock_exclusive(&self.file),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == fs2::lock_contended_error().kind() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        fs2::FileExt::unlock(&self.file)
    }
}

#[cfg(test)]
mod tests;
