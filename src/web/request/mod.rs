//! Parsers for the parts of a request: query, form, body, preconditions, expiry.

pub(super) mod accept_header;
pub(super) mod body;
pub(super) mod byte_range;
pub(super) mod client_timestamps;
pub(super) mod content_digest;
pub(super) mod cross_site;
pub(super) mod date_header;
pub(super) mod etag;
pub(super) mod form;
pub(super) mod json_fields;
pub(super) mod number;
pub(super) mod read_preconditions;
pub(super) mod ttl;
pub(super) mod value_body;
pub(super) mod write_preconditions;
