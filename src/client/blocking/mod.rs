//! The client for programs without `async`: the same methods, but each returns when it is done.
//!
//! Every method waits for the one with the same name of [`client::Client`](super::client::Client). Its description and
//! its errors apply here too. Used from async code, every method fails with `Invalid`.

mod client;
mod executor;
mod json_parts;
mod log_handle;
mod read;
mod sweep_old;
mod transaction;
mod typed;
mod value_reader;
mod watch_changes;
mod write;

pub use self::client::Client;
pub use self::log_handle::Log;
pub use self::transaction::Transaction;
pub use self::typed::Typed;
pub use self::value_reader::ValueReader;
