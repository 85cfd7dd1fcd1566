//! The JSON of requests and responses.

pub(super) mod json_batch;
pub(super) mod json_entry;
pub(super) mod json_log;
