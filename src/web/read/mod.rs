//! The common part of all reads: conditional responses, long polls, reuse of responses.

pub(super) mod coalesce;
pub(super) mod conditional_get;
pub(super) mod feed;
pub(super) mod fetch;
pub(super) mod long_poll;
pub(super) mod long_poll_limit;
pub(super) mod newest_value;
pub(super) mod page_limits;
pub(super) mod reuse;
pub(super) mod watched;
