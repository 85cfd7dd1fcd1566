//! Blobs: large values in a table of their own, in parts. `sql/blob_statements` describes the rows.

pub(super) mod blob_rows;
pub(super) mod lease;
pub(super) mod stored_parts;
pub(super) mod unused_blobs;
pub(super) mod upload;
