//! The store on PostgreSQL, on private servers: behaviour that the suite of all stores does not cover.

mod blob_tables;
mod cluster;
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

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Once};
use std::time::UNIX_EPOCH;

use kvs::client::Client;
use kvs::model::Clock;
use kvs::postgres::{PostgresOptions, PostgresStore};
use kvs::store::Store;

pub(crate) use server::Server;

/// The name of a new table. A server of `make test-cluster` may still have those of an earlier run.
pub(crate) fn table() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static RUN: LazyLock<u64> = LazyLock::new(|| UNIX_EPOCH.elapsed().unwrap().as_secs());
    format!("t{}_{}", *RUN, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The URL of an empty store on the shared server, with more parameters.
///
/// `make test-cluster` names another server in `CLUSTER_URL`.
pub(crate) fn empty(parameters: &str) -> String {
    if let Ok(cluster) = std::env::var("CLUSTER_URL") {
        let begin = if cluster.contains('?') { '&' } else { '?' };
        return made_on(format!("{cluster}{begin}table={}&{parameters}", table()));
    }
    Server::shared().url(&format!("table={}&{parameters}", table()))
}

/// Creates the tables with the program, distributed if `CLUSTER_DISTRIBUTED` is set.
fn made_on(url: String) -> String {
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_kvs"));
    init.args(["store", "init", "--store", &url]);
    if std::env::var_os("CLUSTER_DISTRIBUTED").is_some() {
        init.arg("--distributed");
    }
    let output = init.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    url
}

/// The URL of an empty store that takes its tables for those of a Citus cluster: the user sees a catalog of Citus in
/// which every table is distributed.
pub(crate) fn empty_as_distributed() -> String {
    static CATALOG: Once = Once::new();
    CATALOG.call_once(|| {
        Server::shared().psql(
            "CREATE SCHEMA cluster;              CREATE VIEW cluster.pg_dist_partition AS SELECT oid::regclass AS logicalrelid FROM pg_class;              CREATE ROLE cluster SUPERUSER LOGIN; ALTER ROLE cluster SET search_path = public, cluster",
        );
    });
    empty("").replace("user=kvs", "user=cluster")
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
