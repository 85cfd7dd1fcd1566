//! The methods of the client, on every store.

mod counting;
mod documents;
mod pgkv;
mod sweeping;
mod transactions;
mod typed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use kvs::client::{CasOutcome, Client, Options, UpdateAction};
use kvs::model::{Bucket, Clock, ContentType, ErrorKind, Key, Scan, SystemClock, Time};
use kvs::store::Limits;
use kvs::store::suite::{Setup, TestClock, hostile_keys, hostile_strings};
use tokio::task::JoinSet;

use crate::store::STORES;

/// Runs a case on an empty store of each kind.
async fn on_each_store(case: impl AsyncFn(Client, Arc<TestClock>)) {
    for (name, make) in STORES {
        println!("on {name}");
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::default();
        let store = make(setup.clock.clone(), setup.limits, folder.path());
        case(Client::new(store).with_clock(setup.clock.clone()), setup.clock).await;
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

#[tokio::test]
async fn a_value_that_was_set_is_read() {
    on_each_store(async |client, clock| {
        assert_eq!(client.get("a").await.unwrap(), None);
        assert_eq!(client.get_string("a").await.unwrap(), None);
        assert_eq!(client.get_entry("a").await.unwrap(), None);
        let revision = client.set("a", "1").await.unwrap();
        assert_eq!(client.get("a").await.unwrap(), Some(Bytes::from("1")));
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("1"));
        let entry = client.get_entry("a").await.unwrap().unwrap();
        assert_eq!((entry.revision, entry.created, entry.expires), (revision, clock.now(), None));
        assert!(client.exists("a").await.unwrap() && !client.exists("b").await.unwrap());
        client.set("a", vec![0xff]).await.unwrap();
        assert_eq!(client.get_string("a").await.unwrap_err().kind(), ErrorKind::Invalid);
        let many = client.get_many(&["b", "a"]).await.unwrap();
        assert_eq!(many, [None, Some(Bytes::from_static(b"\xff"))]);
    })
    .await;
}

#[tokio::test]
async fn invalid_keys_are_errors() {
    on_each_store(async |client, _| {
        for name in ["", ".", "..", "a\n", &"k".repeat(1025)] {
            assert_eq!(client.get(name).await.unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
            assert_eq!(client.set(name, "1").await.unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(client.get_many(&["a", name]).await.unwrap_err().kind(), ErrorKind::Invalid);
            let pairs = [("a", "1"), (name, "2")];
            assert_eq!(client.set_many(&pairs).await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(client.buckets().await.unwrap(), [], "nothing was stored");
    })
    .await;
}

#[tokio::test]
async fn get_latest_returns_the_most_recently_updated_key() {
    on_each_store(async |client, clock| {
        assert!(client.get_latest(&["a", "b"]).await.unwrap().is_none());
        assert!(client.get_latest(&[""; 0]).await.unwrap().is_none());
        client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).await.unwrap();
        let newest = async |names: &[&str]| client.get_latest(names).await.unwrap().unwrap().0;
        assert_eq!(newest(&["a", "c", "b"]).await, key("c"), "the later write of a batch");
        clock.advance(Duration::from_secs(1));
        client.set("a", "1").await.unwrap();
        assert_eq!(newest(&["c", "a", "missing"]).await, key("a"));
        client.expire("b", Duration::from_secs(9)).await.unwrap();
        assert_eq!(newest(&["a", "b"]).await, key("a"), "a new expiry is not a new value");
        client.delete("a").await.unwrap();
        assert_eq!(newest(&["a", "b", "c"]).await, key("c"));
        clock.step_back(Duration::from_secs(100));
        client.set("b", "2").await.unwrap();
        assert_eq!(newest(&["c", "b"]).await, key("b"), "although the clock stepped back");
    })
    .await;
}

#[tokio::test]
async fn options_set_content_type_expiry_and_time() {
    on_each_store(async |client, clock| {
        let content_type = ContentType::new("application/json").unwrap();
        let options = Options { content_type, ttl: Some(Duration::from_secs(5)), modified: Some(Time::from_secs(7)) };
        client.set_with("a", "{}", &options).await.unwrap();
        let entry = client.get_entry("a").await.unwrap().unwrap();
        assert_eq!(entry.content_type, options.content_type);
        assert_eq!(entry.expires, Some(clock.now().plus(Duration::from_secs(5))));
        assert_eq!(entry.modified, options.modified);
        clock.advance(Duration::from_secs(5));
        assert!(!client.exists("a").await.unwrap());
        let zero = client.set_with("a", "{}", &Options::ttl(Duration::ZERO)).await.unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::Invalid);
    })
    .await;
}

#[tokio::test]
async fn an_expiry_is_set_and_removed() {
    on_each_store(async |client, clock| {
        let minute = Duration::from_secs(60);
        assert!(!client.expire("a", minute).await.unwrap() && !client.persist("a").await.unwrap());
        let revision = client.set("a", "1").await.unwrap();
        assert!(client.expire("a", minute).await.unwrap());
        assert!(client.persist("a").await.unwrap());
        clock.advance(minute);
        assert_eq!(client.get_entry("a").await.unwrap().unwrap().revision, revision);
        assert!(client.expire("a", minute).await.unwrap());
        clock.advance(minute);
        assert!(!client.exists("a").await.unwrap() && !client.persist("a").await.unwrap());
        assert_eq!(client.expire("a", Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Invalid);
    })
    .await;
}

#[tokio::test]
async fn values_expire_at_their_expiry() {
    on_each_store(async |client, clock| {
        let minute = Duration::from_secs(60);
        assert_eq!(client.ttl("a").await.unwrap(), None);
        client.set_ex("a", "1", minute).await.unwrap();
        client.set_at("b", "2", clock.now().plus(minute)).await.unwrap();
        assert!(client.set_nx_ex("c", "3", minute).await.unwrap());
        clock.advance(Duration::from_secs(20));
        for name in ["a", "b", "c"] {
            assert_eq!(client.ttl(name).await.unwrap(), Some(Duration::from_secs(40)), "{name}");
        }
        assert!(!client.set_nx_ex("c", "4", minute).await.unwrap(), "there still is one");
        // A past expiry is refused before anything is done.
        for expiry in [clock.now(), Time::from_secs(0)] {
            assert_eq!(client.set_at("a", "5", expiry).await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.set_nx_ex("d", "6", Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Invalid);
        clock.advance(Duration::from_secs(40));
        assert_eq!(client.get_many(&["a", "b", "c"]).await.unwrap(), [None, None, None]);
        assert!(client.set_nx_ex("c", "4", minute).await.unwrap());
        assert_eq!(client.get_and_delete("c").await.unwrap(), Some("4".into()));
        assert_eq!(client.get_and_delete("a").await.unwrap(), None, "it has expired");
    })
    .await;
}

#[tokio::test]
async fn stats_count_the_entries() {
    on_each_store(async |client, clock| {
        assert_eq!(client.stats().await.unwrap(), kvs::client::Stats::default());
        let names: Vec<String> = (0..250).map(|n| format!("k{n}")).collect();
        client.set_many(&names.iter().map(|name| (name, "12")).collect::<Vec<_>>()).await.unwrap();
        client.set("large", "x".repeat(100)).await.unwrap();
        client.set_ex("ended", "1", Duration::from_secs(1)).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let stats = client.stats().await.unwrap();
        assert_eq!((stats.keys, stats.value_bytes, stats.largest_value), (251, 600, 100));
        assert!(stats.stored_bytes > 600 && stats.mean_value() > 2.0 && stats.mean_value() < 3.0, "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn set_nx_stores_only_what_is_missing() {
    on_each_store(async |client, _| {
        assert!(client.set_nx("a", "1").await.unwrap());
        assert!(!client.set_nx("a", "2").await.unwrap());
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.get_and_set("a", "3").await.unwrap().unwrap(), "1");
        assert_eq!(client.get_and_set("b", "4").await.unwrap(), None);
        assert_eq!(client.get_many(&["a", "b"]).await.unwrap(), [Some("3".into()), Some("4".into())]);
    })
    .await;
}

#[tokio::test]
async fn deletes_return_whether_there_was_an_entry() {
    on_each_store(async |client, _| {
        client.set_many(&[("a", "1"), ("b", "2"), ("c", "3")]).await.unwrap();
        assert!(client.delete("a").await.unwrap() && !client.delete("a").await.unwrap());
        assert_eq!(client.delete_many(&["a", "b", "c", "b"]).await.unwrap(), 2);
        assert_eq!(client.count("").await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn numbers_are_incremented_and_decremented() {
    on_each_store(async |client, _| {
        assert_eq!(client.increment("n", 5).await.unwrap(), 5);
        assert_eq!(client.decrement("n", 7).await.unwrap(), -2);
        assert_eq!(client.get_string("n").await.unwrap().as_deref(), Some("-2"));
        assert_eq!(client.decrement("n", i64::MIN).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(client.decrement("n", i64::MAX).await.unwrap_err().kind(), ErrorKind::Invalid);
        client.set("n", "many").await.unwrap();
        assert_eq!(client.increment("n", 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    })
    .await;
}

#[tokio::test]
async fn a_swap_needs_the_expected_value() {
    on_each_store(async |client, _| {
        let missing = client.compare_and_swap("a", Some(b""), "1").await.unwrap();
        assert_eq!(missing, CasOutcome::Mismatch(None), "missing is not empty");
        assert!(client.compare_and_swap("a", None, "1").await.unwrap().is_done());
        let CasOutcome::Mismatch(Some(found)) = client.compare_and_swap("a", None, "2").await.unwrap() else {
            panic!("swapped though there was a value");
        };
        assert_eq!(found.value, "1");
        assert!(client.compare_and_swap("a", Some(b"1"), "2").await.unwrap().is_done());
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("2"));
    })
    .await;
}

#[tokio::test]
async fn update_sets_keeps_and_deletes() {
    on_each_store(async |client, clock| {
        let ttl = Duration::from_secs(60);
        assert_eq!(client.update("a", |_| UpdateAction::Keep).await.unwrap(), None);
        assert_eq!(client.update("a", |_| UpdateAction::Delete).await.unwrap(), None);
        assert_eq!(client.buckets().await.unwrap(), []);
        client.set_with("a", "1", &Options::ttl(ttl)).await.unwrap();
        let entry =
            client.update("a", |old| UpdateAction::Set([&old.unwrap().value[..], b"+"].concat().into())).await.unwrap();
        let entry = entry.unwrap();
        assert_eq!((entry.value.clone(), entry.expires), ("1+".into(), Some(clock.now().plus(ttl))));
        assert_eq!(client.update("a", |_| UpdateAction::Keep).await.unwrap(), Some(entry));
        assert_eq!(client.update("a", |_| UpdateAction::Delete).await.unwrap(), None);
        assert!(!client.exists("a").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn update_keeps_an_expiry_that_was_removed_meanwhile() {
    let client = Client::new(Arc::new(kvs::memory::MemoryStore::default()));
    client.set_ex("a", "1", Duration::from_secs(60)).await.unwrap();
    let mut calls = 0;
    let updated = client.update("a", |_| {
        calls += 1;
        if calls == 1 {
            // A store in memory does not wait.
            assert!(client.persist("a").now_or_never().unwrap().unwrap());
        }
        UpdateAction::Set("2".into())
    });
    assert_eq!(updated.await.unwrap().unwrap().expires, None);
    assert_eq!(calls, 2);
}

fn plus_one(old: Option<&[u8]>) -> String {
    let n: u64 = old.map_or(0, |old| std::str::from_utf8(old).unwrap().parse().unwrap());
    (n + 1).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_count_exactly_by_compare_and_swap() {
    on_each_store(async |client, _| {
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let client = client.clone();
            tasks.spawn(async move {
                for _ in 0..25 {
                    let mut old = client.get("n").await.unwrap();
                    while let CasOutcome::Mismatch(found) =
                        client.compare_and_swap("n", old.as_deref(), plus_one(old.as_deref())).await.unwrap()
                    {
                        old = found.map(|entry| entry.value);
                    }
                    client.update("m", |old| UpdateAction::Set(plus_one(old.map(|e| &*e.value)).into())).await.unwrap();
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let counted = client.get_many(&["n", "m"]).await.unwrap();
        assert_eq!(counted, [Some("400".into()), Some("400".into())]);
    })
    .await;
}

#[tokio::test]
async fn keys_are_listed_beyond_one_page() {
    on_each_store(async |client, _| {
        let names: Vec<String> = (0..10_001).map(|n| format!("k/{n:05}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        client.set_many(&pairs).await.unwrap();
        client.set("other", "x").await.unwrap();
        let listed = client.keys("k/").await.unwrap();
        assert!(listed.iter().map(Key::as_str).eq(names.iter().map(String::as_str)));
        assert_eq!((client.count("k/").await.unwrap(), client.count("").await.unwrap()), (10_001, 10_002));
        let page = client.scan(Scan { limit: 1, reverse: true, ..Scan::default() }).await.unwrap();
        assert_eq!(page.entries[0].0, key("other"));
        assert_eq!(client.delete_prefix("k/").await.unwrap(), 10_001);
        assert_eq!((client.clear().await.unwrap(), client.keys("").await.unwrap()), (1, vec![]));
    })
    .await;
}

#[tokio::test]
async fn buckets_are_independent() {
    on_each_store(async |client, _| {
        let garden = client.with_bucket(Bucket::new("garden").unwrap());
        client.set("a", "house").await.unwrap();
        garden.set("a", "garden").await.unwrap();
        assert_eq!(client.get_string("a").await.unwrap().as_deref(), Some("house"));
        assert_eq!((client.bucket().as_str(), garden.bucket().as_str()), ("default", "garden"));
        assert_eq!(client.buckets().await.unwrap(), [client.bucket().clone(), garden.bucket().clone()]);
    })
    .await;
}

#[tokio::test]
async fn hostile_strings_are_plain_values() {
    on_each_store(async |client, _| {
        let pairs: Vec<(String, Bytes)> =
            hostile_keys().iter().map(ToString::to_string).zip(hostile_strings()).collect();
        client.set_many(&pairs).await.unwrap();
        for (name, value) in pairs {
            assert_eq!(client.get(&name).await.unwrap(), Some(value), "{name:?}");
        }
    })
    .await;
}

#[test]
fn the_blocking_client_does_the_same_on_many_threads() {
    for (name, make) in STORES {
        println!("on {name}");
        let folder = tempfile::tempdir().unwrap();
        let client = kvs::blocking::Client::new(make(Arc::new(SystemClock), Limits::default(), folder.path())).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || {
                    for _ in 0..25 {
                        client.increment("n", 1).unwrap();
                        client.update("m", |old| UpdateAction::Set(plus_one(old.map(|e| &*e.value)).into())).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(client.get_many(&["n", "m"]).unwrap(), [Some("200".into()), Some("200".into())]);
        assert_eq!(client.keys("").unwrap(), [key("m"), key("n")]);
        assert_eq!(client.get_latest(&["m", "n"]).unwrap().unwrap().1.value, "200");
        assert!(client.delete("n").unwrap() && !client.exists("n").unwrap());
    }
}

#[test]
fn the_blocking_client_works_on_a_running_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = STORES[0].1(Arc::new(SystemClock), Limits::default(), folder.path());
    let client = kvs::blocking::Client::on(runtime.handle().clone(), Client::new(store));
    client.set("a", "1").unwrap();
    let found = runtime.block_on(client.inner().get("a")).unwrap();
    assert_eq!(found, client.get("a").unwrap());
}
