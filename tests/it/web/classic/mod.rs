//! The classic contract, on every kind of store.

mod listing;
mod named_buckets;
mod reading;
mod waiting;
mod writing;
