//! Opens the store that a command works on.

pub(super) mod each_bucket;
pub(super) mod existing;
pub(super) mod layer_settings;
pub(super) mod open_store;
mod remote_secret;
