//! The commands that make backups and restore them.

pub(crate) mod backup;
pub(crate) mod restore;
