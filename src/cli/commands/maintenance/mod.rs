//! The commands that check a store or a deployment, or write a store anew.

pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod doctor;
pub(crate) mod rekey;
pub(crate) mod sweep;
