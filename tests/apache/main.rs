//! kvs behind real web servers, each private to a test: own folder, own port on 127.0.0.1, stopped when the test ends.
//!
//! `servers` starts them, `client` speaks to them in raw bytes, `script` is one list of requests, and the other files
//! say what must hold; `browser` drives the index page, `schemathesis` all that `openapi.json` tells. `tests/packages.sh` installs the servers; a missing one is a failure, not a skipped test.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "tests lay out folders without the store's disk seam")]

mod bodies;
mod browser;
mod classic;
mod client;
mod contention;
mod fastcgi_client;
mod hidden;
mod kill;
mod main_job;
mod metrics;
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
mod site;
mod varnish;
