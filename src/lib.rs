//! An online key/value store that a person can read.
//!
//! Keys and values are in YAML files that open in any editor, one file for each bucket. Any number of processes may use
//! them at once. The program `kvs` serves them over HTTP, FastCGI and CGI, and is a command line. It is built on this
//! library, which other Rust programs can use in the same way:
//!
//! ```
//! use std::time::Duration;
//!
//! use kvs::client::Options;
//!
//! # #[tokio::main]
//! # async fn main() -> kvs::model::Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # let url = format!("yaml:{}", folder.path().join("data").display());
//! let client = kvs::open(&url)?; // such as yaml:data
//!
//! client.set("kitchen/temp", "21.5").await?;
//! client.set_with("door", "open", &Options::ttl(Duration::from_secs(600))).await?;
//! assert_eq!(client.get_string("kitchen/temp").await?.as_deref(), Some("21.5"));
//!
//! // Exact, however many processes count.
//! assert_eq!(client.increment("visits", 1).await?, 1);
//!
//! // The same as `GET /?k=kitchen/temp,door`: the most recently updated of these keys.
//! let (key, entry) = client.get_latest(&["kitchen/temp", "door"]).await?.expect("both exist");
//! assert_eq!((key.as_str(), &entry.value[..]), ("door", &b"open"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Programs without `async` use [`blocking::open`]. `docs/library.md` is the guide. A bucket of `kvs serve` and a
//! bucket of the library are the same.
//!
//! # Features
//!
//! - none: [`model`], [`store`], [`memory`], [`yaml`], [`client`], [`copy`] and [`layers`], with few dependencies
//! - `codecs`: values of Rust types as YAML, CBOR and MessagePack
//! - `compression`, `encryption`: the layers that compress and encrypt values
//! - `postgres`: the store on PostgreSQL
//! - `remote`: the store of another kvs server, over HTTP
//! - `server`: the HTTP API, the servers, the write hooks and the program; includes `postgres` and `remote`
//! - `full`, the default: all of these
//! - `test-suite`: `store::suite`, the cases that every implementation of a store must pass
//!
//! # The floors
//!
//! Each module imports only modules above it in this list. `ARCHITECTURE.md` gives the reasons and a tour.
//!
//! - [`model`]: buckets, keys, entries, batches, revisions, errors
//! - [`store`]: the contract of a store, and the suite that every store must pass
//! - [`memory`], [`yaml`], `postgres`, `remote`: the stores
//! - [`layers`]: stores that wrap a store
//! - `hooks`: reports changes to caches and to other programs
//! - [`client`]: the methods of a key/value store, over any of them
//! - `codecs`: more formats for values of Rust types
//! - [`copy`]: copies one store into another
//! - `web`: the HTTP API, requests to responses
//! - `server`: HTTP, FastCGI and CGI, and their sockets
//! - `cli`: the program

#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, unused_imports, reason = "only a server reads metrics and makes backups")
)]
// Both panic if they cannot write; `cli/output.rs` has functions that do not.
#![warn(clippy::print_stderr, clippy::print_stdout)]

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cli;
pub mod client;
#[cfg(feature = "codecs")]
pub mod codecs;
pub mod copy;
#[cfg(feature = "server")]
pub mod hooks;
#[cfg(feature = "remote")]
mod https;
pub mod layers;
pub mod memory;
pub mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
#[cfg(feature = "server")]
pub mod web;
pub mod yaml;

use std::sync::Arc;

use crate::client::Client;
use crate::layers::LargeValues;
use crate::memory::MemoryStore;
use crate::model::{Error, ErrorKind, Result};
use crate::store::{Limits, Store};
use crate::yaml::YamlStore;

/// The client for programs without `async`.
pub mod blocking {
    pub use crate::client::blocking::*;
    use crate::model::Result;

    /// Opens the store at a URL, as [`open`](crate::open) does.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let url = format!("yaml:{}", folder.path().join("data").display());
    /// let client = kvs::blocking::open(&url)?; // such as yaml:data
    /// client.set("door", "open")?;
    /// assert_eq!(client.get_string("door")?.as_deref(), Some("open"));
    /// # Ok::<(), kvs::model::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](crate::open).
    pub fn open(url: &str) -> Result<Client> {
        Client::new(crate::store_at(url)?)
    }
}

/// Opens the store at a URL, and returns a client of its bucket `default`.
///
/// | URL | store |
/// |---|---|
/// | `yaml:DIR` | YAML files in the folder `DIR`, which the first write creates |
/// | `memory:` | in memory, a new one each time |
/// | `postgresql://USER@HOST/DATABASE` | tables of a PostgreSQL database |
/// | `https://HOST/PATH/` | the store of another kvs server; its secret is in the variable `KVS_SECRET` |
///
/// PostgreSQL needs the feature `postgres` and a tokio runtime, and another server needs `remote` and a runtime. They are
/// connected with the first call, so their errors come from that call.
///
/// # Errors
/// `Invalid` if the URL is wrong, or names a store that this build does not have; otherwise the error with which the
/// store could not be opened.
pub fn open(url: &str) -> Result<Client> {
    Ok(Client::new(store_at(url)?))
}

fn with_large_values(store: impl Store) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(LargeValues::new(Arc::new(store), Limits::default())?))
}

fn store_at(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("yaml", folder)) if !folder.is_empty() => {
            with_large_values(YamlStore::open(folder, yaml::YamlOptions::default())?)
        }
        Some(("memory", "")) => with_large_values(MemoryStore::default()),
        #[cfg(feature = "postgres")]
        Some(("postgresql" | "postgres", _)) => {
            let store = postgres::PostgresStore::open(url, postgres::PostgresOptions::default())?;
            Ok(Arc::new(LargeValues::new(Arc::new(store), Limits::default())?.with_lazy_removal()))
        }
        #[cfg(not(feature = "postgres"))]
        Some(("postgresql" | "postgres", _)) => Err(Error::new(
            ErrorKind::Invalid,
            "this build of kvs has no PostgreSQL store; enable the feature postgres of the crate kvs",
        )),
        #[cfg(feature = "remote")]
        Some(("https" | "http", _)) => {
            let secret = std::env::var("KVS_SECRET").ok();
            let options = remote::RemoteOptions { secret, ..remote::RemoteOptions::default() };
            Ok(Arc::new(remote::RemoteStore::new(url.parse()?, &options)?))
        }
        #[cfg(not(feature = "remote"))]
        Some(("https" | "http", _)) => Err(Error::new(
            ErrorKind::Invalid,
            "this build of kvs has no store over HTTP; enable the feature remote of the crate kvs",
        )),
        // The URL is not repeated: it may hold a password.
        _ => Err(Error::new(
            ErrorKind::Invalid,
            "unknown URL of a store; write yaml:DIR, memory:, postgresql://USER@HOST/DATABASE or https://HOST/PATH/",
        )),
    }
}

/// Runs the examples of this documentation on an empty store in memory.
#[doc(hidden)]
pub mod example {
    use std::sync::Arc;

    use crate::memory::MemoryStore;
    use crate::model::Result;
    use crate::{blocking, client};

    /// Runs an example of the async client.
    ///
    /// # Panics
    /// If the example fails.
    pub fn run(example: impl AsyncFnOnce(client::Client) -> Result<()>) {
        let client = client::Client::new(Arc::new(MemoryStore::default()));
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(example(client)).unwrap_or_else(|error| panic!("{error}")),
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs an example of the blocking client.
    ///
    /// # Panics
    /// If the example fails.
    pub fn run_blocking(example: impl FnOnce(blocking::Client) -> Result<()>) {
        let client = blocking::Client::new(Arc::new(MemoryStore::default()));
        client.and_then(example).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The guide, so that its examples are run.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../docs/library.md")]
struct Guide;
