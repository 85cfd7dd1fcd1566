//! What a user of the library calls: the plain verbs of a key/value store, over any [`Store`](crate::store::Store).
//!
//! Everything here is built on the few methods of the contract, so it behaves alike on every store. It keeps no data and
//! no lock: clients are cheap to clone, and any number of them may work on one store.

pub mod blocking;
mod client;
mod read;
mod update;
mod write;

pub use client::Client;
pub use update::{Next, Swap};
pub use write::Options;

use crate::model::{Key, Result};

/// The checked keys, in their order.
fn keys(names: &[impl AsRef<str>]) -> Result<Vec<Key>> {
    names.iter().map(|name| Key::new(name.as_ref())).collect()
}
