//! What a user of the library calls: the plain verbs of a key/value store, over any [`Store`](crate::store::Store).
//!
//! Everything here is built on the few methods of the contract, so it behaves alike on every store. It keeps no data and
//! no lock: clients are cheap to clone, and any number of them may work on one store. `docs/library.md` is the guide.
//!
//! An error tells by its [`kind`](crate::model::Error::kind) what the caller can do about it. Of every method here:
//! [`Invalid`](crate::model::Kind::Invalid) is a name that is no key; further kinds are those of the store. Only what
//! more there is stands at a method.

pub mod blocking;
mod client;
pub mod copy;
mod expiry;
mod number;
mod read;
mod remove;
mod transaction;
mod typed;
mod update;
mod upkeep;
mod write;

pub use client::Client;
pub use transaction::Transaction;
pub use typed::{Typed, TypedPage};
pub use update::{Next, Swap};
pub use upkeep::Stats;
pub use write::Options;

use bytes::Bytes;

use crate::model::{Error, Key, Kind, Result};

/// The checked keys, in their order.
fn keys(names: &[impl AsRef<str>]) -> Result<Vec<Key>> {
    names.iter().map(|name| Key::new(name.as_ref())).collect()
}

/// A value as text.
fn text(key: &str, value: Bytes) -> Result<String> {
    String::from_utf8(value.into()).map_err(|error| {
        Error::new(Kind::Invalid, format!("the value of {key:?} is no text; read it as bytes")).because(error)
    })
}
