//! The file store: one YAML file for each bucket, which any editor opens and any YAML reader reads.
//!
//! `docs/file-format.md` describes the format, and what a crash may leave. From the bottom:
//!
//! - [`fs`]: the seam to the file system
//! - `blocking`: work that blocks the thread of a task
//! - `format`: the text of a data file, without files and locks
//! - `state`: the state of a bucket in memory
//! - `file`: the data file of a bucket, its lock file, and the files next to them
//! - `bucket`: what can be done with a bucket: read, write, wait, compact, edit, check
//! - `log`: the logs of a bucket
//! - `blob`: the blobs of a bucket
//! - `store`: a folder of buckets
//!
//! What always holds: nothing is acknowledged, and nothing is shown, before it is durable; a file that cannot be read
//! is never overwritten.

mod blob;
mod blocking;
mod bucket;
mod edit_session;
mod file;
mod format;
pub mod fs;
mod inspected;
mod last_failures;
mod log;
mod measured;
mod options;
mod state;
mod store;
mod store_folder;
mod store_status;
mod whole_copy;

pub use self::bucket::waiter_lock::{WaiterGuard, WaiterLock};
pub use self::edit_session::{EditConflict, EditSession, EditSummary};
pub use self::file::refresh::DAMAGE_LOG_TARGET;
pub use self::format::import_export::{read_text, write_text};
pub use self::format::parsed::ParsedEntry;
pub use self::fs::{FileSystem, RealFileSystem};
pub use self::options::YamlOptions;
pub use self::store::YamlStore;
pub use self::whole_copy::{CopiedBucket, LinkBlob};
