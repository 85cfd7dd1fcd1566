//! The seam: every call this floor makes to a file system goes through these two traits, so that tests can fail, freeze,
//! count, or forget each one. [`RealDisk`] is the operating system.

mod real;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use real::RealDisk;

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

impl Stat {
    /// Whether it is the same file, however it was changed.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// To read.
    Read,
    /// To read, to cut, and to write at the end: what another adds at the same time is not written over. A symbolic link is
    /// refused: [`Disk::resolve`] follows it before.
    Append,
    /// To read and write; made if it is missing. A symbolic link is refused: whoever owns the folder could lead root astray.
    Create,
    /// The same, but a new file is for its owner alone, until it [resembles](File::resemble) another one.
    Private,
}

/// How to hold a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// Why a file is not fit to be used by the store, whoever asks: the source of an `io::Error` that a [`Disk`] gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit(pub String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl Unfit {
    /// As an error of a call.
    pub fn error(text: impl Into<String>) -> io::Error {
        io::Error::other(Self(text.into()))
    }

    /// Whether this is why a call failed.
    #[must_use]
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    /// The state of a file; none if there is no such file.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// Where a symbolic link leads; none if the name is that of no link.
    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>>;
    /// Opens a regular file; anything else is [`Unfit`]. A new one has the owner, the group and the mode of its folder, as
    /// far as that can be had.
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
    /// Whether files can be made in a folder, which may be still to be made: an error says why they cannot.
    fn may_write(&self, folder: &Path) -> io::Result<()>;
    /// Sees to it that a file takes up some room on the disk, to be given back when there is no other.
    fn reserve(&self, path: &Path) -> io::Result<()>;
    /// Gives that room back. False: it took up none.
    fn release(&self, path: &Path) -> io::Result<bool>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Its state.
    fn stat(&self) -> io::Result<Stat>;
    /// The bytes from an offset on, as many as asked for unless the file ends before; more than fit into memory are
    /// [`Unfit`].
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
    /// How many names the file has: more than one if there are hard links to it.
    fn links(&self) -> io::Result<u64>;
    /// Takes the lock of this file if nobody holds it otherwise. Closing the file gives it back.
    fn try_lock(&self, hold: Hold) -> io::Result<bool>;
    /// Gives the lock back.
    fn unlock(&self) -> io::Result<()>;
}
