//! An online key/value store that a person can read.

pub mod api;
pub mod cli;
pub mod door;
pub mod memory;
pub mod model;
pub mod service;
pub mod store;
pub mod yaml;

pub use api::blocking;
