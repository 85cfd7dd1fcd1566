//! The parts of a response: status and headers, errors, JSON, CORS, cache policy.

pub(super) mod api_error;
pub(super) mod blob_content;
pub(super) mod cache_urls;
pub(super) mod change_events;
pub(super) mod cors;
pub(super) mod csv_field;
pub(super) mod entry_json;
pub(super) mod event_stream;
pub(super) mod json_response;
pub(super) mod list_format;
pub(super) mod name_list;
pub(super) mod problem;
pub(super) mod response;
pub(super) mod safe_types;
pub(super) mod streamed;
pub(super) mod value_response;
