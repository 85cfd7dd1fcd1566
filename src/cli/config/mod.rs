//! The settings: flags, environment variables, `config.yaml` and defaults, combined and checked.

pub(super) mod file;
pub(super) mod flags;
pub(super) mod home;
pub(super) mod policies;
pub(super) mod server_settings;
pub(super) mod settings;
pub(super) mod sources;
pub(super) mod suggest;
pub(super) mod tilde;
pub(super) mod units;
pub(super) mod variables;
