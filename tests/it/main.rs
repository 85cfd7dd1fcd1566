//! The integration tests, one binary: what holds of the whole rather than of one file.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod architecture;
mod attacks;
mod backups;
mod cli;
mod client;
mod copy;
mod documented_tests;
mod documents;
mod examples;
mod faults;
mod histories;
mod hooks;
mod layers;
mod operators;
mod postgres;
mod regression;
mod remote;
mod server;
mod simulation;
mod store;
mod support;
mod web;
mod yaml;
