//! The parts of a running server other than its settings: reloading, write hooks, and starting under a web server.

pub(super) mod file_watch;
pub(super) mod hook_runtime;
pub(super) mod reload;
pub(super) mod runtimes;
pub(super) mod under_web_server;

/// Lets this process do without pages of 2 MiB. With them the memory of unused parts of buffers is in use too, and
/// clearing one takes a good part of the time of a CGI request. Programs that it starts do without them, too.
pub(super) fn disable_huge_pages() {
    // If this fails, kvs takes more memory and time.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
