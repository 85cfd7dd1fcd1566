//! The parts of a running server other than its settings: reloading, write hooks, and starting under a web server.

pub(super) mod file_watch;
pub(super) mod hook_runtime;
pub(super) mod reload;
pub(super) mod runtimes;
pub(super) mod under_web_server;
