//! Several processes, each with its own store, on the same tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::model::{Batch, Bucket, Clock, Condition, ErrorKind, Expectation, Key, Outcome, Revision, Scan, Write};
use kvs::postgres::PostgresOptions;
use kvs::store::suite::TestClock;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Server, client, client_at, empty, open, table};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn changed(client: &Client, since: Revision) -> Revision {
    client.store().changed(client.bucket(), since).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_first_uses_create_the_tables_once() {
    for parameters in ["", "layout=partitioned", "schema=made_at_once"] {
        let url = empty(parameters);
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let client = client(&url);
            tasks.spawn(async move { client.set(&format!("k{n}"), "v").await.unwrap() });
        }
        tasks.join_all().await;
        assert_eq!(client(&url).count("k").await.unwrap(), 8, "{parameters}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_one_process_is_visible_to_another_at_once() {
    let url = empty("");
    let (a, b) = (client(&url), client(&url));
    for n in 0..50 {
        a.set("k", n.to_string()).await.unwrap();
        assert_eq!(b.get_string("k").await.unwrap(), Some(n.to_string()));
        b.set("k", "b").await.unwrap();
        assert_eq!(a.get_string("k").await.unwrap().as_deref(), Some("b"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_are_exact_among_plain_writes() {
    let url = empty("");
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        // Each pair shares a store, and sometimes a transaction.
        let shared = client(&url);
        for half in 0..2 {
            let client = shared.clone();
            tasks.spawn(async move {
                for n in 0..25 {
                    client.increment("n", 1).await.unwrap();
                    client.set(&format!("{task} {half}"), n.to_string()).await.unwrap();
                    client.set_many(&[("x", "1"), (&format!("y {task}"), "2")]).await.unwrap();
                    client.delete("x").await.unwrap();
                }
            });
        }
    }
    tasks.join_all().await;
    let client = client(&url);
    assert_eq!(client.get_string("n").await.unwrap().as_deref(), Some("400"));
    let page = client.scan(Scan::default()).await.unwrap();
    let mut revisions: Vec<_> = page.entries.iter().map(|(_, entry)| entry.as_ref().unwrap().revision).collect();
    assert!(revisions.iter().all(|revision| *revision <= page.revision));
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), page.entries.len(), "each write has its own revision");
}

#[tokio::test]
async fn revisions_grow_even_if_clocks_differ() {
    let url = empty("");
    let (ahead, behind) = (Arc::new(TestClock::default()), Arc::new(TestClock::default()));
    ahead.advance(Duration::from_secs(3600));
    behind.step_back(Duration::from_secs(3600));
    let (a, b) = (client_at(&url, ahead), client_at(&url, behind.clone()));
    let mut last = Revision::ZERO;
    for n in 0..20 {
        let client = if n % 2 == 0 { &a } else { &b };
        let revision = client.set("k", n.to_string()).await.unwrap();
        assert!(revision > last, "{n}");
        last = revision;
        let writes = vec![Write::put(key("l"), "x"), Write::Delete { key: key("l") }, Write::put(key("m"), "x")];
        let present = Expectation { key: key("k"), condition: Condition::Present };
        let batch = Batch::new(writes).with_expectations(vec![present]);
        let Outcome::Committed { revision, .. } = client.store().apply(client.bucket(), batch).await.unwrap() else {
            panic!("refused")
        };
        assert!(revision > last, "{n}");
        last = revision;
    }
    for name in ["k", "m"] {
        assert!(b.delete(name).await.unwrap());
    }
    // Another process without a history, with a clock in the past.
    behind.step_back(Duration::from_secs(3600));
    let c = client_at(&url, behind);
    assert!(c.set("k", "x").await.unwrap() > last.next(kvs::model::Time::default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_wakes_waiters_of_another_process_at_once() {
    let url = empty("");
    let (a, b) = (client(&url), client(&url));
    let mut since = a.set("k", "0").await.unwrap();
    let mut slow = 0;
    for n in 0..10 {
        let waiter = b.clone();
        let waiting = tokio::spawn(async move { changed(&waiter, since).await });
        // The first time, the listener must connect.
        tokio::time::sleep(Duration::from_millis(if n == 0 { 500 } else { 50 })).await;
        let started = Instant::now();
        let revision = a.set("k", n.to_string()).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap(), revision);
        // Without a notification it would take a second.
        slow += u32::from(started.elapsed() > Duration::from_millis(500));
        since = revision;
    }
    assert!(slow <= 2, "{slow} of 10 changes were found only by polling");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_notification_is_found_by_polling() {
    let (server, table) = (Server::shared(), table());
    let client = client(&server.url(&format!("table={table}")));
    let since = client.set("k", "0").await.unwrap();
    let waiting = tokio::spawn(async move { timeout(Duration::from_secs(20), changed(&client, since)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.psql(&format!("UPDATE {table}_buckets SET revision = revision + 5 WHERE bucket = 'default'"));
    assert_eq!(waiting.await.unwrap().unwrap().number(), since.number() + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_survives_the_loss_of_the_listen_connection() {
    let server = Server::shared();
    let url = empty("application_name=cut");
    let (a, b) = (client(&url), client(&url));
    let mut since = a.set("k", "0").await.unwrap();
    for _ in 0..3 {
        let waiter = b.clone();
        let waiting = tokio::spawn(async move { timeout(Duration::from_secs(20), changed(&waiter, since)).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'");
        tokio::time::sleep(Duration::from_millis(50)).await;
        since = a.set("k", "1").await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), since);
    }
}

/// Another client that locks all buckets of a table until it is dropped.
async fn holder(server: &Server, table: &str) -> tokio_postgres::Client {
    let config: tokio_postgres::Config = server.url("application_name=holder").parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("BEGIN; SELECT * FROM {table}_buckets FOR UPDATE")).await.unwrap();
    client
}

#[tokio::test]
async fn a_bucket_locked_too_long_is_busy_and_others_work() {
    let (server, table) = (Server::shared(), table());
    let options = PostgresOptions { lock_timeout: Duration::from_millis(500), ..PostgresOptions::default() };
    let client = Client::new(open(&server.url(&format!("table={table}")), options));
    client.set("k", "0").await.unwrap();
    let holder = holder(server, &table).await;
    let put = client.set("k", "1").await.unwrap_err();
    let judged = client.increment("n", 1).await.unwrap_err();
    assert_eq!((put.kind(), judged.kind()), (ErrorKind::Busy, ErrorKind::Busy), "{put}; {judged}");
    for error in [put, judged] {
        let text = error.to_string();
        assert!(text.contains("bucket default on postgresql:") && text.contains("500ms (lock_timeout)"), "{text}");
    }
    assert_eq!(client.get_string("k").await.unwrap().as_deref(), Some("0"), "reads still work");
    client.with_bucket(Bucket::new("other").unwrap()).set("k", "1").await.unwrap();
    holder.batch_execute("COMMIT").await.unwrap();
    client.set("k", "1").await.unwrap();
}

#[tokio::test]
async fn a_slow_statement_is_cancelled_and_the_error_names_the_limit() {
    let (server, table) = (Server::shared(), table());
    let url = server.url(&format!("table={table}"));
    client(&url).set("k", "0").await.unwrap();
    let hasty = client(&format!("{url}&statement_timeout=300ms"));
    let holder = holder(server, &table).await;
    let error = hasty.set("k", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("300ms (statement_timeout)"), "{error}");
    holder.batch_execute("COMMIT").await.unwrap();
    hasty.set("k", "1").await.unwrap();
}

#[test]
fn blocking_clients_share_a_store() {
    let store = open(&empty(""), PostgresOptions::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let client = kvs::blocking::Client::new(Arc::clone(&store)).unwrap();
            std::thread::spawn(move || {
                for _ in 0..25 {
                    client.increment("n", 1).unwrap();
                }
                client.set("k", kvs::model::SystemClock.now().to_string()).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let client = kvs::blocking::Client::new(store).unwrap();
    assert_eq!(client.get_string("n").unwrap().as_deref(), Some("100"));
}
