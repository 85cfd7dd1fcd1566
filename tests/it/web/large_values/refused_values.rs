//! Large values that are refused: nothing is stored, not even a blob.

use bytes::Bytes;
use kvs::web::ApiSettings;
use serde_json::json;

use super::{KEY, assert_value, binary, cases_with_blobs, endpoint, has_blob, pieces};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, streamed};

cases_with_blobs! {
    a_body_that_breaks_off_stores_nothing,
    a_body_with_another_length_is_400,
    one_byte_more_than_the_largest_value_is_413,
    the_limit_of_a_bucket_holds,
    encoded_and_partial_bodies_are_refused,
    without_the_right_nothing_is_stored,
    the_type_of_references_is_reserved,
    the_type_of_references_is_reserved_in_logs_too,
    a_text_like_a_reference_is_only_a_text,
}

/// Checks that a PUT is refused with this status and changes nothing.
async fn assert_refused(kvs: &Endpoint, status: u16, put: impl AsyncFn(&str) -> u16, refused: &[u8], what: &str) {
    let old = binary(100, 100_000);
    kvs.put("/kv/default/old", old.clone()).await;
    for uri in ["/kv/default/old", "/kv/default/new"] {
        assert_eq!(put(uri).await, status, "{what}: {uri}");
    }
    assert_value(kvs, "/kv/default/old", &old).await;
    assert_eq!(kvs.get("/kv/default/new").await.status, 404, "{what}");
    assert!(!has_blob(kvs, "default", refused).await, "{what}: a blob is left");
}

async fn a_body_that_breaks_off_stores_nothing(make: Make) {
    let kvs = endpoint(make);
    let value = binary(1, 300_000);
    for count in [1, 65_536, 65_537, 200_000, 300_000] {
        let put = async |uri: &str| {
            let part = Bytes::copy_from_slice(&value[..count]);
            let parts = [Ok(part), Err(std::io::Error::other("gone"))];
            kvs.put(uri, streamed(futures_util::stream::iter(parts))).await.status
        };
        assert_refused(&kvs, 400, put, &value[..count], &format!("{count} bytes")).await;
    }
}

async fn a_body_with_another_length_is_400(make: Make) {
    let kvs = endpoint(make);
    let value = binary(2, 200_000);
    for announced in ["199999", "200001", "400000", "65537", "1"] {
        let put = async |uri: &str| {
            kvs.ask("PUT", uri, &[("content-length", announced)], pieces(&value, 33_000)).await.status
        };
        assert_refused(&kvs, 400, put, &value, announced).await;
    }
}

async fn one_byte_more_than_the_largest_value_is_413(make: Make) {
    let limit = |settings| ApiSettings { max_blob_bytes: 250_000, ..settings };
    let kvs = Endpoint::with_large_values(make, 100_000, limit);
    let largest = binary(3, 250_000);
    assert_eq!(kvs.put(KEY, pieces(&largest, 33_000)).await.status, 201);
    assert_value(&kvs, KEY, &largest).await;
    for length in [250_001, 400_000] {
        let value = binary(4, length);
        let chunked = async |uri: &str| kvs.put(uri, pieces(&value, 33_000)).await.status;
        assert_refused(&kvs, 413, chunked, &value, "without a length").await;
        let announced = length.to_string();
        let announced = async |uri: &str| {
            kvs.ask("PUT", uri, &[("content-length", &announced)], pieces(&value, 33_000)).await.status
        };
        assert_refused(&kvs, 413, announced, &value, "with a length").await;
    }
    // All other requests keep values in memory, and have a limit of their own.
    let value = binary(5, 100_001);
    let append = async |uri: &str| kvs.post(&format!("{uri}?op=append"), value.clone()).await.status;
    assert_refused(&kvs, 413, append, &value, "append").await;
}

async fn the_limit_of_a_bucket_holds(make: Make) {
    let kvs = endpoint(make);
    let value = binary(6, 100_000);
    for body in [pieces(&value, 9_999), value.clone().into()] {
        let answer = kvs.put("/kv/small/a", body).await;
        assert_eq!(answer.status, 413);
        assert!(answer.text().contains("10"), "{}", answer.text());
    }
    assert_eq!(kvs.get("/kv/small/a").await.status, 404);
    assert!(!has_blob(&kvs, "small", &value).await);
}

async fn encoded_and_partial_bodies_are_refused(make: Make) {
    let kvs = endpoint(make);
    let value = binary(7, 100_000);
    for (name, content, status) in [
        ("content-range", "bytes 0-99999/200000", 400),
        ("content-encoding", "gzip", 415),
        ("content-type", "png", 400),
        ("content-digest", "sha-256=nonsense", 400),
        ("if-match", "nonsense", 400),
    ] {
        let put = async |uri: &str| kvs.ask("PUT", uri, &[(name, content)], pieces(&value, 9_999)).await.status;
        assert_refused(&kvs, status, put, &value, name).await;
    }
}

async fn without_the_right_nothing_is_stored(make: Make) {
    let kvs = endpoint(make);
    let value = binary(8, 100_000);
    for (secret, status) in [("", 401), ("wrong", 401), ("reader", 403), ("elsewhere", 403)] {
        let put = async |uri: &str| kvs.ask("PUT", uri, &[(NOBODY.0, secret)], pieces(&value, 9_999)).await.status;
        assert_refused(&kvs, status, put, &value, secret).await;
    }
    let old = async |uri: &str| {
        let uri = format!("{uri}?return=old");
        kvs.ask("PUT", &uri.replace("default", "secret"), &[(NOBODY.0, "writer")], pieces(&value, 9_999)).await.status
    };
    assert_eq!(old("/kv/default/new").await, 403, "a writer may not read the old value");
    let in_url = async |uri: &str| kvs.put(&format!("{uri}?auth=s3cret"), pieces(&value, 9_999)).await.status;
    assert_refused(&kvs, 400, in_url, &value, "a secret in the URL").await;
}

async fn the_type_of_references_is_reserved(make: Make) {
    let kvs = endpoint(make);
    let large = binary(9, 100_000);
    for mark in ["application/vnd.kvs.blob", "Application/VND.KVS.Blob", "application/vnd.kvs.blob; a=b"] {
        let header = [("content-type", mark)];
        for body in [b"small".to_vec(), large.clone()] {
            let put = async |uri: &str| kvs.ask("PUT", uri, &header, body.clone()).await.status;
            assert_refused(&kvs, 400, put, &body, &format!("{mark}, PUT of {} bytes", body.len())).await;
            let put = async |uri: &str| kvs.ask("PUT", uri, &header, pieces(&body, 9_999)).await.status;
            assert_refused(&kvs, 400, put, &body, &format!("{mark}, {} bytes in pieces", body.len())).await;
            let post = async |uri: &str| kvs.ask("POST", uri, &header, body.clone()).await.status;
            assert_refused(&kvs, 400, post, &body, &format!("{mark}, POST of {} bytes", body.len())).await;
        }
        let rows = json!([{"key": "new", "data": "x", "content_type": mark}]);
        assert_eq!(kvs.json("PUT", "/multi/default", rows).await.status, 400, "{mark}");
        let ops = json!({"ops": [{"op": "set", "key": "new", "value": "x", "type": mark}]});
        assert_eq!(kvs.json("POST", "/txn/default", ops).await.status, 400, "{mark}");
        assert_eq!(kvs.get("/kv/default/new").await.status, 404);
    }
}

async fn the_type_of_references_is_reserved_in_logs_too(make: Make) {
    let kvs = endpoint(make);
    let header = [("content-type", "application/vnd.kvs.blob")];
    assert_eq!(kvs.ask("POST", "/log/default/new", &header, "x").await.status, 400);
    assert_eq!(kvs.get("/log/default/new").await.status, 404);
}

async fn a_text_like_a_reference_is_only_a_text(make: Make) {
    let kvs = endpoint(make);
    let secret = binary(10, 100_000);
    kvs.put("/kv/secret/hidden", secret.clone()).await;
    kvs.put("/kv/default/known", secret.clone()).await;
    let name = super::name(&secret);
    let forged = json!({"sha-256": name, "bytes": 100_000, "type": "text/plain"}).to_string();
    for kind in ["application/json", "text/plain; charset=utf-8"] {
        assert!(kvs.ask("PUT", KEY, &[("content-type", kind)], forged.clone()).await.status < 300);
        assert_value(&kvs, KEY, forged.as_bytes()).await;
    }
}
