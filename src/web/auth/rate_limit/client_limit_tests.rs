//! Tests of the limit of clients, with as many entries as it allows.

use std::sync::Arc;

use super::MemoryStore;
use super::client_limit::{ClientLimit, MAX_CLIENTS};
use crate::model::{Batch, Bucket, ContentType, Key, Projection, Scan, Time, Write};
use crate::store::suite::TestClock;
use crate::store::{Limits, Store as _};

const NOW: Time = Time::from_secs(1_000_000);
const COUNTED: &str = "wrong=3 last=1970-01-12T13:46:40Z";
const IDLE: &str = "wrong=0";

/// A store with entries of these clients, each with this count.
async fn store(clients: impl Iterator<Item = (String, &str)>) -> (MemoryStore, Bucket) {
    let clock = TestClock::default();
    clock.set(NOW);
    let store = MemoryStore::new(Arc::new(clock), Limits::default());
    let bucket = Bucket::new("clients").unwrap();
    let put = |(key, value): (String, &str)| Write::Put {
        key: Key::new(&key).unwrap(),
        value: value.to_owned().into(),
        content_type: ContentType::default(),
        expires: None,
        modified: None,
    };
    let writes: Vec<_> = clients.map(put).collect();
    for part in writes.chunks(1000) {
        store.apply(&bucket, Batch::new(part.to_vec())).await.unwrap();
    }
    (store, bucket)
}

fn address(n: usize) -> String {
    format!("10.0.{}.{}", n / 256, n % 256)
}

async fn stored(store: &MemoryStore, bucket: &Bucket) -> u64 {
    let count = Scan { projection: Projection::Count, ..Scan::default() };
    store.scan(bucket, count).await.unwrap().count.unwrap()
}

#[tokio::test]
async fn new_clients_are_counted_until_the_store_is_asked_again() {
    let (store, bucket) = store((0..MAX_CLIENTS - 2).map(|n| (address(n), IDLE))).await;
    let limit = ClientLimit::default();
    let has_room = async |milliseconds: i64| {
        limit.has_room(&store, &bucket, Time::from_nanos(NOW.nanos() + milliseconds * 1_000_000)).await.unwrap()
    };
    assert_eq!([has_room(0).await, has_room(1).await, has_room(999).await], [true, true, false]);
    // Nobody was stored, as the store says after a second, or if the clock is set back.
    assert!(has_room(1000).await);
    assert!(has_room(1000).await && !has_room(1000).await && has_room(999).await);
    assert_eq!(stored(&store, &bucket).await, MAX_CLIENTS as u64 - 2);
}

#[tokio::test]
async fn oldest_clients_without_wrong_secrets_make_room() {
    let clients = (0..MAX_CLIENTS - 2).map(|n| (address(n), if n % 10 == 0 { IDLE } else { COUNTED }));
    let (store, bucket) =
        store([("unknown".to_owned(), IDLE), ("marks".to_owned(), IDLE)].into_iter().chain(clients)).await;
    let limit = ClientLimit::default();
    assert!(limit.has_room(&store, &bucket, NOW).await.unwrap());
    assert_eq!(stored(&store, &bucket).await, MAX_CLIENTS as u64 - 500);
    let is_there = async |key: &str| {
        let found = store.get(&bucket, &[Key::new(key).unwrap()]).await.unwrap();
        found.entries[0].is_some()
    };
    // Among the 500 are the client without an address and the addresses 0, 10, ..., 4980.
    assert!(!is_there("unknown").await && !is_there(&address(0)).await && !is_there(&address(4980)).await);
    assert!(is_there("marks").await && is_there(&address(4990)).await && is_there(&address(1)).await);
    for n in 1..500 {
        assert!(limit.has_room(&store, &bucket, NOW).await.unwrap(), "client {n}");
    }
    assert!(!limit.has_room(&store, &bucket, NOW).await.unwrap());
}

#[tokio::test]
async fn clients_with_wrong_secrets_stay() {
    let (store, bucket) = store((0..MAX_CLIENTS).map(|n| (address(n), COUNTED))).await;
    assert!(!ClientLimit::default().has_room(&store, &bucket, NOW).await.unwrap());
    assert_eq!(stored(&store, &bucket).await, MAX_CLIENTS as u64);
    // Their guesses are too old to count after a quarter of an hour.
    assert!(ClientLimit::default().has_room(&store, &bucket, Time::from_secs(1_000_900)).await.unwrap());
}
