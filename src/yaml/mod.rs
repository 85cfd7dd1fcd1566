//! The file store: one YAML file a bucket, that any editor opens and any YAML reader reads.
//!
//! `docs/file-format.md` is the format and what a crash may leave. From below: [`disk`] is the seam to the file system;
//! `scalar`, `line`, `hand`, `stream` and `document` are the format; `image` is the state in memory, `load` how it is read;
//! `lock` and `file` are the two files of a bucket, `opened` says which are open; `turn` and `queue` say who works on them;
//! `commit`, `compact`, `watch`, `upkeep`, `status` and `draft` are what a bucket does.
//!
//! What always holds: nothing is acknowledged, and nothing is read, that is not durable; what cannot be read is never
//! written over.

mod block;
mod bucket;
mod commit;
mod compact;
pub mod disk;
mod document;
mod draft;
mod edited;
mod file;
mod gate;
mod hand;
mod image;
mod json;
mod last;
mod line;
mod load;
mod lock;
mod mistakes;
mod opened;
mod place;
mod queue;
mod reader;
mod rest;
mod scalar;
mod status;
mod store;
mod stream;
mod text;
mod tidy;
mod turn;
mod upkeep;
mod watch;

pub use disk::{Disk, RealDisk};
pub use draft::{Conflict, Draft, Replaced};
pub use gate::{Pass, WaitGate};
pub use line::Given;
pub use store::{Options, YamlStore};
pub use text::{read_text, write_text};
