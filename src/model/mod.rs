//! The types that all floors share: names, values, entries, batches, pages, errors.
//!
//! This floor imports no other floor. It does no I/O and takes the time as an argument.

mod batch;
mod blob;
mod changes;
mod clock;
mod content_type;
mod entry;
mod error;
mod escaped_text;
mod event;
mod http_date;
pub mod json;
mod log;
mod name;
mod revision;
mod scan;
mod span;
mod time;

pub use self::batch::{Batch, Change, Condition, End, Expectation, Outcome, Returning, Write};
pub use self::blob::{BlobId, BlobRef};
pub use self::changes::{ChangesPage, ChangesQuery, KeyChange};
pub use self::clock::{Clock, SystemClock};
pub use self::content_type::ContentType;
pub use self::entry::{Entry, Snapshot};
pub use self::error::{Error, ErrorKind, Result};
pub use self::escaped_text::escaped;
pub use self::event::{ChangeKind, Event};
pub use self::log::{
    AppendOutcome, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, LogStart, NewLogEntry, Retention,
};
pub use self::name::{Bucket, Key};
pub use self::revision::Revision;
pub use self::scan::{Page, Projection, Scan};
pub use self::span::{parse_since, parse_span};
pub use self::time::Time;
