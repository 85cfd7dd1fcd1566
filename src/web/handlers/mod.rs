//! The handlers: one file or folder for each resource of the HTTP API (`docs/http-api.md`).

pub(super) mod changes;
pub(super) mod classic_get;
pub(super) mod classic_post;
pub(super) mod delete_prefix;
pub(super) mod entry;
pub(super) mod events;
pub(super) mod health;
pub(super) mod help;
pub(super) mod index;
pub(super) mod list;
pub(super) mod list_buckets;
pub(super) mod log;
pub(super) mod maintain;
pub(super) mod metrics;
pub(super) mod multi;
pub(super) mod openapi;
pub(super) mod status;
pub(super) mod txn;
