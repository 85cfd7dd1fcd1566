//! An online key/value store that a person can read.

pub mod model;
pub mod service;
pub mod store;
pub mod yaml;
