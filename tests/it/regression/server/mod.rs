//! Faults of the servers.

mod accept_errors;
mod fastcgi;
mod http;
pub(crate) mod programs;
mod request_bodies;
mod response_memory;
mod shares;
mod stopping;
mod trusted_proxies;
