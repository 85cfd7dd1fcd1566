//! The commands for logs.

pub(crate) mod append;
pub(crate) mod show;
