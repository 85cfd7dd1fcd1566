//! The integration tests, as one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod door_echo;
mod door_fastcgi;
mod door_http;
