//! The classic contract, on every kind of store.

mod listing;
mod reading;
mod waiting;
mod writing;
