//! Opens the store that a command works on.

pub(super) mod backup_folder;
pub(super) mod each_bucket;
pub(super) mod existing;
pub(super) mod layer_settings;
pub(super) mod open_store;
pub(super) mod remote_secret;
