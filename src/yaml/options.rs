//! The settings of a file store.

use std::sync::Arc;
use std::time::Duration;

use super::file::open_files::OpenFiles;
use super::fs::{FileSystem, RealFileSystem};
use crate::model::{Clock, SystemClock};
use crate::store::Limits;

/// The settings of a [`YamlStore`](super::YamlStore).
#[derive(Clone)]
pub struct YamlOptions {
    /// The limits of values.
    pub limits: Limits,
    /// How long to wait for a bucket that is locked by others. Default: 5 s.
    pub lock_timeout: Duration,
    /// A file is compacted when its log is longer than its snapshot and than this, in bytes. Default: 64 KiB.
    pub min_log_bytes: u64,
    /// A file is brought into its form at rest when nobody has written it for this long, and when the process ends.
    /// Zero: never. Default: 2 s.
    pub tidy_after: Duration,
    /// Files longer than this, in bytes, are only compacted, and have no copy of the last good state. Default: 1 MiB.
    pub tidy_up_to: u64,
    /// This many buckets keep their files open, the most recently used ones. Each has two open files, and up to five
    /// while it is worked on. Default: as many as the limit of the process allows.
    pub max_open_buckets: usize,
    /// Whether this process answers one request and ends: then single keys are looked up in the files of a bucket
    /// that it has not read yet, and the bucket is not read as a whole. Default: no.
    pub is_short_lived: bool,
    /// Default: the clock of the machine.
    pub clock: Arc<dyn Clock>,
    /// Default: the file system of the machine.
    pub file_system: Arc<dyn FileSystem>,
}

impl Default for YamlOptions {
    /// See the fields.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            lock_timeout: Duration::from_secs(5),
            min_log_bytes: 64 << 10,
            tidy_after: Duration::from_secs(2),
            tidy_up_to: 1 << 20,
            max_open_buckets: OpenFiles::limit(),
            is_short_lived: false,
            clock: Arc::new(SystemClock),
            file_system: Arc::new(RealFileSystem),
        }
    }
}
