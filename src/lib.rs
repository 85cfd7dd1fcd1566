//! An online key/value store that a person can read.

pub mod door;
pub mod model;
pub mod service;
pub mod store;
