//! The integration tests, one binary: what holds of the whole rather than of one file.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod architecture;
mod classic;
mod cli;
mod client;
mod copy;
mod costs;
mod crash;
mod damage;
mod disks;
mod documents;
mod door_client;
mod door_echo;
mod door_fastcgi;
mod door_http;
mod door_recall;
mod door_spawned;
mod doubles;
mod edits;
mod endpoint;
mod examples;
mod failures;
mod formats;
mod hooks;
mod hostile;
mod layers;
mod model;
mod open;
mod openapi;
mod person;
mod pgkv;
mod polls;
mod postgres;
mod processes;
mod races;
mod receiver;
mod regression;
mod rest;
mod rest_resources;
mod rest_settings;
mod scaling;
mod served;
mod stores;
mod yaml_helpers;
