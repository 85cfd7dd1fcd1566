//! Reads: lookups of keys and scans, one statement each.

pub(super) mod changes_page;
pub(super) mod lookup;
pub(super) mod read_batching;
pub(super) mod scan;
