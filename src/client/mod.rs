//! The API of the library: the methods of a key/value store, on any [`Store`](crate::store::Store).
//!
//! Everything is built on the few methods of the contract, so it works the same on every store. A client has no data
//! and no lock: it is cheap to clone, and any number of clients can use one store. `docs/library.md` is the guide.
//!
//! The [`kind`](crate::model::Error::kind) of an error says what the caller can do. Every method fails with
//! [`Invalid`](crate::model::ErrorKind::Invalid) if a key is not valid, and with the errors of the store. A method
//! lists only its other errors.

pub mod blocking;
mod client;
mod codec;
mod compare_and_swap;
mod counter;
mod delete;
mod get;
mod json_parts;
mod large_values;
mod log_handle;
mod parse;
mod set;
mod stats;
mod sweep_old;
mod transaction;
mod ttl;
mod typed;
mod value;
mod watch_changes;

pub use self::client::Client;
pub use self::codec::{Codec, CodecError, Json};
pub use self::compare_and_swap::{CasOutcome, UpdateAction};
pub use self::large_values::{LargeValue, ValueParts};
pub use self::log_handle::{Log, LogEntries};
pub use self::set::Options;
pub use self::stats::Stats;
pub use self::sweep_old::Sweep;
pub use self::transaction::Transaction;
pub use self::typed::{Typed, TypedPage};
pub use self::value::IntoValue;
pub use self::watch_changes::{Watch, WatchEvent};
