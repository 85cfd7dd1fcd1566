//! A store that another kvs server keeps, reached over its HTTP API (`docs/http-api.md`).
//!
//! The server checks the limits and the rights of the secret. A request that only reads is repeated if the connection
//! breaks; a write is repeated only if it was certainly not sent. If the response of a write is lost, the error is
//! [`Unavailable`](crate::model::ErrorKind::Unavailable): nobody knows whether the write was done.

mod address;
mod bucket_changes;
mod connection;
mod exchange;
mod failure;
mod json;
mod large_value;
mod read_requests;
mod remote_logs;
mod remote_options;
mod remote_store;
mod run_task;

pub use self::address::RemoteAddress;
pub use self::remote_options::RemoteOptions;
pub use self::remote_store::RemoteStore;
