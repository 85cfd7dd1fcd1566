//! The format of a data file, as text: writing it, reading it, and explaining its errors. No I/O.

pub(super) mod at_rest;
pub(super) mod block;
pub(super) mod document;
pub(super) mod entry_at_rest;
pub(super) mod handwritten;
pub(super) mod import_export;
pub(super) mod inline_json;
pub(super) mod line;
pub(super) mod log_header;
pub(super) mod log_line;
pub(super) mod long_document;
pub(super) mod mistakes;
pub(super) mod parse_error;
pub(super) mod parsed;
pub(super) mod reader;
pub(super) mod scalar;
pub(super) mod stream;
pub(super) mod whole_file;
