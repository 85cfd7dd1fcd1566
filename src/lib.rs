//! An online key/value store that a person can read.
//!
//! Keys and values lie in YAML files that open in any editor, one file a bucket; any number of processes may work on them at
//! a time. The program `kvs` answers clients on them over HTTP, FastCGI and CGI and is a command line; this library is
//! what it is made of, for Rust programs that want the same store inside:
//!
//! ```
//! use std::sync::Arc;
//!
//! use kvs::api::{Client, Options};
//! use kvs::yaml::YamlStore;
//!
//! # #[tokio::main]
//! # async fn main() -> kvs::model::Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # let folder = folder.path().join("data");
//! let store = YamlStore::open(folder, Default::default())?;
//! let client = Client::new(Arc::new(store));
//!
//! client.set("kitchen/temp", "21.5").await?;
//! client.set_with("door", "open", &Options::ttl(std::time::Duration::from_secs(600))).await?;
//! assert_eq!(client.get_string("kitchen/temp").await?.as_deref(), Some("21.5"));
//!
//! // Exact, however many processes count.
//! assert_eq!(client.increment("visits", 1).await?, 1);
//!
//! // What `GET /?k=kitchen/temp,door` answers: whichever was written last.
//! let (key, entry) = client.newest(&["kitchen/temp", "door"]).await?.expect("both are there");
//! assert_eq!((key.as_str(), &entry.value[..]), ("door", &b"open"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Programs without `async` take [`blocking::Client`]; `docs/library.md` is the guide. A bucket of `kvs serve` and one of yours are the same bucket.
//!
//! # The floors
//!
//! Each module names only those above it in this list; `ARCHITECTURE.md` says why and shows the way of a request.
//!
//! - [`model`]: buckets, keys, entries, batches, revisions, errors
//! - [`store`]: the contract of a store, and the suite that every store must pass
//! - [`memory`], [`yaml`], [`postgres`]: the stores
//! - [`layer`]: stores that wrap a store
//! - [`hook`]: telling caches and other programs of changes
//! - [`api`]: the verbs of a key/value store over any of them
//! - [`service`]: requests to responses, as a router for axum
//! - [`door`]: FastCGI, CGI and HTTP, and the sockets they come over
//! - [`cli`]: the program

// Both panic where they cannot write; `cli/output.rs` has what does not.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod api;
pub mod cli;
pub mod door;
pub mod hook;
pub mod layer;
pub mod memory;
pub mod model;
pub mod postgres;
pub mod service;
pub mod store;
pub mod yaml;

pub use api::blocking;

/// The guide, so that its examples are run.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Guide;
