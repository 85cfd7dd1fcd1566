//! The store on PostgreSQL: what the suite cannot know, on private servers.

mod command;
mod distance;
mod encryption;
mod outage;
mod plain;
mod readers;
mod server;
mod sharing;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvs::api::Client;
use kvs::model::Clock;
use kvs::postgres::{Options, PostgresStore};
use kvs::store::Store;

pub(crate) use server::Server;

/// The name of a table that nobody else uses.
pub(crate) fn table() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The URL of a store that is empty, on the server that the tests share, with these parameters besides.
pub(crate) fn empty(parameters: &str) -> String {
    Server::shared().url(&format!("table={}&{parameters}", table()))
}

/// A client of the store at a URL. Each has connections of its own, as processes have.
fn client(url: &str) -> Client {
    Client::new(open(url, Options::default()))
}

/// A client whose clock is another.
fn client_at(url: &str, clock: Arc<dyn Clock>) -> Client {
    Client::new(open(url, Options { clock: Arc::clone(&clock), ..Options::default() })).with_clock(clock)
}

fn open(url: &str, options: Options) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(url, options).unwrap())
}
