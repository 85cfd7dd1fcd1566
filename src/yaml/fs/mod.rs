//! Every call of this floor to a file system goes through the traits [`FileSystem`] and [`File`], so that tests can
//! fail, freeze, count or forget each one. [`RealFileSystem`] is the operating system.

mod file_bytes;
mod file_system;
mod real;

pub use self::file_bytes::FileBytes;
pub use self::file_system::{File, FileId, FileSystem, LockMode, OpenMode, Stat, UnusableFile};
pub use self::real::RealFileSystem;
pub(crate) use self::real::folder_of;
