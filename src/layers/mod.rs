//! Layers: stores that wrap another store and add one feature.
//!
//! A layer keeps the contract of the store inside it, and passes the suite of `store` over every store. This floor
//! imports `model` and `store` only: a layer knows no particular store and no other layer.

mod hooked;

pub use self::hooked::{ChangeListener, Hooked};
