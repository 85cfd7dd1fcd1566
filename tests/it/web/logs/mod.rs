//! Logs over HTTP, on every store.

mod appending;
mod reading;
mod streams;

use serde_json::Value;

use crate::support::endpoint::{Answer, Endpoint};

/// Appends a value, and returns the index of its entry.
async fn append(kvs: &Endpoint, uri: &str, value: &str) -> u64 {
    let answer = kvs.post(uri, value.to_owned()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["index"].as_u64().unwrap()
}

/// The entries in NDJSON.
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"), "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The texts of the entries.
fn values(answer: &Answer) -> Vec<String> {
    lines(answer).iter().map(|line| line["value"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

/// `KVS-First`, `KVS-Next` and `KVS-End`.
fn bounds(answer: &Answer) -> [u64; 3] {
    ["kvs-first", "kvs-next", "kvs-end"].map(|name| answer.header(name).parse().unwrap())
}
