//! Parts of a large JSON value, and patches of it.

use serde_json::{Value, json};

use super::{KEY, assert_removed, assert_value, binary, cases_with_blobs, endpoint};
use crate::store::Make;
use crate::support::endpoint::Endpoint;

cases_with_blobs! {
    parts_of_a_large_document_are_read_and_written,
    patches_change_a_large_document,
    a_large_value_that_is_not_json_is_409,
    a_change_that_exceeds_the_limit_is_413,
}

const MERGE: &str = "application/merge-patch+json";
const PATCH: &str = "application/json-patch+json";

/// About 300 KB.
fn document() -> Value {
    let items: Vec<_> =
        (0..5_000).map(|n| json!({"number": n, "name": format!("item {n}, which has a name")})).collect();
    json!({"title": "large", "items": items})
}

async fn at(kvs: &Endpoint, path: &str) -> Value {
    let answer = kvs.get(&format!("{KEY}?path={path}")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}");
    answer.json()
}

async fn parts_of_a_large_document_are_read_and_written(make: Make) {
    let kvs = endpoint(make);
    let mut expected = document();
    let before = expected.to_string();
    assert_eq!(kvs.json("PUT", KEY, &expected).await.status, 201);
    assert_eq!(at(&kvs, "/items/4321/number").await, 4321);
    assert_eq!(at(&kvs, "").await, expected);
    assert_eq!(kvs.get(&format!("{KEY}?path=/items/0")).await.tag(), kvs.get(KEY).await.tag());
    assert_eq!(kvs.get(&format!("{KEY}?path=/items/5000")).await.status, 404);
    for (method, path, body, status) in [
        ("PUT", "/items/4321/number", "-1", 200),
        ("PUT", "/items/-", "\"last\"", 201),
        ("PUT", "/new/deep", "[1, 2]", 201),
        ("DELETE", "/items/0", "", 200),
        ("DELETE", "/nothing", "", 404),
        ("PUT", "/items/99999", "1", 404),
        ("PUT", "/title/x", "1", 409),
        ("PUT", "/title", "{", 400),
    ] {
        let answer = kvs.ask(method, &format!("{KEY}?path={path}"), &[], body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    expected["items"][4321]["number"] = json!(-1);
    expected["items"].as_array_mut().unwrap().push(json!("last"));
    expected["items"].as_array_mut().unwrap().remove(0);
    expected["new"] = json!({"deep": [1, 2]});
    assert_eq!(kvs.get(KEY).await.json(), expected);
    assert_eq!(kvs.get(KEY).await.header("content-type"), "application/json");
    assert_removed(&kvs, before.as_bytes(), "the document before the changes").await;
    let old = kvs.ask("PUT", &format!("{KEY}?path=/items&return=old"), &[], "[]").await;
    assert_eq!(old.json(), expected["items"]);
    expected["items"] = json!([]);
    assert_eq!(kvs.get(KEY).await.json(), expected);
}

async fn patches_change_a_large_document(make: Make) {
    let kvs = endpoint(make);
    let mut expected = document();
    kvs.json("PUT", KEY, &expected).await;
    let before = kvs.get(KEY).await.body;
    let patch =
        async |kind: &str, body: Value| kvs.ask("PATCH", KEY, &[("content-type", kind)], body.to_string()).await.status;
    assert_eq!(patch(MERGE, json!({"title": null, "more": {"text": "x".repeat(70_000)}})).await, 200);
    expected.as_object_mut().unwrap().remove("title");
    expected["more"] = json!({"text": "x".repeat(70_000)});
    assert_eq!(kvs.get(KEY).await.json(), expected);
    assert_removed(&kvs, &before, "the document before the patch").await;
    let test = |number: i32| json!({"op": "test", "path": "/items/7/number", "value": number});
    let change = json!({"op": "replace", "path": "/items/7/name", "value": "seven"});
    assert_eq!(patch(PATCH, json!([change, test(8)])).await, 409);
    assert_eq!(kvs.get(KEY).await.json(), expected);
    assert_eq!(patch(PATCH, json!([test(7), change, {"op": "remove", "path": "/more"}])).await, 200);
    expected["items"][7]["name"] = json!("seven");
    expected.as_object_mut().unwrap().remove("more");
    assert_eq!(kvs.get(KEY).await.json(), expected);
    assert_eq!(patch(MERGE, json!({"items": null})).await, 200);
    assert_value(&kvs, KEY, b"{}").await;
}

async fn a_large_value_that_is_not_json_is_409(make: Make) {
    let kvs = endpoint(make);
    let value = binary(1, 100_000);
    kvs.put(KEY, value.clone()).await;
    assert_eq!(kvs.get(&format!("{KEY}?path=/a")).await.status, 409);
    assert_eq!(kvs.put(&format!("{KEY}?path=/a"), "1").await.status, 409);
    assert_eq!(kvs.ask("PATCH", KEY, &[("content-type", MERGE)], "{\"a\":1}").await.status, 409);
    assert_value(&kvs, KEY, &value).await;
}

async fn a_change_that_exceeds_the_limit_is_413(make: Make) {
    let kvs = Endpoint::with_large_values(make, 400_000, |settings| settings);
    kvs.json("PUT", KEY, document()).await;
    let long = json!("x".repeat(300_000)).to_string();
    assert_eq!(kvs.put(&format!("{KEY}?path=/more"), long.clone()).await.status, 413);
    assert_eq!(kvs.ask("PATCH", KEY, &[("content-type", MERGE)], format!("{{\"a\":{long}}}")).await.status, 413);
    assert_eq!(kvs.get(KEY).await.json(), document());
}
