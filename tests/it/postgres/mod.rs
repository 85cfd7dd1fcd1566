//! The store on PostgreSQL, on private servers: behaviour that the suite of all stores does not cover.

mod blob_tables;
mod command;
mod distance;
mod encryption;
mod outage;
mod plain;
mod readers;
mod remembered_changes;
mod scaling;
mod server;
mod sharing;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvs::client::Client;
use kvs::model::Clock;
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::Store;

pub(crate) use server::Server;

/// The name of a new table.
pub(crate) fn table() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The URL of an empty store on the shared server, with more parameters.
pub(crate) fn empty(parameters: &str) -> String {
    Server::shared().url(&format!("table={}&{parameters}", table()))
}

/// A client of the store at a URL. Each has its own connections, like a process.
fn client(url: &str) -> Client {
    Client::new(open(url, PostgresOptions::default()))
}

/// A client with another clock.
fn client_at(url: &str, clock: Arc<dyn Clock>) -> Client {
    Client::new(open(url, PostgresOptions { clock: Arc::clone(&clock), ..PostgresOptions::default() }))
        .with_clock(clock)
}

fn open(url: &str, options: PostgresOptions) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(url, options).unwrap())
}
