//! Delivery of write hooks to a private server: retries, order, limits and signatures. No write waits for a delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs::client::Client;
use kvs::hooks::{DeliveryLimits, HookSettings, Hooks, Secret};
use kvs::layers::Hooked;
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Key, SystemClock};
use kvs::store::Limits;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::support::receiver::{Receiver, Reply};

const SECRET: &str = "a-secret-of-some-length";

fn addresses(bucket: &Bucket, key: &Key) -> Vec<String> {
    vec![format!("/kv/{bucket}/{key}"), format!("/?k={key}")]
}

fn limits() -> DeliveryLimits {
    DeliveryLimits {
        request_timeout: Duration::from_secs(2),
        initial_backoff: Duration::from_millis(20),
        max_backoff: Duration::from_millis(200),
        ..DeliveryLimits::default()
    }
}

fn settings(purge: &[&Receiver], webhook: &[&Receiver], limits: DeliveryLimits) -> HookSettings {
    let secret = Secret::new(SECRET).unwrap();
    HookSettings {
        purge: purge.iter().map(|receiver| receiver.url().parse().unwrap()).collect(),
        webhook: webhook.iter().map(|r| (format!("{}/in?x=1", r.url()).parse().unwrap(), secret.clone())).collect(),
        buckets: vec![],
        limits,
        clock: Arc::new(SystemClock),
    }
}

/// A client of a store that reports its changes to hooks.
fn start(settings: HookSettings) -> (Client, Arc<Hooks>) {
    let hooks = Arc::new(Hooks::new(settings, addresses));
    let listener = Arc::clone(&hooks);
    let inner = Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()));
    let store = Hooked::new(inner, Arc::new(move |events| listener.enqueue(events)));
    (Client::new(Arc::new(store)), hooks)
}

/// The value of a metric of the first URL, as `/metrics` shows it.
fn counted(hooks: &Hooks, name: &str, hook: &str) -> u64 {
    let mut registry = Registry::with_prefix("kvs");
    hooks.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let start = format!("kvs_hook_{name}{{hook=\"{hook}\",url=\"1\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start} in\n{text}")).parse().unwrap()
}

/// The events of all requests, in their order.
fn events(receiver: &Receiver) -> Vec<Value> {
    receiver.seen().iter().flat_map(crate::support::receiver::Request::events).collect()
}

async fn drain(hooks: &Hooks) -> usize {
    hooks.drain(Duration::from_secs(20)).await
}

#[tokio::test]
async fn every_address_of_a_changed_key_is_purged_in_every_cache() {
    let (one, two) = (Receiver::start(), Receiver::replying([Reply::Status(404, ""), Reply::Status(404, "")]));
    let (client, hooks) = start(settings(&[&one, &two], &[], limits()));
    client.set("a", "1").await.unwrap();
    assert_eq!(drain(&hooks).await, 0);
    for receiver in [&one, &two] {
        let lines: Vec<_> = receiver.seen().iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        assert_eq!(lines, ["PURGE /kv/default/a", "PURGE /?k=a"]);
    }
    assert_eq!(counted(&hooks, "delivered_total", "purge"), 2);
    assert_eq!(counted(&hooks, "queue_length", "purge"), 0);
}

#[tokio::test]
async fn webhook_events_are_complete_and_signed() {
    let receiver = Receiver::start();
    let (client, hooks) = start(settings(&[], &[&receiver], limits()));
    client.set("ä/b", "1").await.unwrap();
    client.expire("ä/b", Duration::from_secs(60)).await.unwrap();
    client.delete("ä/b").await.unwrap();
    client.delete("ä/b").await.unwrap();
    drain(&hooks).await;
    let received = events(&receiver);
    let what: Vec<_> = received.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(what, ["set", "touch", "delete"]);
    for event in &received {
        assert_eq!((event["bucket"].as_str(), event["key"].as_str()), (Some("default"), Some("ä/b")));
        assert!(event["time"].as_str().unwrap().ends_with('Z') && event["revision"].is_string());
    }
    let mut ids: Vec<_> = received.iter().map(|event| event["id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    for request in receiver.seen() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/in?x=1"));
        assert_eq!(request.header("content-type"), "application/json");
        assert!(is_signed(&request, SECRET));
        assert!(!is_signed(&request, "another-secret-of-length"));
    }
}

/// Runs the checks of docs/hooks.md, in Python and in a shell.
fn is_signed(request: &crate::support::receiver::Request, secret: &str) -> bool {
    let (timestamp, signature) = (request.header("kvs-timestamp"), request.header("kvs-signature"));
    let dir = tempfile::tempdir().unwrap();
    std::io::Write::write_all(&mut std::fs::File::create(dir.path().join("body")).unwrap(), &request.body).unwrap();
    let python = format!(
        "{}\nimport sys\nheaders = {{'KVS-Timestamp': '{timestamp}', 'KVS-Signature': '{signature}'}}\n\
         sys.exit(not is_from_kvs(b'{secret}', headers, open('body', 'rb').read()))",
        shown("python", "def is_from_kvs")
    );
    let shell = format!("secret={secret} timestamp={timestamp} signature={signature}\n{}", shown("sh", "expected="));
    let run = |program: &str, code: &str| {
        let mut command = std::process::Command::new(program);
        command.args(["-c", code]).current_dir(dir.path()).status().unwrap().success()
    };
    let (by_python, by_shell) = (run("python3", &python), run("sh", &shell));
    assert_eq!(by_python, by_shell);
    by_python
}

/// The code block of that language in docs/hooks.md that contains the text.
fn shown(language: &str, mark: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hooks.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(ToOwned::to_owned).find(|block| block.contains(mark)).expect("the example")
}

#[tokio::test]
async fn temporary_failures_are_retried_in_order() {
    let replies = [Reply::Status(500, ""), Reply::Close, Reply::Status(503, "Retry-After: 1"), Reply::Status(429, "")];
    let receiver = Receiver::replying(replies);
    let (client, hooks) = start(settings(&[&receiver], &[], limits()));
    for key in ["a", "b", "c"] {
        client.set(key, "1").await.unwrap();
    }
    assert_eq!(drain(&hooks).await, 0);
    let seen = receiver.seen();
    let targets: Vec<_> = seen.iter().map(|request| request.target.as_str()).collect();
    let first = "/kv/default/a";
    let rest = ["/?k=a", "/kv/default/b", "/?k=b", "/kv/default/c", "/?k=c"];
    assert_eq!(targets, [&[first; 5][..], &rest[..]].concat());
    assert!(seen[3].at - seen[2].at >= Duration::from_secs(1), "Retry-After is kept");
    assert_eq!(counted(&hooks, "retried_total", "purge"), 4);
    assert_eq!(counted(&hooks, "delivered_total", "purge"), 6);
    assert_eq!(counted(&hooks, "failed_total", "purge"), 0);
}

#[tokio::test]
async fn permanent_failures_and_redirects_are_given_up_at_once() {
    let receiver = Receiver::replying([Reply::Status(400, ""), Reply::Status(302, "Location: /elsewhere")]);
    let (client, hooks) = start(settings(&[], &[&receiver], limits()));
    for key in ["a", "b", "c"] {
        client.set(key, "1").await.unwrap();
        webhook_queue_is_empty(&hooks).await;
    }
    assert_eq!(receiver.seen().len(), 3);
    assert!(receiver.seen().iter().all(|request| request.target == "/in?x=1"));
    assert_eq!(counted(&hooks, "failed_total", "webhook"), 2);
    assert_eq!(counted(&hooks, "delivered_total", "webhook"), 1);
}

async fn webhook_queue_is_empty(hooks: &Hooks) {
    let start = Instant::now();
    while counted(hooks, "queue_length", "webhook") > 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn attempts_are_limited() {
    let receiver = Receiver::start();
    receiver.usually(Reply::Status(500, ""));
    let (client, hooks) = start(settings(&[], &[&receiver], DeliveryLimits { max_attempts: 3, ..limits() }));
    client.set("a", "1").await.unwrap();
    assert_eq!(drain(&hooks).await, 0);
    assert_eq!(receiver.seen().len(), 3);
    assert_eq!(counted(&hooks, "failed_total", "webhook"), 1);
    assert_eq!(counted(&hooks, "retried_total", "webhook"), 2);
}

#[tokio::test]
async fn age_is_limited() {
    let receiver = Receiver::start();
    receiver.usually(Reply::Status(503, "Retry-After: 3600"));
    let (client, hooks) = start(settings(&[], &[&receiver], limits()));
    let started = Instant::now();
    client.set("a", "1").await.unwrap();
    drain(&hooks).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((receiver.seen().len(), counted(&hooks, "failed_total", "webhook")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_receiver_delays_nobody_and_its_queue_is_bounded() {
    let (dead, healthy) = (Receiver::start(), Receiver::start());
    dead.usually(Reply::Silence);
    let (client, hooks) = start(settings(&[&dead], &[&healthy], DeliveryLimits { max_queued: 50, ..limits() }));
    let started = Instant::now();
    for n in 0..500 {
        client.set(&format!("key{n}"), "1").await.unwrap();
        if n % 20 == 0 {
            // Gives the healthy receiver time to keep up.
            webhook_queue_is_empty(&hooks).await;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    webhook_queue_is_empty(&hooks).await;
    assert_eq!(events(&healthy).len(), 500);
    // One address is being sent, 50 wait.
    assert_eq!(counted(&hooks, "queue_length", "purge"), 51);
    assert_eq!(counted(&hooks, "dropped_total", "purge"), 1000 - 51);
    let started = Instant::now();
    assert_eq!(hooks.drain(Duration::from_millis(100)).await, 51);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(counted(&hooks, "failed_total", "purge"), 51);
    assert_eq!(counted(&hooks, "queue_length", "purge"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_order_and_many_share_a_request() {
    let receiver = Receiver::replying([Reply::Status(500, ""), Reply::Status(200, ""), Reply::Close]);
    let (client, hooks) = start(settings(&[], &[&receiver], limits()));
    for n in 0..1000_u32 {
        client.set(&format!("key{}", n % 7), n.to_string()).await.unwrap();
    }
    assert_eq!(drain(&hooks).await, 0);
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<Value> = events(&receiver).into_iter().filter(|e| seen.insert(e["id"].clone())).collect();
    assert_eq!(unique.len(), 1000);
    let numbers: Vec<u64> =
        unique.iter().map(|e| u64::from_str_radix(e["revision"].as_str().unwrap(), 36).unwrap()).collect();
    assert!(numbers.is_sorted(), "in the order of their revisions");
    assert!(receiver.seen().len() < 500, "{} requests", receiver.seen().len());
    assert!(receiver.seen().iter().all(|request| request.events().len() <= 100));
}

#[tokio::test]
async fn repeated_writes_of_one_key_do_not_fill_the_queue() {
    let receiver = Receiver::replying([Reply::Silence]);
    let (client, hooks) = start(settings(&[&receiver], &[], DeliveryLimits { max_queued: 4, ..limits() }));
    for _ in 0..500 {
        client.increment("n", 1).await.unwrap();
    }
    assert_eq!(drain(&hooks).await, 0);
    assert_eq!(counted(&hooks, "dropped_total", "purge"), 0);
    assert!(receiver.seen().len() <= 6, "{:?}", receiver.seen());
}

#[tokio::test]
async fn only_changes_of_the_configured_buckets_are_delivered() {
    let receiver = Receiver::start();
    let named = Bucket::new("named").unwrap();
    let (client, hooks) = start(HookSettings { buckets: vec![named.clone()], ..settings(&[&receiver], &[], limits()) });
    client.set("a", "1").await.unwrap();
    client.with_bucket(named).set("b", "1").await.unwrap();
    drain(&hooks).await;
    assert!(receiver.seen().iter().all(|request| request.target.ends_with('b')), "{:?}", receiver.seen());
    assert_eq!(receiver.seen().len(), 2);
}
