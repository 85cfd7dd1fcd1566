//! Faults that were found once, in folders by floor: one file for each behaviour that must stay right.

mod cli;
mod postgres;
pub(crate) mod server;
mod web;
mod yaml;
