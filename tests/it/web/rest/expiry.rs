//! Expiry: valid and invalid forms, and which writes keep or change it.

use std::time::Duration;

use serde_json::json;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    entries_expire_when_requested,
    invalid_expiries_are_rejected_and_store_nothing,
    largest_expiries_are_accepted,
    put_removes_the_expiry_and_changes_in_place_keep_it,
    touch_and_persist_change_only_the_expiry,
}

/// The initial time of the clock of an endpoint, in whole seconds.
const START: i64 = 1_795_176_000;

async fn expiry_of(kvs: &Endpoint, key: &str) -> Option<i64> {
    kvs.stored("default", key).await.unwrap().expires.map(|expiry| expiry.nanos() / 1_000_000)
}

async fn entries_expire_when_requested(make: Make) {
    let kvs = Endpoint::new(make);
    let quarter = START * 1000 + 250;
    let at = START + 60;
    let rows = json!([{"key": "m", "data": "1", "ttl": 60}, {"key": "e", "data": "1", "expires": at}]);
    kvs.json("PUT", "/multi/default", rows).await;
    let ops = json!({"ops": [{"op": "set", "key": "t", "value": "1", "ttl": 60},
        {"op": "set", "key": "u", "value": "1", "expires": at},
        {"op": "set", "key": "v", "value": "1"}, {"op": "touch", "key": "v", "ttl": 60}]});
    kvs.json("POST", "/txn/default", ops).await;
    kvs.put("/kv/default/p?ttl=60", "1").await;
    kvs.put(&format!("/kv/default/x?expires={at}"), "1").await;
    kvs.post("/kv/default/i?op=incr&ttl=60", "").await;
    kvs.post("/kv/default/a?op=append&ttl=60", "1").await;
    kvs.post(&format!("/kv/default/b?op=prepend&expires={at}"), "1").await;
    for (key, expiry) in [
        ("m", quarter + 60_000),
        ("e", at * 1000),
        ("t", quarter + 60_000),
        ("u", at * 1000),
        ("v", quarter + 60_000),
        ("p", quarter + 60_000),
        ("x", at * 1000),
        ("i", quarter + 60_000),
        ("a", quarter + 60_000),
        ("b", at * 1000),
    ] {
        assert_eq!(expiry_of(&kvs, key).await, Some(expiry), "{key}");
        assert_eq!(kvs.get(&format!("/kv/default/{key}")).await.text(), "1", "{key}");
    }
    kvs.clock.advance(Duration::from_millis(59_999));
    assert_eq!(kvs.get("/kv/default/p").await.status, 200);
    assert_eq!(kvs.get("/kv/default/x").await.status, 404);
    kvs.clock.advance(Duration::from_millis(1));
    for key in ["m", "e", "t", "u", "v", "p", "x", "i", "a", "b"] {
        assert_eq!(kvs.get(&format!("/kv/default/{key}")).await.status, 404, "{key}");
    }
    assert_eq!(kvs.ask("GET", "/kv/default?count", &[], "").await.json(), json!({"count": 0}));
    assert_eq!(kvs.put("/kv/default/p", "2").await.status, 201, "an expired key is created again");
    assert_eq!(kvs.delete("/kv/default/x").await.status, 404);
    assert_eq!(kvs.ask("PUT", "/kv/default/i", &[("if-none-match", "*")], "2").await.status, 201);
    assert_eq!(kvs.post("/kv/default/a?op=incr", "").await.text(), "1", "and counted anew");
    assert_eq!(kvs.post("/kv/default/b?op=persist", "").await.status, 404);
}

async fn invalid_expiries_are_rejected_and_store_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    let past = START.to_string();
    for query in [
        "ttl=0",
        "ttl=-1",
        "ttl=1.5",
        "ttl=",
        "ttl",
        "ttl=x",
        "ttl=%2B5",
        "ttl=1e3",
        "ttl=%zz",
        "expires=",
        "expires=0",
        "expires=-5",
        "expires=soon",
        "expires=1795176000.5",
        &format!("expires={past}"),
        "ttl=5&expires=1895176000",
        "ttl=5&ttl=x",
    ] {
        for op in ["", "&op=incr", "&op=append", "&op=touch", "&op=persist"] {
            let method = if op.is_empty() { "PUT" } else { "POST" };
            let answer = kvs.ask(method, &format!("/kv/default/a?{query}{op}"), &[], "1").await;
            assert_eq!(answer.status, 400, "{query}{op}");
            assert_eq!(kvs.stored("default", "a").await, None, "{query}{op}");
        }
    }
    for expiry in [
        json!({"ttl": 0}),
        json!({"ttl": -1}),
        json!({"ttl": 1.5}),
        json!({"ttl": "5"}),
        json!({"expires": 5}),
        json!({"expires": START}),
        json!({"ttl": 5, "expires": START + 9}),
    ] {
        let with = |mut row: serde_json::Value| {
            row.as_object_mut().unwrap().extend(expiry.as_object().unwrap().clone());
            row
        };
        let rows = json!([{"key": "b", "data": "1"}, with(json!({"key": "a", "data": "1"}))]);
        assert_eq!(kvs.json("PUT", "/multi/default", rows).await.status, 400, "{expiry}");
        for op in [json!({"op": "set", "key": "a", "value": "1"}), json!({"op": "touch", "key": "a"})] {
            let ops = json!({"ops": [{"op": "set", "key": "b", "value": "1"}, with(op)]});
            assert_eq!(kvs.json("POST", "/txn/default", ops).await.status, 400, "{expiry}");
        }
        assert_eq!(kvs.stored("default", "b").await, None, "{expiry}");
    }
}

async fn largest_expiries_are_accepted(make: Make) {
    let kvs = Endpoint::new(make);
    for (query, year) in [("ttl=3153600000", "2126-"), ("expires=9223372036", "2262-")] {
        assert!(matches!(kvs.put(&format!("/kv/default/a?{query}"), "1").await.status, 200 | 201), "{query}");
        kvs.clock.advance(Duration::from_secs(3600));
        assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
        assert!(kvs.get("/kv/default/a?meta").await.json()["expires"].as_str().unwrap().starts_with(year));
    }
}

async fn put_removes_the_expiry_and_changes_in_place_keep_it(make: Make) {
    let kvs = Endpoint::new(make);
    for (method, uri, kept) in [
        ("PUT", "/kv/default/a", false),
        ("POST", "/kv/default/a", false),
        ("POST", "/kv/default/a?op=incr", true),
        ("POST", "/kv/default/a?op=append", true),
        ("POST", "/kv/default/a?op=prepend", true),
        ("POST", "/kv/default/a?op=persist", false),
    ] {
        kvs.put("/kv/default/a?ttl=60", "1").await;
        assert_eq!(kvs.ask(method, uri, &[], "1").await.status, 200, "{uri}");
        assert_eq!(expiry_of(&kvs, "a").await.is_some(), kept, "{method} {uri}");
    }
    kvs.put("/kv/default/a?ttl=60", "1").await;
    kvs.json("PUT", "/multi/default", json!([{"key": "a", "data": "1"}])).await;
    assert_eq!(expiry_of(&kvs, "a").await, None);
}

async fn touch_and_persist_change_only_the_expiry(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/old?ttl=5", "1").await;
    kvs.put("/kv/default/new", "2").await;
    let before = kvs.stored("default", "old").await.unwrap();
    kvs.clock.advance(Duration::from_secs(3));
    let touches = [
        ("/kv/default/old?op=touch&ttl=60", Some(START * 1000 + 63_250)),
        ("/kv/default/old?op=persist", None),
        ("/kv/default/old?op=persist", None),
        ("/kv/default/old?op=touch&expires=1795177000", Some(1_795_177_000_000)),
    ];
    for (uri, expiry) in touches {
        let answer = kvs.post(uri, "").await;
        assert_eq!((answer.status, answer.text()), (200, "OK"), "{uri}");
        assert_eq!(answer.tag(), format!("\"{}\"", before.revision), "{uri}");
        let after = kvs.stored("default", "old").await.unwrap();
        assert_eq!(expiry_of(&kvs, "old").await, expiry, "{uri}");
        assert_eq!(kvs::model::Entry { expires: before.expires, ..after }, before, "{uri}: the end alone");
        let newest = kvs.get("/?k=old,new").await;
        assert_eq!((newest.text(), newest.header("kvs-key")), ("2", "new"), "{uri}");
    }
    for bad in ["op=touch", "op=persist&ttl=5", "op=persist&expires=1795177000"] {
        assert_eq!(kvs.post(&format!("/kv/default/old?{bad}"), "").await.status, 400, "{bad}");
    }
    for missing in ["op=touch&ttl=5", "op=persist"] {
        assert_eq!(kvs.post(&format!("/kv/default/none?{missing}"), "").await.status, 404, "{missing}");
    }
    assert_eq!(kvs.stored("default", "none").await, None);
}
