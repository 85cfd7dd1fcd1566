//! The server fails while it is in use, and comes back.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::model::ErrorKind;
use kvs::postgres::PostgresOptions;
use tokio::task::JoinSet;

use super::server::{PASSWORD, Server};
use super::{client, empty, open};

/// Increments the value of a key, and returns the last acknowledged value and the errors.
async fn write(client: Client, name: String, stop: Arc<AtomicBool>) -> (String, u64, Vec<(ErrorKind, String)>) {
    let (mut n, mut acknowledged, mut errors) = (0, 0, vec![]);
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        // Plain writes and evaluated writes alternate.
        let done = if n % 2 == 0 {
            client.set(&name, n.to_string()).await.map(drop)
        } else {
            client.get_and_set(&name, n.to_string()).await.map(drop)
        };
        match done {
            Ok(()) => acknowledged = n,
            Err(error) => {
                errors.push((error.kind(), error.to_string()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    (name, acknowledged, errors)
}

/// Runs sixteen writers during `trouble`. Afterwards no acknowledged write may be missing, and each error must say that
/// nothing was done, or that the key must be read first.
async fn under_writers(client: &Client, trouble: impl AsyncFnOnce()) {
    client.set("begin", "1").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..16 {
        writers.spawn(write(client.clone(), format!("w{n}"), Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    trouble().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let mut failed = 0;
    for (name, acknowledged, errors) in writers.join_all().await {
        let stored: u64 = client.get_string(&name).await.unwrap().unwrap().parse().unwrap();
        assert!(stored >= acknowledged, "{name}: {acknowledged} was acknowledged, {stored} is stored");
        assert!(acknowledged > 0, "{name}");
        failed += errors.len();
        for (kind, text) in errors {
            assert!(matches!(kind, ErrorKind::Busy | ErrorKind::Unavailable), "{text}");
            assert!(text.contains("try again") || text.contains("read the key before you write again"), "{text}");
        }
    }
    assert!(failed > 0, "an outage of more than a second causes errors");
}

/// Waits until the store works again.
async fn is_back(client: &Client) {
    let started = Instant::now();
    while client.set("probe", "1").await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "not recovered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_write_is_lost_when_the_server_crashes() {
    let mut server = Server::start("shared_buffers = 32MB");
    let client = client(&server.url(""));
    under_writers(&client, async || {
        for _ in 0..2 {
            server.crash();
            tokio::time::sleep(Duration::from_millis(1600)).await;
            server.restart();
            is_back(&client).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_write_is_lost_in_a_failover() {
    let mut primary = Server::start("shared_buffers = 32MB\nfsync = off");
    let standby = primary.standby();
    let client = client(&primary.pair_url(&standby));
    under_writers(&client, async || {
        primary.crash();
        tokio::time::sleep(Duration::from_millis(1600)).await;
        standby.promote();
        is_back(&client).await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced_without_an_error() {
    let server = Server::shared();
    let client = client(&empty("application_name=idle"));
    for n in 0..5 {
        client.set("k", n.to_string()).await.unwrap();
        client.increment("n", 1).await.unwrap();
        server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'idle'");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.get_string("k").await.unwrap(), Some(n.to_string()));
    }
    assert_eq!(client.get_string("n").await.unwrap().as_deref(), Some("5"));
}

/// Stops the processes that serve a client, so that they neither respond nor close their connections.
fn freeze(server: &Server, application: &str) -> Vec<String> {
    let pids = server.psql(&format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{application}'"));
    let pids: Vec<String> = pids.lines().map(str::to_owned).collect();
    assert!(!pids.is_empty());
    assert!(Command::new("kill").arg("-STOP").args(&pids).status().unwrap().success());
    pids
}

#[tokio::test]
async fn a_server_that_does_not_respond_holds_no_client_for_ever() {
    let server = Server::start("shared_buffers = 32MB");
    let options = PostgresOptions { lock_timeout: Duration::from_millis(500), ..PostgresOptions::default() };
    let client = Client::new(open(&server.url("application_name=frozen&statement_timeout=500ms"), options));
    client.set("k", "0").await.unwrap();
    client.log("log").unwrap().append("0").await.unwrap();
    let mut frozen = BTreeSet::new();
    for n in 1..4 {
        frozen.extend(freeze(&server, "frozen"));
        let started = Instant::now();
        let (error, what) = match n {
            1 => (client.set("k", "lost").await.unwrap_err(), "read the key before you write again"),
            2 => (client.get_string("k").await.unwrap_err(), "nothing was done, try again"),
            _ => (client.log("log").unwrap().append("lost").await.unwrap_err(), "read the end of the log before"),
        };
        assert!(error.to_string().contains("did not respond") && error.to_string().contains(what), "{error}");
        assert_eq!(error.is_outcome_unknown(), n != 2, "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        // A new connection is served by another process.
        client.set(&format!("after {n}"), "1").await.unwrap();
        assert!(client.get_string("k").await.unwrap().is_some());
    }
    assert!(Command::new("kill").arg("-CONT").args(&frozen).status().unwrap().success());
}

#[tokio::test]
async fn an_unreachable_server_is_busy_and_the_error_names_it() {
    let started = Instant::now();
    let client = client("postgresql://kvs:hunter2@127.0.0.1:1/postgres");
    for error in [client.get("k").await.unwrap_err(), client.set("k", "1").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.to_string().starts_with("bucket default on postgresql://127.0.0.1:1/postgres: "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_writable_host_of_several_is_found() {
    let server = Server::shared();
    let (folder, port) = (server.folder().display(), server.port());
    let url = format!(
        "postgresql:///postgres?host=127.0.0.1,{folder}&port=1,{port}&user=kvs&table={}\
         &target_session_attrs=read-write",
        super::table()
    );
    client(&url).set("k", "1").await.unwrap();
}

#[tokio::test]
async fn a_percent_encoded_password_works_and_is_never_shown() {
    let server = Server::shared();
    let encoded = PASSWORD.replace('/', "%2F").replace('?', "%3F").replace('@', "%40");
    let url = |password: &str| server.tcp_url(password, &format!("table={}", super::table()));
    client(&url(&encoded)).set("k", "1").await.unwrap();
    let error = client(&url("hunter3")).set("k", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("authentication to PostgreSQL failed"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
}
