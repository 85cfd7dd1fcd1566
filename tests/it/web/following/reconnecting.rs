//! Many clients of event streams and pages of changes that lose their connection at random: each ends with the state of
//! the store, and no id goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvs::model::{Batch, Bucket, Key, Write};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Block, EVENTS, Event, Stream, number};
use crate::store::Make;
use crate::support::disks::seed::Seed;
use crate::support::endpoint::{Endpoint, cases};

cases! { on threads:
    clients_that_reconnect_end_with_the_state_of_the_store,
}

const CLIENTS: u64 = 20;
const WRITERS: u64 = 4;
const WRITES: u64 = 500;

/// The key that is written last.
const LAST: &str = "z/last";

async fn write(kvs: Endpoint, seed: u64) {
    let mut seed = Seed::new(seed);
    for n in 0..WRITES {
        let key = Key::new(&format!("{}/{}", ["a", "b"][seed.below(2)], seed.below(12))).unwrap();
        let write = match seed.below(5) {
            0 | 1 => Write::Delete { key },
            2 => Write::Touch { key, expires: None },
            _ => Write::put(key, format!("value {n}\n\n")),
        };
        kvs.store.apply(&Bucket::default(), Batch::new(vec![write])).await.unwrap();
        if seed.below(4) == 0 {
            tokio::time::sleep(Duration::from_millis(seed.next() % 5)).await;
        }
    }
}

/// What a client knows: values by key, and the last id.
struct Client {
    kvs: Endpoint,
    prefix: &'static str,
    seed: Seed,
    last: Option<String>,
    values: BTreeMap<String, Value>,
    resets: usize,
}

impl Client {
    fn new(kvs: Endpoint, number: u64) -> Self {
        let prefix = ["", "a/", "b/"][usize::try_from(number % 3).unwrap()];
        Self { kvs, prefix, seed: Seed::new(100 + number), last: None, values: BTreeMap::new(), resets: 0 }
    }

    fn uri(&self, query: &str) -> String {
        format!("/kv/default?prefix={}{query}", self.prefix)
    }

    async fn list(&mut self) {
        let list = self.kvs.ask("GET", &self.uri("&limit=1000"), &[], "").await.json();
        let entries = list["entries"].as_array().unwrap().iter();
        self.values = entries.map(|e| (e["key"].as_str().unwrap().to_owned(), e["revision"].clone())).collect();
    }

    fn apply(&mut self, change: &Value) {
        let key = change["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with(self.prefix), "{key}");
        if change["event"] == "put" {
            self.values.insert(key, change["revision"].clone());
        } else {
            self.values.remove(&key);
        }
    }

    fn moved_to(&mut self, id: &str) {
        let before = self.last.as_ref().map_or(0, |last| number(&json!(last)));
        assert!(number(&json!(id)) >= before, "{id} after {:?}", self.last);
        self.last = Some(id.to_owned());
    }

    /// Reads some events of a new stream.
    async fn stream(&mut self) {
        let last = self.last.clone().unwrap_or_default();
        let headers = [EVENTS, ("last-event-id", last.as_str())];
        let mut stream = Stream::of(self.kvs.open(&self.uri(""), &headers).await);
        assert_eq!(stream.block().await, Some(Block::Retry(1_000)));
        for _ in 0..self.seed.below(12) {
            let next = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
            let Ok(Some(Event { name, id, data })) = next else { return };
            self.moved_to(&id);
            if name == "reset" {
                self.resets += 1;
                self.list().await;
            } else {
                self.apply(&data);
            }
        }
    }

    /// Reads a page of changes.
    async fn poll(&mut self) {
        let Some(last) = self.last.clone() else { return };
        let limit = 1 + self.seed.below(9);
        let wait = self.seed.below(2);
        let uri = self.uri(&format!("&since={last}&limit={limit}&wait={wait}"));
        let answer = self.kvs.ask("GET", &uri, &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        for change in page["changes"].as_array().unwrap() {
            self.apply(change);
        }
        self.moved_to(page["since"].as_str().unwrap());
    }

    async fn run(mut self, is_done: Arc<AtomicBool>) -> Self {
        loop {
            let was_done = is_done.load(Ordering::SeqCst);
            if self.seed.below(3) == 0 {
                self.poll().await;
            } else {
                self.stream().await;
            }
            let at_end = self.last.as_ref().is_some_and(|last| {
                was_done && number(&json!(last)) >= 1 && self.prefix.is_empty() && self.values.contains_key(LAST)
            });
            if at_end || was_done && !self.prefix.is_empty() && self.is_up_to_date().await {
                return self;
            }
        }
    }

    /// Whether no change is left.
    async fn is_up_to_date(&self) -> bool {
        let Some(last) = &self.last else { return false };
        let answer = self.kvs.ask("GET", &self.uri(&format!("&since={last}")), &[], "").await;
        answer.json()["changes"] == json!([])
    }
}

async fn clients_that_reconnect_end_with_the_state_of_the_store(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..12 {
        kvs.put(&format!("/kv/default/a/{n}"), "1").await;
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(Client::new(kvs.clone(), n).run(Arc::clone(&is_done)));
    }
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        writers.spawn(write(kvs.clone(), n));
    }
    writers.join_all().await;
    kvs.put(&format!("/kv/default/{LAST}"), "1").await;
    is_done.store(true, Ordering::SeqCst);
    for client in clients.join_all().await {
        let seen = client.values.clone();
        let mut fresh = Client::new(kvs.clone(), 0);
        fresh.prefix = client.prefix;
        fresh.list().await;
        assert_eq!(seen, fresh.values, "prefix {:?}", client.prefix);
        assert_eq!(client.resets, 1, "only at the first connection");
    }
}
