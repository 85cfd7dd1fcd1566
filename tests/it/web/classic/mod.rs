//! The classic contract through the router, over every kind of store: every row of it, and what surrounds it.

mod listing;
mod reading;
mod waiting;
mod writing;
