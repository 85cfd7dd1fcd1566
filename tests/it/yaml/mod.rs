//! The YAML store: crashes, failures, races, edits by a person, logs, and the file format.

mod blobs;
mod costs;
pub(crate) mod crash;
mod damage;
mod edits;
mod failures;
pub(crate) mod fixtures;
mod following;
pub(crate) mod formats;
mod logs;
mod look_up;
mod model;
mod person;
mod processes;
mod races;
