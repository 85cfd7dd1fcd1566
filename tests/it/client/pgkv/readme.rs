//! The examples of the README of the crate `pgkv`, with our blocking client. Only names of types and the arguments of
//! scans differ.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvs::blocking::Client;
use kvs::client::CasOutcome;
use kvs::memory::MemoryStore;
use kvs::model::{Error, ErrorKind, Result, Scan};
use serde::{Deserialize, Serialize};

fn client() -> Client {
    Client::new(Arc::new(MemoryStore::default())).unwrap()
}

#[test]
fn basic_operations() -> Result<()> {
    let store = client();
    store.set("user:1:name", b"Alice")?;
    if let Some(value) = store.get("user:1:name")? {
        assert_eq!(String::from_utf8_lossy(&value), "Alice");
    }
    assert!(store.delete("user:1:name")?);

    store.set("key", b"value")?;
    store.set("key", "string value")?;
    assert_eq!(store.get("key")?.as_deref(), Some(&b"string value"[..]));
    assert_eq!(store.get_string("key")?.as_deref(), Some("string value"));
    store.delete("key")?;
    assert!(!store.exists("key")?);
    assert!(store.set_nx("key", b"value")?);
    Ok(())
}

#[test]
fn values_of_any_kind() -> Result<()> {
    let store = client();
    let (text, bytes) = (String::from("v"), vec![b'v']);
    store.set("1", &text)?;
    store.set("2", &bytes)?;
    store.set("3", &bytes[..])?;
    store.set("4", &text[..])?;
    store.set("5", ["v"].concat())?;
    store.set("6", *b"v")?;
    store.set("7", std::borrow::Cow::from("v"))?;
    store.set("8", store.get("1")?.unwrap())?;
    store.set("9", text)?;
    store.set("10", bytes)?;
    for n in 1..=10 {
        assert_eq!(store.get_string(&n.to_string())?.as_deref(), Some("v"), "{n}");
    }
    Ok(())
}

#[test]
fn ttl_support() -> Result<()> {
    let store = client();
    store.set_ex("session", b"data", Duration::from_secs(3600))?;
    store.expire("session", Duration::from_secs(7200))?;
    if let Some(ttl) = store.ttl("session")? {
        assert!(ttl > Duration::from_secs(3600), "{ttl:?}");
    }
    store.persist("session")?;
    assert_eq!(store.ttl("session")?, None);
    assert_eq!(store.cleanup_expired()?, 0);
    Ok(())
}

#[test]
fn batch_operations() -> Result<()> {
    let store = client();
    store.set_many(&[("key1", b"value1".as_slice()), ("key2", b"value2"), ("key3", b"value3")])?;
    let results = store.get_many(&["key1", "key2", "key3"])?;
    assert!(results.iter().flatten().eq(["value1", "value2", "value3"]));
    assert_eq!(store.delete_many(&["key1", "key2"])?, 2);
    Ok(())
}

#[test]
fn atomic_operations() -> Result<()> {
    let store = client();
    assert_eq!(store.increment("counter", 1)?, 1);
    assert_eq!(store.decrement("counter", 1)?, 0);
    store.set("key", b"old_value")?;
    match store.compare_and_swap("key", Some(b"old_value"), b"new_value")? {
        CasOutcome::Swapped => {}
        CasOutcome::Mismatch(current) => panic!("{current:?}"),
    }
    assert_eq!(store.get_and_set("key", b"newer_value")?, Some("new_value".into()));
    assert_eq!(store.get_and_delete("key")?, Some("newer_value".into()));
    Ok(())
}

#[test]
fn prefix_scanning() -> Result<()> {
    let store = client();
    store.set_many(&[("user:1", "Ada"), ("user:2", "Bob"), ("temp:1", "")])?;
    assert_eq!(store.keys("user:")?.len(), 2);
    let items = store.scan(Scan { prefix: "user:".into(), limit: 100, ..Scan::default() })?;
    assert_eq!(items.entries.len(), 2);
    assert_eq!(store.count("session:")?, 0);
    assert_eq!(store.delete_prefix("temp:")?, 1);
    Ok(())
}

#[test]
fn transactions() -> Result<()> {
    let store = client();
    store.transaction(|mut s| {
        s.set("key1", b"value1")?;
        s.set("key2", b"value2")?;
        Ok(())
    })?;
    assert_eq!(store.count("key")?, 2);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
    email: String,
}

#[test]
fn typed_store() -> Result<()> {
    let store = client();
    let users = store.typed::<User>();
    users.set("user:1", &User { name: "Alice".into(), email: "alice@example.com".into() })?;
    let user: Option<User> = users.get("user:1")?;
    assert!(user.is_some_and(|user| user.name == "Alice" && user.email == "alice@example.com"));
    Ok(())
}

#[test]
fn thread_safety_and_errors() {
    let store = Mutex::new(client());
    let guard = store.lock().unwrap();
    guard.set("key", b"value").unwrap();
    match guard.get("") {
        Err(error) if error.kind() == ErrorKind::Invalid => {}
        other => panic!("{other:?}"),
    }
    assert!(!guard.get("").unwrap_err().is_retryable());
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = "the blocking client cannot be used inside a tokio runtime; use kvs::client::Client with .await, \
                or call it from tokio::task::spawn_blocking";
    assert_eq!(error.to_string(), text);
}

/// Every kind of use in async code: an error, not a panic, also when the client is created and dropped there.
async fn is_refused_in_async_code() {
    let store = client();
    assert_refused(store.get("key"));
    assert_refused(store.set("key", b"value"));
    assert_refused(store.transaction(|mut t| t.get("key")));
    assert_refused(store.typed::<User>().get("key").map(drop));
    let on_this_runtime = Client::on(tokio::runtime::Handle::current(), store.inner().clone());
    assert_refused(on_this_runtime.get("key"));
    let moved = store.clone();
    let written = tokio::task::spawn_blocking(move || moved.set("key", b"value").and_then(|_| moved.get_string("key")));
    assert_eq!(written.await.unwrap().unwrap().as_deref(), Some("value"));
    assert_eq!(store.inner().get_string("key").await.unwrap().as_deref(), Some("value"));
    drop(store);
    drop(on_this_runtime);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocking_client_is_refused_on_a_multi_thread_runtime() {
    is_refused_in_async_code().await;
    tokio::spawn(is_refused_in_async_code()).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_blocking_client_is_refused_on_a_current_thread_runtime() {
    is_refused_in_async_code().await;
    tokio::spawn(is_refused_in_async_code()).await.unwrap();
}
