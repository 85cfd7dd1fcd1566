//! The integration tests, as one binary.

mod door_echo;
mod door_fastcgi;
mod door_http;
