//! Large values in lists: whole up to a limit, then as references.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{KEY, assert_value, binary, cases_with_blobs, endpoint, pieces, text};
use crate::store::Make;
use crate::support::endpoint::{Answer, Endpoint};

cases_with_blobs! {
    large_values_are_listed_whole,
    a_page_ends_before_it_is_too_large,
    longer_values_are_references_in_lists,
    longer_values_are_references_in_other_requests,
}

/// Reads a list with the secret.
async fn list(kvs: &Endpoint, query: &str) -> Answer {
    let answer = kvs.ask("GET", &format!("/kv/default{query}"), &[], "").await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer
}

async fn large_values_are_listed_whole(make: Make) {
    let kvs = endpoint(make);
    kvs.put("/kv/default/a", text(1, 100_000)).await;
    kvs.put("/kv/default/b", "small").await;
    kvs.ask("PUT", "/kv/default/c", &[("content-type", "image/png")], binary(2, 100_000)).await;
    let page = list(&kvs, "").await.json();
    let entries = page["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &page["cursor"]), (3, &Value::Null));
    assert!(entries[0]["value"] == text(1, 100_000) && entries[1]["value"] == "small");
    assert!(entries[2]["base64"] == STANDARD.encode(binary(2, 100_000)));
    assert_eq!(entries[2]["type"], "image/png");
    assert_eq!(entries[0]["revision"], kvs.get("/kv/default/a").await.tag().trim_matches('"'));
    let part = list(&kvs, "?limit=1&reverse").await.json();
    assert_eq!((&part["entries"][0]["key"], &part["cursor"]), (&json!("c"), &json!("c")));
    assert_eq!(list(&kvs, "?count").await.json(), json!({"count": 3}));
    assert_eq!(list(&kvs, "?keys").await.json()["keys"], json!(["a", "b", "c"]));
    assert!(kvs.get("/kv/default/c?meta").await.json() == entries[2]);
}

async fn a_page_ends_before_it_is_too_large(make: Make) {
    let kvs = endpoint(make);
    let value = text(3, 5 << 20);
    for n in 0..8 {
        kvs.put(&format!("/kv/default/k{n}"), value.clone()).await;
    }
    let (mut found, mut query, mut pages) = (vec![], String::new(), 0);
    loop {
        let page = list(&kvs, &query).await.json();
        let entries = page["entries"].as_array().unwrap();
        // The page ends as soon as its values have 16 MiB.
        assert!((1..=4).contains(&entries.len()), "{} entries of 5 MiB", entries.len());
        for entry in entries {
            assert!(entry["value"] == value, "{}", entry["key"]);
            found.push(entry["key"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(cursor) = page["cursor"].as_str() else { break };
        query = format!("?after={cursor}");
    }
    assert_eq!(found, (0..8).map(|n| format!("k{n}")).collect::<Vec<_>>(), "in {pages} pages");
    let keys = list(&kvs, "?keys").await.json();
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["cursor"]), (8, &Value::Null));
}

/// An endpoint with the default limits for lists, a value that is too long for them, and what they have in its place.
async fn with_long_value(make: Make) -> (Endpoint, Vec<u8>, String) {
    let kvs = Endpoint::with_large_values(make, 1 << 20, |settings| settings);
    let value = binary(4, (16 << 20) + 1);
    let answer = kvs.ask("PUT", KEY, &[("content-type", "image/png")], pieces(&value, 1 << 20)).await;
    assert_eq!(answer.status, 201);
    let reference = json!({"sha-256": super::name(&value), "bytes": value.len(), "type": "image/png"});
    (kvs, value, reference.to_string())
}

#[track_caller]
fn assert_reference(found: &Value, reference: &str) {
    assert_eq!(found["type"], "application/vnd.kvs.blob", "{:?}", found["key"]);
    let (text, expected) = (found["value"].as_str().unwrap(), serde_json::from_str::<Value>(reference).unwrap());
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
}

async fn longer_values_are_references_in_lists(make: Make) {
    let (kvs, value, reference) = with_long_value(make).await;
    let short = binary(5, 16 << 20);
    kvs.put("/kv/default/short", pieces(&short, 1 << 20)).await;
    kvs.put("/kv/default/small", "1").await;
    let page = list(&kvs, "?limit=1").await.json();
    assert_reference(&page["entries"][0], &reference);
    let rest = list(&kvs, "?after=image&limit=1").await.json();
    assert!(rest["entries"][0]["base64"] == STANDARD.encode(&short), "16 MiB are not too long");
    assert_eq!(list(&kvs, "?after=short").await.json()["entries"][0]["value"], "1");
    let changes = list(&kvs, "?since=0").await.json();
    assert_reference(&changes["changes"][0], &reference);
    assert_value(&kvs, KEY, &value).await;
}

async fn longer_values_are_references_in_other_requests(make: Make) {
    let (kvs, value, reference) = with_long_value(make).await;
    let found = kvs.json("POST", "/multi/default", json!(["image"])).await;
    assert_eq!(found.status, 200, "{}", found.text());
    let text = found.json()["image"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), serde_json::from_str::<Value>(&reference).unwrap());
    let found = kvs.json("POST", "/txn/default", json!({"ops": [{"op": "get", "key": "image"}]})).await;
    assert_eq!(found.status, 200, "{}", found.text());
    assert_reference(&found.json()["results"][0], &reference);
    assert_reference(&kvs.get(&format!("{KEY}?meta")).await.json(), &reference);
    assert_value(&kvs, KEY, &value).await;
    assert_value(&kvs, "/?k=image", &value).await;
}
