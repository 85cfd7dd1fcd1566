//! kvs behind real web servers. Each test has its own, with its own folder and port on 127.0.0.1, stopped at the end.
//!
//! `servers` starts them, `client` sends raw bytes to them, `script` is a list of requests, and the other files are
//! tests; `browser` tests the index page, `schemathesis` all of `openapi.json`. `tests/packages.sh` installs the
//! servers. If one is missing, its tests fail; they are not skipped.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "tests create folders without the `FileSystem` of the store")]

mod attacks;
mod bodies;
mod browser;
mod classic;
mod client;
mod contention;
mod fastcgi_client;
mod hidden;
mod kill;
mod large_values;
mod main_job;
mod monitoring;
mod nginx_cache;
#[path = "../it/web/openapi.rs"]
mod openapi;
mod python;
mod rest;
mod restart;
mod rights;
mod run;
mod schemathesis;
mod script;
mod servers;
mod shared_host;
mod site;
mod stress;
#[path = "../it/support/tally.rs"]
mod tally;
mod varnish;
