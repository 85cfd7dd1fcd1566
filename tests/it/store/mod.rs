//! Runs the suite on every store.
//!
//! A new store is one line in [`stores!`]. All other tests that run on every store then use it too.

mod open;

use std::path::Path;
use std::sync::Arc;

use kvs::layers::Hooked;
use kvs::memory::MemoryStore;
use kvs::model::{Clock, Event};
use kvs::postgres::{self, PostgresStore};
use kvs::store::suite;
use kvs::store::{Limits, Store};
use kvs::yaml::{self, YamlStore};

/// Makes an empty store. A store with files keeps them in the folder, which is empty.
pub(crate) type Make = fn(Arc<dyn Clock>, Limits, &Path) -> Arc<dyn Store>;

/// The store with this name.
pub(crate) fn named(name: &str) -> Make {
    STORES.iter().find(|(known, _)| *known == name).unwrap().1
}

/// Adds a listener that checks its events.
fn hooked(inner: Arc<dyn Store>) -> Arc<dyn Store> {
    let listener = |events: Vec<Event>| assert!(!events.is_empty() && events.iter().all(|e| !e.bucket.is_reserved()));
    Arc::new(Hooked::new(inner, Arc::new(listener)))
}

/// Declares the stores: for each a test that runs the suite, and an item in [`STORES`].
macro_rules! stores {
    ($($name:ident: $make:expr;)+) => {
        /// The stores by name.
        pub(crate) const STORES: &[(&str, Make)] = &[$((stringify!($name), $make)),+];

        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            let make: Make = $make;
            let folders = tempfile::tempdir().unwrap();
            suite::run(async |setup| {
                let folder = tempfile::tempdir_in(folders.path()).unwrap().keep();
                let store = make(setup.clock, setup.limits, &folder);
                assert!(store.changes().is_some(), "the suite tests changes only if there are any");
                store
            })
            .await;
        })+
    };
}

stores! {
    memory: |clock, limits, _| Arc::new(MemoryStore::new(clock, limits));
    yaml: |clock, limits, folder| {
        let options = yaml::YamlOptions { clock, limits, ..yaml::YamlOptions::default() };
        Arc::new(YamlStore::open(folder, options).unwrap())
    };
    postgresql: |clock, limits, _| {
        let options = postgres::PostgresOptions { clock, limits, ..postgres::PostgresOptions::default() };
        Arc::new(PostgresStore::open(&crate::postgres::empty(""), options).unwrap())
    };
    postgresql_partitioned: |clock, limits, _| {
        let options = postgres::PostgresOptions { clock, limits, ..postgres::PostgresOptions::default() };
        let url = crate::postgres::empty("layout=partitioned&mode=unlogged&expired=on-read&pool_size=3");
        Arc::new(PostgresStore::open(&url, options).unwrap())
    };
    postgresql_as_distributed: |clock, limits, _| {
        let options = postgres::PostgresOptions { clock, limits, ..postgres::PostgresOptions::default() };
        Arc::new(PostgresStore::open(&crate::postgres::empty_as_distributed(), options).unwrap())
    };
    remote_yaml: |clock, limits, folder| crate::remote::over(named("yaml"), clock, limits, folder);
    remote_postgresql: |clock, limits, folder| crate::remote::over(named("postgresql"), clock, limits, folder);
    hooked_memory: |clock, limits, _| hooked(Arc::new(MemoryStore::new(clock, limits)));
    hooked_yaml: |clock, limits, folder| {
        let options = yaml::YamlOptions { clock, limits, ..yaml::YamlOptions::default() };
        hooked(Arc::new(YamlStore::open(folder, options).unwrap()))
    };
}

#[expect(dead_code, unreachable_pub, reason = "it is a program of its own: `cargo run --example own_store`")]
#[path = "../../../examples/own_store.rs"]
pub(crate) mod own_store;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_of_the_example_passes_the_suite() {
    suite::run(async |setup| Arc::new(own_store::MapStore::new(setup.clock, setup.limits)) as Arc<dyn Store>).await;
}
