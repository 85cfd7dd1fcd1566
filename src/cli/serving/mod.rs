//! The parts of a running server other than its settings: reloading, write hooks, and starting under a web server.

pub(super) mod file_watch;
pub(super) mod hook_runtime;
pub(super) mod process_metrics;
pub(super) mod reload;
pub(super) mod runtimes;
pub(super) mod under_web_server;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Lets this process do without pages of 2 MiB. With them the memory of unused parts of buffers is in use too, and
/// clearing one takes a good part of the time of a CGI request. Programs that it starts do without them, too.
pub(super) fn disable_huge_pages() {
    // If this fails, kvs takes more memory and time.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Lets the system write no core file of this process: its memory has secrets and values.
pub(super) fn disable_core_files() {
    // If a sandbox forbids this, the limit that the process was started with applies.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
