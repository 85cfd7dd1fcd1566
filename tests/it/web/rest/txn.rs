//! `/txn/{bucket}`: checks and operations, all or nothing.

use serde_json::{Value, json};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    each_operation_returns_its_result,
    first_failed_check_is_returned_with_the_current_entry,
    failed_operation_undoes_the_others,
    invalid_checks_and_operations_are_named_and_change_nothing,
    at_most_100000_operations_are_accepted,
    at_most_100000_checks_are_accepted,
    size_of_values_read_is_limited,
}

impl Endpoint {
    async fn txn(&self, checks: Value, ops: Value) -> (u16, Value) {
        let answer = self.json("POST", "/txn/default", json!({"checks": checks, "ops": ops})).await;
        (answer.status, if matches!(answer.status, 200 | 409) { answer.json() } else { answer.text().into() })
    }

    async fn revision(&self, key: &str) -> Value {
        self.stored("default", key).await.map(|entry| entry.revision.to_string()).into()
    }
}

async fn each_operation_returns_its_result(make: Make) {
    let kvs = Endpoint::new(make);
    let ops = json!([
        {"op": "get", "key": "a"},
        {"op": "set", "key": "a", "value": "1", "type": "application/json", "ttl": 60},
        {"op": "incr", "key": "n"},
        {"op": "incr", "key": "n", "by": -5},
        {"op": "append", "key": "t", "value": "b"},
        {"op": "prepend", "key": "t", "value": "a"},
        {"op": "get", "key": "t"},
        {"op": "touch", "key": "t", "ttl": 60},
        {"op": "persist", "key": "t"},
        {"op": "touch", "key": "none", "expires": 1_895_176_000},
        {"op": "set", "key": "b", "base64": "AP8="},
        {"op": "delete", "key": "none"},
        {"op": "delete", "key": "b"},
        {"op": "delete", "key": "b"},
        {"op": "get", "key": "b"},
    ]);
    let (status, body) = kvs.txn(json!([]), ops).await;
    assert_eq!(status, 200, "{body}");
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 15);
    assert_eq!(results[0], Value::Null);
    assert_eq!(results[1], json!({"revision": kvs.revision("a").await}));
    assert_eq!((&results[2]["value"], &results[3]["value"]), (&json!(1), &json!(-4)));
    assert_eq!(results[3]["revision"], kvs.revision("n").await);
    assert_eq!((&results[6]["key"], &results[6]["value"]), (&json!("t"), &json!("ab")));
    assert_eq!(results[6]["revision"], kvs.revision("t").await);
    let simple = [(7, "touched", true), (8, "touched", true), (9, "touched", false), (11, "deleted", false)];
    for (at, name, value) in simple.into_iter().chain([(12, "deleted", true), (13, "deleted", false)]) {
        assert_eq!(results[at], json!({ name: value }), "operation {at}");
    }
    assert_eq!(results[14], Value::Null);
    assert!(body["revision"].is_string(), "{body}");
    let found = kvs.get("/kv/default/a").await;
    assert_eq!((found.text(), found.header("content-type")), ("1", "application/json"));
    assert_eq!(kvs.get("/kv/default/t?meta").await.json()["expires"], Value::Null);
    let (status, body) = kvs.txn(json!([]), json!([])).await;
    assert_eq!((status, &body["results"]), (200, &json!([])));
}

async fn first_failed_check_is_returned_with_the_current_entry(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let revision = kvs.revision("a").await;
    let tag = kvs.get("/kv/default/a").await.tag().to_owned();
    let good = json!([{"key": "a", "revision": revision}, {"key": "a", "revision": tag},
        {"key": "none", "absent": true}, {"key": "a", "absent": false}, {"key": "a", "value": "1"},
        {"key": "a", "base64": "MQ=="}]);
    let ops = json!([{"op": "delete", "key": "a"}, {"op": "set", "key": "b", "value": "2"}]);
    for bad in [
        json!({"key": "a", "revision": "k2"}),
        json!({"key": "a", "absent": true}),
        json!({"key": "a", "value": "2"}),
        json!({"key": "a", "value": ""}),
        json!({"key": "a", "base64": "Mg=="}),
        json!({"key": "none", "absent": false}),
        json!({"key": "none", "value": ""}),
        json!({"key": "none", "revision": revision}),
    ] {
        let mut checks = good.as_array().unwrap().clone();
        checks.extend([bad.clone(), json!({"key": "a", "absent": true})]);
        let (status, body) = kvs.txn(json!(checks), ops.clone()).await;
        assert_eq!((status, &body["check"], &body["status"]), (409, &json!(6), &json!(409)), "{bad}");
        let found = if bad["key"] == "a" { kvs.get("/kv/default/a?meta").await.json() } else { Value::Null };
        assert_eq!(body["found"], found, "{bad}");
        assert_eq!((kvs.revision("a").await, kvs.stored("default", "b").await), (revision.clone(), None), "{bad}");
    }
    // Checks apply to the state before the first operation.
    let (status, body) = kvs.txn(good, ops).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(kvs.stored("default", "a").await, None);
    let (status, _) =
        kvs.txn(json!([{"key": "c", "absent": true}]), json!([{"op": "set", "key": "c", "value": "1"}])).await;
    assert_eq!(status, 200);
}

async fn failed_operation_undoes_the_others(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/text", "abc").await;
    kvs.put("/kv/default/most", i64::MAX.to_string()).await;
    let large = "x".repeat(kvs::store::Limits::default().max_value_bytes);
    for (op, expected) in [
        (json!({"op": "incr", "key": "text"}), 400),
        (json!({"op": "incr", "key": "most"}), 400),
        (json!({"op": "append", "key": "text", "value": large}), 413),
        (json!({"op": "set", "key": "text", "value": format!("{large}1")}), 413),
    ] {
        let (status, body) = kvs.txn(json!([]), json!([{"op": "set", "key": "first", "value": "1"}, op])).await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(kvs.stored("default", "first").await, None);
    }
    assert_eq!(kvs.get("/kv/default/text").await.text(), "abc");
}

/// Operations with missing, superfluous or unknown fields.
const BAD_OPS: [&str; 23] = [
    "1",
    "null",
    "[]",
    r#"["get","a"]"#,
    "{}",
    r#"{"key":"a"}"#,
    r#"{"op":"set","key":"a"}"#,
    r#"{"op":"set","value":"1"}"#,
    r#"{"op":"set","key":"a","value":1}"#,
    r#"{"op":"set","key":"a","value":"1","base64":"MQ=="}"#,
    r#"{"op":"set","key":"a","base64":"?"}"#,
    r#"{"op":"set","key":"..","value":"1"}"#,
    r#"{"op":"set","key":"a","value":"1","type":"png"}"#,
    r#"{"op":"set","key":"a","value":"1","tll":5}"#,
    r#"{"op":"SET","key":"a","value":"1"}"#,
    r#"{"op":"drop","key":"a"}"#,
    r#"{"op":"incr","key":"a","by":"1"}"#,
    r#"{"op":"incr","key":"a","by":9223372036854775808}"#,
    r#"{"op":"append","key":"a"}"#,
    r#"{"op":"touch","key":"a"}"#,
    r#"{"op":"persist","key":"a","ttl":5}"#,
    r#"{"op":"get","key":"a","key":"b"}"#,
    r#"{"op":"delete","op":"get","key":"a"}"#,
];

async fn invalid_checks_and_operations_are_named_and_change_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    for bad in BAD_OPS {
        let ops = format!(r#"{{"ops":[{{"op":"set","key":"b","value":"1"}},{bad}]}}"#);
        let answer = kvs.json("POST", "/txn/default", &ops).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text().contains("operation 1 "), "{bad}: {}", answer.text());
    }
    for bad in [
        "1",
        "{}",
        r#"["a",null,true,null,null]"#,
        r#"{"key":"a"}"#,
        r#"{"absent":true}"#,
        r#"{"key":"a","absent":true,"value":"1"}"#,
        r#"{"key":"a","absent":"yes"}"#,
        r#"{"key":"a","revision":5}"#,
        r#"{"key":"a","revision":"K2"}"#,
        r#"{"key":"a","revision":""}"#,
        r#"{"key":"a","value":5}"#,
        r#"{"key":"","absent":true}"#,
        r#"{"key":"a","absent":true,"else":1}"#,
        r#"{"key":"a","key":"c","absent":true}"#,
    ] {
        let body =
            format!(r#"{{"checks":[{{"key":"b","absent":true}},{bad}],"ops":[{{"op":"set","key":"b","value":"1"}}]}}"#);
        let answer = kvs.json("POST", "/txn/default", &body).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text().contains("check 1 "), "{bad}: {}", answer.text());
    }
    for bad in ["", "[]", "[[],[]]", "{}", "null", r#"{"ops":{}}"#, r#"{"ops":[],"opps":[]}"#, r#"{"ops":[],"ops":[]}"#]
    {
        assert_eq!(kvs.json("POST", "/txn/default", bad).await.status, 400, "{bad}");
    }
    assert_eq!(kvs.stored("default", "b").await, None);
}

async fn at_most_100000_operations_are_accepted(make: Make) {
    let kvs = Endpoint::new(make);
    let many = |n: usize| json!(vec![json!({"op": "persist", "key": "n"}); n]);
    assert_eq!(kvs.txn(json!([]), many(100_001)).await.0, 413);
    assert_eq!(kvs.txn(json!([]), many(100_000)).await.0, 200);
}

async fn at_most_100000_checks_are_accepted(make: Make) {
    let kvs = Endpoint::new(make);
    let many = |n: usize| json!(vec![json!({"key": "n", "absent": true}); n]);
    assert_eq!(kvs.txn(many(100_001), json!([])).await.0, 413);
    assert_eq!(kvs.txn(many(100_000), json!([])).await.0, 200);
}

async fn size_of_values_read_is_limited(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.ask("PUT", "/kv/default/big", &[], vec![b'x'; 1 << 20]).await.status, 201);
    for (count, status) in [(64, 200), (65, 413)] {
        let mut ops = vec![json!({"op": "get", "key": "big"}); count];
        ops.push(json!({"op": "incr", "key": "done"}));
        assert_eq!(kvs.txn(json!([]), json!(ops)).await.0, status, "{count}");
    }
    assert_eq!(kvs.get("/kv/default/done").await.body, "1");
}
