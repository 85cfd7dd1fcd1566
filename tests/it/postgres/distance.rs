//! Counts the round trips of each operation, through a proxy that delays the responses of the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kvs::client::{Client, UpdateAction};

use super::{Server, client, table};

/// The delay of each response.
const LATENCY: Duration = Duration::from_millis(80);

/// Starts a proxy to the server that delays the responses. Returns its port.
fn start_proxy(server: &Server) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = server.folder().join(format!(".s.PGSQL.{}", server.port()));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, socket) = (client.unwrap(), socket.clone());
            std::thread::spawn(move || forward(client, socket));
        }
    });
    port
}

fn forward(client: TcpStream, socket: PathBuf) {
    client.set_nodelay(true).unwrap();
    let server = UnixStream::connect(socket).unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    // Responses in close succession are delayed at the same time.
    let (departure, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (sent, bytes) in arrivals {
            std::thread::sleep((sent + LATENCY).saturating_duration_since(Instant::now()));
            if to_client.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length) = from_server.read(&mut buffer) {
        if length == 0 || departure.send((Instant::now(), buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// The fewest round trips of several runs: the first one may have to connect or prepare, and a machine may be slow.
async fn round_trips(work: impl AsyncFn()) -> u32 {
    let mut least = u32::MAX;
    for _ in 0..8 {
        let started = Instant::now();
        work().await;
        least = least.min(u32::try_from(started.elapsed().as_micros() / LATENCY.as_micros()).unwrap());
    }
    least
}

fn distant() -> Client {
    let server = Server::shared();
    let port = start_proxy(server);
    let url =
        format!("postgresql://kvs:{}@127.0.0.1:{port}/postgres?table={}&sslmode=disable", "hunter2%2F%3F%40", table());
    // The proxy connects to the Unix socket of the server, which needs no password.
    client(&url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_plain_writes_take_one_round_trip() {
    let client = distant();
    client.set("k", "1").await.unwrap();
    let many: Vec<(String, &str)> = (0..100).map(|n| (format!("k{n}"), "v")).collect();
    let names: Vec<&String> = many.iter().map(|(name, _)| name).collect();
    assert_eq!(round_trips(async || _ = client.set("k", "2").await.unwrap()).await, 1, "set");
    assert_eq!(round_trips(async || _ = client.get("k").await.unwrap()).await, 1, "get");
    assert_eq!(round_trips(async || client.set_many(&many).await.unwrap()).await, 1, "set_many");
    assert_eq!(round_trips(async || _ = client.get_many(&names).await.unwrap()).await, 1, "get_many");
    assert_eq!(round_trips(async || _ = client.keys("").await.unwrap()).await, 1, "keys");
    assert_eq!(round_trips(async || _ = client.delete_many(&names).await.unwrap()).await, 1, "delete_many");
    assert_eq!(round_trips(async || _ = client.delete("none").await.unwrap()).await, 1, "delete");
    assert_eq!(round_trips(async || _ = client.increment("n", 1).await.unwrap()).await, 1, "increment");
    let minute = Duration::from_secs(60);
    assert_eq!(round_trips(async || assert!(client.expire("k", minute).await.unwrap())).await, 1, "expire");
    assert_eq!(round_trips(async || assert!(client.persist("k").await.unwrap())).await, 1, "persist");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evaluated_writes_take_two_round_trips_or_one_if_refused() {
    let client = distant();
    client.set("k", "1").await.unwrap();
    let upper = |old: Option<&kvs::model::Entry>| UpdateAction::Set(old.unwrap().value.to_ascii_uppercase().into());
    // One of the three is the read.
    assert_eq!(round_trips(async || _ = client.update("k", upper).await.unwrap()).await, 3, "update");
    client.set("long", "1000000000000000000").await.unwrap();
    assert_eq!(
        round_trips(async || _ = client.increment("long", 1).await.unwrap()).await,
        3,
        "increment of many digits"
    );
    assert_eq!(
        round_trips(async || assert!(!client.set_nx("k", "x").await.unwrap())).await,
        1,
        "set_nx of an existing key"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_share_round_trips() {
    let client = distant();
    client.set("k", "1").await.unwrap();
    client.increment("n", 1).await.unwrap();
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let client = client.clone();
        tasks.spawn(async move {
            client.set(&format!("k{n}"), "v").await.unwrap();
            client.increment("n", 1).await.unwrap();
        });
    }
    tasks.join_all().await;
    // One after another it would take 64 times three.
    assert!(started.elapsed() < 100 * LATENCY, "{:?}", started.elapsed());
    assert_eq!(client.get_string("n").await.unwrap().as_deref(), Some("65"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_share_round_trips() {
    let client = distant();
    client.set("k", "1").await.unwrap();
    let crowd = async || {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..64 {
            let client = client.clone();
            tasks.spawn(async move { client.get(if n % 2 == 0 { "k" } else { "none" }).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.iter().flatten().count(), 32);
    };
    // The first lookups, then all others in a batch. One lookup per statement on eight connections would take eight.
    assert!(round_trips(crowd).await <= 3);
}
