//! A blob is removed with the last entry that needs it, whatever request removes or replaces the entry.

use std::time::Duration;

use kvs::model::Bucket;
use kvs::store::Task;
use kvs::web::Body;
use serde_json::json;

use super::{KEY, assert_removed, assert_value, binary, cases_with_blobs, endpoint, has_blob, pieces, text};
use crate::store::Make;
use crate::support::endpoint::Endpoint;

cases_with_blobs! {
    a_blob_is_removed_when_its_entry_is_replaced,
    a_blob_is_removed_when_its_entry_is_replaced_in_pieces,
    a_blob_is_removed_when_its_entry_is_deleted,
    a_shared_blob_stays_until_its_last_entry_is_gone,
    a_write_that_is_refused_leaves_no_blob,
    a_value_that_its_own_transaction_replaces_leaves_no_blob,
    the_blob_of_an_expired_entry_is_removed_by_maintenance,
    equal_blobs_of_two_buckets_are_independent,
}

async fn a_blob_is_removed_when_its_entry_is_replaced(make: Make) {
    let kvs = endpoint(make);
    let value = binary(1, 200_000);
    let by_large = async || kvs.put(KEY, binary(2, 200_000)).await.status;
    let by_small = async || kvs.put(KEY, "small").await.status;
    let by_form = async || kvs.form("image=small&auth=s3cret").await.status;
    let rows = json!([{"key": "image", "data": "small"}]);
    let by_multi = async || kvs.json("PUT", "/multi/default", &rows).await.status;
    let ops = json!({"ops": [{"op": "set", "key": "image", "value": "small"}]});
    let by_txn = async || kvs.json("POST", "/txn/default", &ops).await.status;
    let by_append = async || kvs.post(&format!("{KEY}?op=append"), "more").await.status;
    macro_rules! replaced {
        ($($by:ident),+) => {$(
            kvs.put(KEY, value.clone()).await;
            assert!(has_blob(&kvs, "default", &value).await);
            assert_eq!($by().await, 200, stringify!($by));
            assert_removed(&kvs, &value, stringify!($by)).await;
        )+};
    }
    replaced!(by_large, by_small, by_form, by_multi, by_txn, by_append);
}

async fn a_blob_is_removed_when_its_entry_is_replaced_in_pieces(make: Make) {
    let kvs = endpoint(make);
    let (first, second, third) = (binary(1, 200_000), binary(2, 200_000), binary(3, 200_000));
    for value in [&first, &second, &third] {
        assert!(kvs.put(KEY, pieces(value, 9_999)).await.status < 300);
    }
    assert_removed(&kvs, &first, "replaced twice").await;
    assert_removed(&kvs, &second, "replaced once").await;
    assert_value(&kvs, KEY, &third).await;
}

async fn a_blob_is_removed_when_its_entry_is_deleted(make: Make) {
    let kvs = endpoint(make);
    let value = binary(4, 200_000);
    let rows = json!(["image"]);
    let ops = json!({"ops": [{"op": "delete", "key": "image"}]});
    for (method, uri, body) in [
        ("DELETE", KEY, String::new()),
        ("DELETE", "/kv/default?prefix=im", String::new()),
        ("DELETE", "/multi/default", rows.to_string()),
        ("POST", "/txn/default", ops.to_string()),
    ] {
        kvs.put(KEY, value.clone()).await;
        assert!(has_blob(&kvs, "default", &value).await);
        assert_eq!(kvs.json(method, uri, body).await.status, 200, "{method} {uri}");
        assert_eq!(kvs.get(KEY).await.status, 404, "{method} {uri}");
        assert_removed(&kvs, &value, uri).await;
    }
}

async fn a_shared_blob_stays_until_its_last_entry_is_gone(make: Make) {
    let kvs = endpoint(make);
    let value = binary(5, 200_000);
    for key in ["a", "b", "c"] {
        assert_eq!(kvs.put(&format!("/kv/default/{key}"), pieces(&value, 9_999)).await.status, 201);
    }
    kvs.delete("/kv/default/a").await;
    assert_value(&kvs, "/kv/default/b", &value).await;
    kvs.put("/kv/default/b", "small").await;
    assert_value(&kvs, "/kv/default/c", &value).await;
    // An equal value in its place needs the same blob.
    kvs.put("/kv/default/c", value.clone()).await;
    assert_value(&kvs, "/kv/default/c", &value).await;
    kvs.delete("/kv/default/c").await;
    assert_removed(&kvs, &value, "the last of three entries").await;
}

async fn a_write_that_is_refused_leaves_no_blob(make: Make) {
    let kvs = endpoint(make);
    kvs.put(KEY, "old").await;
    let value = text(9, 100_000);
    let put = async |body: Body| kvs.ask("PUT", KEY, &[("if-none-match", "*")], body).await.status;
    assert_eq!(put(pieces(value.as_bytes(), 9_999)).await, 412);
    assert_removed(&kvs, value.as_bytes(), "PUT in pieces").await;
    assert_eq!(put(value.clone().into()).await, 412);
    assert_removed(&kvs, value.as_bytes(), "PUT").await;
    let guarded = json!([{"key": "image", "data": value, "modified_at": "Thu, 01 Jan 1970 00:00:01 GMT"}]);
    assert_eq!(kvs.json("PUT", "/multi/default", guarded).await.json()[0]["result"], "rejected");
    assert_removed(&kvs, value.as_bytes(), "/multi").await;
    let set = json!({"op": "set", "key": "new", "value": value});
    let checked = json!({"checks": [{"key": "image", "absent": true}], "ops": [set]});
    assert_eq!(kvs.json("POST", "/txn/default", checked).await.status, 409);
    assert_removed(&kvs, value.as_bytes(), "a check of /txn").await;
    let impossible = json!({"ops": [set, {"op": "incr", "key": "image"}]});
    assert_eq!(kvs.json("POST", "/txn/default", impossible).await.status, 400);
    assert_removed(&kvs, value.as_bytes(), "an operation of /txn").await;
    assert_value(&kvs, KEY, b"old").await;
}

async fn a_value_that_its_own_transaction_replaces_leaves_no_blob(make: Make) {
    let kvs = endpoint(make);
    let value = text(10, 100_000);
    let ops =
        json!({"ops": [{"op": "set", "key": "a", "value": value}, {"op": "append", "key": "a", "value": "more"}]});
    assert_eq!(kvs.json("POST", "/txn/default", ops).await.status, 200);
    assert_value(&kvs, "/kv/default/a", format!("{value}more").as_bytes()).await;
    assert_removed(&kvs, value.as_bytes(), "a value that no reader has seen").await;
}

async fn maintain(kvs: &Endpoint, task: Task) {
    kvs.store.maintain(&Bucket::default(), task).await.unwrap();
}

async fn the_blob_of_an_expired_entry_is_removed_by_maintenance(make: Make) {
    for task in [Task::RemoveExpired, Task::RemoveLeftovers, Task::Compact] {
        let kvs = endpoint(make);
        let (short, long) = (binary(6, 200_000), binary(7, 200_000));
        kvs.put(&format!("{KEY}?ttl=60"), short.clone()).await;
        kvs.put("/kv/default/other?ttl=600", long.clone()).await;
        kvs.put("/kv/default/touched?ttl=60", short.clone()).await;
        maintain(&kvs, task).await;
        assert_value(&kvs, KEY, &short).await;
        assert_eq!(kvs.post("/kv/default/touched?op=touch&ttl=300", "").await.status, 200);
        kvs.clock.advance(Duration::from_secs(61));
        assert_eq!(kvs.get(KEY).await.status, 404);
        maintain(&kvs, task).await;
        assert_value(&kvs, "/kv/default/touched", &short).await;
        kvs.clock.advance(Duration::from_secs(300));
        assert_eq!(kvs.get("/kv/default/touched").await.status, 404);
        maintain(&kvs, Task::RemoveExpired).await;
        maintain(&kvs, task).await;
        assert_removed(&kvs, &short, &format!("{task:?}")).await;
        assert_value(&kvs, "/kv/default/other", &long).await;
    }
}

async fn equal_blobs_of_two_buckets_are_independent(make: Make) {
    let kvs = endpoint(make);
    let value = binary(8, 200_000);
    kvs.put(KEY, value.clone()).await;
    kvs.put("/kv/other/image", value.clone()).await;
    kvs.delete(KEY).await;
    assert_removed(&kvs, &value, "that of the bucket `default`").await;
    assert_value(&kvs, "/kv/other/image", &value).await;
}
