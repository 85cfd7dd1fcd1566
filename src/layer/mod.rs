//! Stores that wrap a store and add one thing to it.
//!
//! A layer keeps the contract of what it wraps: it passes the suite of `store` over every store. It names `model` and
//! `store` only, neither a store nor another layer.

mod hooked;

pub use hooked::{Hooked, Listener};
