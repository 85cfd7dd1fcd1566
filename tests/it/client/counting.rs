//! The number of store calls that the methods of the client take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvs::client::Client;
use kvs::memory::MemoryStore;

use crate::support::doubles::{Done, followed};

/// The number of gets, applies and scans.
#[derive(Default)]
struct Calls([AtomicUsize; 3]);

impl Calls {
    /// The calls since the last time.
    fn calls(&self) -> (usize, usize, usize) {
        let [gets, applies, scans] = self.0.each_ref().map(|n| n.swap(0, Ordering::SeqCst));
        (gets, applies, scans)
    }
}

/// A client of an empty store in memory, and its calls.
fn counted() -> (Arc<Calls>, Client) {
    let calls = Arc::<Calls>::default();
    let counts = Arc::clone(&calls);
    let follow = move |done: Done| {
        counts.0[done as usize].fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(())) as _
    };
    (calls, Client::new(followed(Arc::new(MemoryStore::default()), follow)))
}

#[tokio::test]
async fn many_keys_are_one_call() {
    let (store, client) = counted();
    let names: Vec<String> = (0..500).map(|n| format!("k{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    client.set_many(&pairs).await.unwrap();
    assert_eq!(store.calls(), (0, 1, 0));
    client.get_many(&names).await.unwrap();
    client.get_latest(&names).await.unwrap();
    assert_eq!(store.calls(), (2, 0, 0));
    client.delete_many(&names[..100]).await.unwrap();
    assert_eq!(store.calls(), (0, 1, 0));
    assert_eq!(client.delete_prefix("k").await.unwrap(), 400);
    assert_eq!(store.calls(), (0, 1, 1));
    assert_eq!(client.clear().await.unwrap(), 0);
    assert_eq!(store.calls(), (0, 0, 1), "nothing to remove");
}

#[tokio::test]
async fn each_verb_on_one_key_is_one_call() {
    let (store, client) = counted();
    let minute = std::time::Duration::from_secs(60);
    client.set_nx_ex("a", "1", minute).await.unwrap();
    client.compare_and_swap("a", Some(b"1"), "2").await.unwrap();
    client.get_and_set("a", "3").await.unwrap();
    client.increment("a", 4).await.unwrap();
    client.expire("a", minute).await.unwrap();
    client.persist("a").await.unwrap();
    assert_eq!(client.get_and_delete("a").await.unwrap(), Some("7".into()));
    assert_eq!(store.calls(), (0, 7, 0));
    client.ttl("a").await.unwrap();
    client.exists("a").await.unwrap();
    assert_eq!(store.calls(), (2, 0, 0));
}

#[tokio::test]
async fn a_transaction_is_one_call_per_read_and_one_for_all_writes() {
    let (store, client) = counted();
    let work = client.transaction(|mut t| async move {
        t.get_many(&["a", "b", "c"]).await?;
        t.get("b").await?;
        t.set("d", "1")?;
        t.get("d").await?;
        t.increment("e", 1).await?;
        t.set("a", "2")
    });
    work.await.unwrap();
    assert_eq!(store.calls(), (2, 1, 0), "a, b and c in one; e");
    client.transaction(|mut t| async move { t.get("a").await }).await.unwrap();
    assert_eq!(store.calls(), (1, 0, 0), "a transaction that only reads needs no apply");
    client.transaction(|_| async { Ok(()) }).await.unwrap();
    assert_eq!(store.calls(), (0, 0, 0));
}

#[tokio::test]
async fn a_retry_reads_all_known_keys_in_one_call() {
    let (store, client) = counted();
    let (client, mut runs) = (&client, 0);
    let work = client.transaction(|mut t| {
        runs += 1;
        let run = runs;
        async move {
            for name in ["a", "b", "c"] {
                t.get(name).await?;
            }
            if run == 1 {
                client.set("b", "theirs").await?;
            }
            t.set("d", "ours")
        }
    });
    work.await.unwrap();
    assert_eq!((runs, store.calls()), (2, (3 + 1, 1 + 1 + 1, 0)));
}
