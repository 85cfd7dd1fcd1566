//! Event streams of `kvs serve --http`: checks that every client ends with the state of the store, and reports the
//! memory of the server. There is no peer: these are limits that the server must keep.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kvs::model::Revision;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::load;
use crate::servers::{SECRET, Servers};

/// The connections that write.
const WRITERS: usize = 8;

pub(crate) fn run() {
    assert!(kvs::server::connections_allowed(12_000) > 5_100, "this machine allows too few open files");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("\nstreams: no peer");
    runtime.block_on(clients(1_000, 10_000, 50));
    runtime.block_on(clients(5_000, 100, 0));
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    entries: HashMap<String, String>,
    last: Revision,
    resets: usize,
}

/// A client of an event stream. It connects again when its connection ends.
#[derive(Default)]
struct Client {
    seen: Mutex<Seen>,
    /// Breaks its connection.
    breaks: Notify,
    events: AtomicUsize,
}

impl Client {
    async fn follow(&self, port: u16) {
        loop {
            tokio::select! {
                _ = self.read(port) => {}
                () = self.breaks.notified() => {}
            }
        }
    }

    async fn read(&self, port: u16) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let last = self.seen.lock().last;
        let resumed = if last == Revision::ZERO { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        // In HTTP/1.0 the events are sent as they are, without chunks.
        let request =
            format!("GET /kv/default HTTP/1.0\r\nHost: kvs.test\r\nAccept: text/event-stream\r\n{resumed}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::with_capacity(1024, stream).lines();
        let (mut event, mut id) = (String::new(), Revision::ZERO);
        while let Some(line) = lines.next_line().await? {
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("id", revision)) => id = revision.parse().unwrap(),
                Some(("data", data)) => self.seen.lock().add(&event, id, data),
                _ => continue,
            }
            self.events.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Seen {
    fn add(&mut self, event: &str, id: Revision, data: &str) {
        assert!(id >= self.last, "{id} after {}", self.last);
        self.last = id;
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let member = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        match event {
            "put" => drop(self.entries.insert(member("key"), member("value"))),
            "delete" => drop(self.entries.remove(&member("key"))),
            // The store was empty at the first connection, and later nothing may be missed.
            _ => self.resets += 1,
        }
    }
}

async fn clients(count: usize, writes: usize, breaks: usize) {
    let mut servers = Servers::new();
    let port = servers.port;
    servers.serve(&["--http", &format!("127.0.0.1:{port}"), "--reads", "listed", "--address-share", "100%"]);
    servers.wait();
    let before = resident_kib(&servers);
    let clients: Arc<Vec<Client>> = Arc::new((0..count).map(|_| Client::default()).collect());
    let mut following = JoinSet::new();
    for n in 0..count {
        let clients = Arc::clone(&clients);
        following.spawn(async move { clients[n].follow(port).await });
    }
    until(|| clients.iter().all(|client| client.seen.lock().resets > 0)).await;
    let connected = resident_kib(&servers);
    let start = Instant::now();
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        writing.spawn(write(port, writer, writes / WRITERS));
    }
    for n in 0..breaks {
        tokio::time::sleep(Duration::from_millis(100)).await;
        clients[n * 7 % count].breaks.notify_one();
    }
    writing.join_all().await;
    let written = start.elapsed();
    let state = tokio::task::spawn_blocking(move || state(port)).await.unwrap();
    until(|| clients.iter().all(|client| client.seen.lock().entries == state)).await;
    let lines: usize = clients.iter().map(|client| client.events.load(Ordering::Relaxed)).sum();
    assert!(clients.iter().all(|client| client.seen.lock().resets == 1), "a client was told to start again");
    println!(
        "{count} streams, {writes} writes in {:.1} s, {breaks} broken connections: {} events; after {:.1} s every \
         client has the {} keys of the store, and no revision went back",
        written.as_secs_f64(),
        lines / 3,
        start.elapsed().as_secs_f64(),
        state.len()
    );
    println!(
        "  the server: {} MiB before, {} MiB with the streams, {} MiB at the end",
        before / 1024,
        connected / 1024,
        resident_kib(&servers) / 1024
    );
    following.abort_all();
}

/// The memory of the server.
fn resident_kib(servers: &Servers) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", servers.children[0].id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Puts and deletes a hundred keys, one after another.
async fn write(port: u16, writer: usize, count: usize) {
    let mut client = load::Client::connect(port).await;
    for n in 0..count {
        let key = (n * 31 + writer * 17) % 100;
        let (line, body) = if n % 5 == 4 {
            ("DELETE /multi/default HTTP/1.1\r\nContent-Type: application/json", format!("[\"k{key}\"]"))
        } else {
            let line = "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
            (line, format!("auth={SECRET}&k{key}={writer}-{n}"))
        };
        let head =
            format!("{line}\r\nHost: kvs.test\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: {}\r\n\r\n", body.len());
        client.ask((head + &body).as_bytes()).await;
    }
}

/// The entries of the store.
fn state(port: u16) -> HashMap<String, String> {
    let answer = load::answer(port, b"GET /kv/default?limit=1000 HTTP/1.1\r\nHost: kvs.test\r\n\r\n");
    let list: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    list["entries"].as_array().unwrap().iter().map(|entry| (text(&entry["key"]), text(&entry["value"]))).collect()
}

async fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(120), "timed out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
