//! The words everything else is spoken in: names, values, entries, batches, pages, errors.
//!
//! This floor names no other. It does no I/O and takes the time as an argument.

mod batch;
mod clock;
mod content_type;
mod entry;
mod error;
mod event;
mod http_date;
mod name;
mod page;
mod revision;
mod span;
mod time;

pub use batch::{Batch, Change, Condition, Edge, Expectation, Outcome, Write};
pub use clock::{Clock, SystemClock};
pub use content_type::ContentType;
pub use entry::{Entry, Snapshot};
pub use error::{Error, Kind, Result};
pub use event::{Event, What};
pub use name::{Bucket, Key};
pub use page::{Page, Query, Shape};
pub use revision::Revision;
pub use span::parse_span;
pub use time::Time;
