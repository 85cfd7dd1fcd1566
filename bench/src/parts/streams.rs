//! Event streams of `kvs serve --http`: many clients follow a bucket while it is written, and some of their connections
//! break. Every client must end with the state of the store.

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

use crate::client::{self, FORM};
use crate::row::Row;
use crate::run::Run;
use crate::servers::{SECRET, Servers};
use crate::turns::rate;

/// The connections that write.
const WRITERS: usize = 8;
const CLIENTS: usize = 1_000;
const BROKEN: usize = 50;

pub(crate) fn measure(run: &mut Run) {
    assert!(kvs::server::connections_allowed(12_000) > CLIENTS + 100, "this machine allows too few open files");
    let writes = if run.options.quick { 2_000 } else { 10_000 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let row = Row::new("streams", "events to 1,000 streams", "").note(Some(format!(
        "{writes} writes; {BROKEN} connections broke, and every client ended with the state of the store"
    )));
    run.add(row.figures([runtime.block_on(events_per_second(writes))]));
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    entries: HashMap<String, String>,
    last: Revision,
    /// Of each `reset` the revision that the client had seen before.
    resets: Vec<Revision>,
}

/// A client of an event stream. It connects again when its connection ends.
#[derive(Default)]
struct Follower {
    seen: Mutex<Seen>,
    /// Breaks its connection.
    breaks: Notify,
    events: AtomicUsize,
}

impl Follower {
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
                Some(("data", data)) => {
                    self.seen.lock().add(&event, id, data);
                    self.events.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Seen {
    fn add(&mut self, event: &str, id: Revision, data: &str) {
        assert!(id >= self.last, "{id} after {}", self.last);
        let before = std::mem::replace(&mut self.last, id);
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let member = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        match event {
            "put" => drop(self.entries.insert(member("key"), member("value"))),
            "delete" => drop(self.entries.remove(&member("key"))),
            // The store was empty at the first connection, and later nothing may be missed.
            _ => self.resets.push(before),
        }
    }
}

async fn events_per_second(writes: usize) -> f64 {
    let servers = Servers::kvs(0, &["--reads", "listed", "--address-share", "100%"]);
    let port = servers.port;
    let followers: Arc<Vec<Follower>> = Arc::new((0..CLIENTS).map(|_| Follower::default()).collect());
    let mut following = JoinSet::new();
    for n in 0..CLIENTS {
        let followers = Arc::clone(&followers);
        following.spawn(async move { followers[n].follow(port).await });
    }
    until(|| followers.iter().all(|follower| !follower.seen.lock().resets.is_empty())).await;
    let start = Instant::now();
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        writing.spawn(write(port, writer, writes / WRITERS));
    }
    // A client that has seen no change yet would start again.
    until(|| followers.iter().all(|follower| follower.seen.lock().last != Revision::ZERO)).await;
    for n in 0..BROKEN {
        tokio::time::sleep(Duration::from_millis(100)).await;
        followers[n * 7 % CLIENTS].breaks.notify_one();
    }
    writing.join_all().await;
    let state = tokio::task::spawn_blocking(move || state(port)).await.unwrap();
    until(|| followers.iter().all(|follower| follower.seen.lock().entries == state)).await;
    let events = followers.iter().map(|follower| follower.events.load(Ordering::Relaxed)).sum();
    let rate = rate(events, start);
    for (n, follower) in followers.iter().enumerate() {
        let resets = &follower.seen.lock().resets;
        assert_eq!(resets.len(), 1, "client {n} of {CLIENTS} was told to start again, after revisions {resets:?}");
    }
    following.abort_all();
    rate
}

/// Puts and deletes a hundred keys, one after another.
async fn write(port: u16, writer: usize, count: usize) {
    let mut client = client::Client::connect(port).await;
    for n in 0..count {
        let key = (n * 31 + writer * 17) % 100;
        let (target, content_type, body) = if n % 5 == 4 {
            ("/multi/default?op=delete", "application/json", format!("[\"k{key}\"]"))
        } else {
            ("/", FORM, format!("auth={SECRET}&k{key}={writer}-{n}"))
        };
        let request = client::post_with(target, content_type, &format!("X-KVS-Auth: {SECRET}\r\n"), &body);
        client.ask(&request).await;
    }
}

/// The entries of the store.
fn state(port: u16) -> HashMap<String, String> {
    let answer = client::answer(port, &client::get("/kv/default?limit=1000"));
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
