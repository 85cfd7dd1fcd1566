//! The commands that check a store, or write it anew.

pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod rekey;
pub(crate) mod sweep;
