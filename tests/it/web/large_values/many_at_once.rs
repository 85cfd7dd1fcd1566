//! Large values in `/multi`, `/txn`, forms, and reads of several keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvs::web::ApiSettings;
use serde_json::json;

use super::{KEY, assert_value, binary, cases_with_blobs, endpoint, has_blob, text};
use crate::store::Make;
use crate::support::endpoint::Endpoint;

cases_with_blobs! {
    multi_stores_reads_and_deletes_large_values,
    transactions_set_check_and_get_large_values,
    a_form_stores_large_values,
    the_latest_of_several_large_values_is_returned,
    too_many_large_values_at_once_are_413,
}

async fn multi_stores_reads_and_deletes_large_values(make: Make) {
    let kvs = endpoint(make);
    let rows: Vec<_> = (0..5).map(|n| json!({"key": format!("k{n}"), "data": text(n, 100_000)})).collect();
    let answer = kvs.json("PUT", "/multi/default", json!(rows)).await;
    assert_eq!(answer.json(), json!(vec![json!({"result": "inserted"}); 5]), "{}", answer.text());
    assert!(has_blob(&kvs, "default", text(3, 100_000).as_bytes()).await);
    let raw = binary(9, 100_000);
    kvs.put("/kv/default/raw", raw.clone()).await;
    let found = kvs.json("POST", "/multi/default", json!(["k0", "k4", "raw", "none"])).await.json();
    let expected = json!({"k0": text(0, 100_000), "k4": text(4, 100_000), "raw": {"base64": STANDARD.encode(&raw)}});
    assert!(found == expected, "{:?}", found.as_object().map(|rows| rows.keys().collect::<Vec<_>>()));
    let rows = json!([{"key": "k0", "data": text(10, 100_000)}, {"key": "k1", "data": "small"}]);
    assert_eq!(kvs.json("PUT", "/multi/default", rows).await.json()[1]["result"], "updated");
    assert_value(&kvs, "/kv/default/k0", text(10, 100_000).as_bytes()).await;
    assert_value(&kvs, "/kv/default/k1", b"small").await;
    assert_eq!(kvs.json("DELETE", "/multi/default", json!(["k2", "raw"])).await.status, 200);
    assert_eq!(kvs.get("/kv/default/k2").await.status, 404);
    assert_value(&kvs, "/kv/default/k3", text(3, 100_000).as_bytes()).await;
}

async fn transactions_set_check_and_get_large_values(make: Make) {
    let kvs = endpoint(make);
    let (value, other) = (text(1, 100_000), text(2, 100_000));
    let txn = async |body: serde_json::Value| kvs.json("POST", "/txn/default", body).await;
    let answer = txn(json!({"checks": [{"key": "a", "absent": true}], "ops": [
        {"op": "set", "key": "a", "value": value}, {"op": "append", "key": "a", "value": "more"},
        {"op": "get", "key": "a"}]}))
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let whole = format!("{value}more");
    assert!(answer.json()["results"][2]["value"] == whole, "the transaction sees its own writes");
    assert_value(&kvs, "/kv/default/a", whole.as_bytes()).await;
    let refused = txn(json!({"checks": [{"key": "a", "value": value}], "ops": [{"op": "delete", "key": "a"}]})).await;
    assert_eq!((refused.status, &refused.json()["check"]), (409, &json!(0)));
    assert!(refused.json()["found"]["value"] == whole, "{}", refused.json()["found"]["type"]);
    let done = txn(json!({"checks": [{"key": "a", "value": whole}], "ops": [
        {"op": "set", "key": "b", "base64": STANDARD.encode(&other), "type": "image/png", "ttl": 60},
        {"op": "delete", "key": "a"}]}))
    .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_value(&kvs, "/kv/default/b", other.as_bytes()).await;
    assert_eq!(kvs.get("/kv/default/b").await.header("content-type"), "image/png");
    let wrong = txn(json!({"ops": [{"op": "set", "key": "c", "value": value}, {"op": "incr", "key": "b"}]})).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(kvs.get("/kv/default/c").await.status, 404);
}

async fn a_form_stores_large_values(make: Make) {
    let kvs = endpoint(make);
    let value = text(3, 100_000);
    let form = format!("a={}&b=small&auth=s3cret", value.replace(' ', "+"));
    assert_eq!(kvs.form(&form).await.status, 200);
    assert_value(&kvs, "/?k=a", value.as_bytes()).await;
    assert_value(&kvs, "/?k=a,b", b"small").await;
}

async fn the_latest_of_several_large_values_is_returned(make: Make) {
    let kvs = endpoint(make);
    for n in 0..3 {
        kvs.put(&format!("/kv/default/k{n}"), text(n, 100_000)).await;
    }
    let answer = kvs.get("/?k=k0,k1,k2,none").await;
    assert_eq!(answer.header("kvs-key"), "k2");
    assert!(answer.text() == text(2, 100_000));
    kvs.post("/kv/default/k0?op=append", "!").await;
    let answer = kvs.get("/?k=k0,k1,k2").await;
    assert_eq!((answer.header("kvs-key"), answer.body.len()), ("k0", 100_001));
}

async fn too_many_large_values_at_once_are_413(make: Make) {
    // Lists have values of up to 16 MiB whole, whatever the limit is.
    let kvs =
        Endpoint::with_large_values(make, 16 << 20, |settings| ApiSettings { max_blob_bytes: 16 << 20, ..settings });
    let value = text(4, 14 << 20);
    for n in 0..5 {
        kvs.put(&format!("{KEY}/{n}"), value.clone()).await;
    }
    let keys: Vec<_> = (0..5).map(|n| format!("image/{n}")).collect();
    let answer = kvs.json("POST", "/multi/default", json!(keys)).await;
    assert_eq!(answer.status, 413, "70 MiB by /multi");
    assert_eq!(kvs.json("POST", "/multi/default", json!(keys[..4])).await.status, 200, "56 MiB by /multi");
    let gets: Vec<_> = keys.iter().map(|key| json!({"op": "get", "key": key})).collect();
    assert_eq!(kvs.json("POST", "/txn/default", json!({"ops": gets})).await.status, 413, "70 MiB by /txn");
}
