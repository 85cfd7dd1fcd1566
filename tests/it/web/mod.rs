//! The HTTP API: the classic and the REST contract on every store, its resources and settings, hostile requests.

mod between_servers;
mod classic;
mod following;
mod hostile;
mod large_values;
mod limited_secrets;
mod logs;
pub(crate) mod openapi;
mod polls;
mod ranges;
mod resources;
mod rest;
mod settings;
