//! The seam between this floor and a file system: two traits, and the types of their methods.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::file_bytes::FileBytes;

/// Identifies a state of a file: if any field differs, the file has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The number of the device that it is on.
    pub device: u64,
    /// The number of the file on its device. It changes if the file is replaced.
    pub inode: u64,
    /// Its length in bytes.
    pub len: u64,
    /// When its bytes were last changed, in nanoseconds since the Unix epoch.
    pub modified: i64,
    /// When its bytes, its name or its rights were last changed, in nanoseconds since the Unix epoch.
    pub changed: i64,
}

/// The identity of a file: it stays the same while the file exists, under all its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    /// The number of its device.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
}

impl Stat {
    /// The file whose state this is.
    #[must_use]
    pub fn id(&self) -> FileId {
        FileId { device: self.device, inode: self.inode }
    }

    /// Whether both are states of the same file.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For reading.
    Read,
    /// For reading, truncating, and writing at the end: what another process adds at the same time is not overwritten.
    /// A symbolic link is refused; follow it with [`FileSystem::resolve`] first.
    Append,
    /// For reading and writing; created if it is missing. A symbolic link is refused: the owner of the folder could
    /// make root write to another file.
    Create,
    /// Like `Create`, but a new file is readable by its owner only, until it [resembles](File::resemble) another one.
    Private,
}

/// How a file is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// Together with other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// The reason why no user of the store can use a file: the source of an `io::Error` of a [`FileSystem`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnusableFile(pub String);

impl fmt::Display for UnusableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnusableFile {}

impl UnusableFile {
    /// An `io::Error` with this source.
    pub fn error(text: impl Into<String>) -> io::Error {
        io::Error::other(Self(text.into()))
    }

    /// Whether an error has such a source.
    #[must_use]
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A file system.
pub trait FileSystem: Send + Sync + 'static {
    /// The state of a file; `None` if it does not exist.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// The target of a symbolic link; `None` if the path is not a symbolic link.
    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>>;
    /// Opens a regular file; anything else is an [`UnusableFile`]. A new file gets the owner, the group and the mode of
    /// its folder as far as this process may set them.
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>>;
    /// Renames a file, and replaces the target in one step. Durable after a sync of the folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after a sync of the folder.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and its missing parents, durably.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder unless it exists, durably, with the rights of the folder above it. If that does not exist, it is
    /// created too, as by [`make_folder`](Self::make_folder).
    fn make_subfolder(&self, path: &Path) -> io::Result<()>;
    /// Makes the creations, renames and removals in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a folder, in any order; none if the folder does not exist.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Whether files can be created in a folder, which need not exist yet. The error says why not.
    fn may_write(&self, folder: &Path) -> io::Result<()>;
    /// Allocates some disk space to a file, which can be released when the disk is full.
    fn reserve(&self, path: &Path) -> io::Result<()>;
    /// Releases that space. Returns whether there was any.
    fn release(&self, path: &Path) -> io::Result<bool>;
}

/// An open file.
pub trait File: Send + Sync {
    /// The state of the file.
    fn stat(&self) -> io::Result<Stat>;
    /// Which file it is.
    fn id(&self) -> io::Result<FileId> {
        Ok(self.stat()?.id())
    }
    /// The bytes from an offset on: `len` bytes, or fewer if the file ends before. If they are too many for the memory
    /// of the machine, the error is an [`UnusableFile`].
    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes>;
    /// Writes all bytes at an offset.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to a length in bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable. After an error it is unknown which writes since the last sync are
    /// durable.
    fn sync(&self) -> io::Result<()>;
    /// Gives this file the owner, group and mode of another one, as far as this process may.
    fn resemble(&self, other: &dyn File) -> io::Result<()>;
    /// Mode, user and group.
    fn rights(&self) -> io::Result<(u32, u32, u32)>;
    /// The number of names of the file: more than one if there are hard links to it.
    fn links(&self) -> io::Result<u64>;
    /// Locks the file, unless another process or handle holds a conflicting lock. Closing the file unlocks it.
    fn try_lock(&self, mode: LockMode) -> io::Result<bool>;
    /// Unlocks the file.
    fn unlock(&self) -> io::Result<()>;
}
