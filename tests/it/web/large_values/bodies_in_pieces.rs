//! Bodies that arrive in pieces: each piece counts, whatever its size, and options work as for other values.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{KEY, assert_value, binary, cases_with_blobs, endpoint, has_blob, pieces, text};
use crate::store::Make;
use crate::support::endpoint::{NOBODY, streamed};

cases_with_blobs! {
    pieces_of_any_size_are_stored_whole,
    empty_pieces_change_nothing,
    a_response_has_its_length_once,
    the_type_is_kept,
    a_missing_type_is_found_in_the_whole_body,
    an_expiry_in_the_url_is_kept,
    post_without_op_is_a_put,
    the_old_value_is_returned,
    a_digest_is_compared_with_the_whole_body,
    clients_may_set_the_modification_time,
    conditions_hold_for_the_whole_value,
}

async fn pieces_of_any_size_are_stored_whole(make: Make) {
    let kvs = endpoint(make);
    for (length, size) in [(70_001, 1), (200_003, 1_013), (200_003, 65_536), (200_003, 65_537), (3_000_001, 1 << 20)] {
        let value = binary(length as u64, length);
        let uri = format!("{KEY}/{length}/{size}");
        let answer = kvs.put(&uri, pieces(&value, size)).await;
        assert_eq!((answer.status, answer.text()), (201, "OK"), "{size}");
        assert_value(&kvs, &uri, &value).await;
        assert!(has_blob(&kvs, "default", &value).await);
        let length = length.to_string();
        let answer = kvs.ask("PUT", &uri, &[("content-length", &length)], pieces(&value, size)).await;
        assert_eq!(answer.status, 200, "{size}");
        assert_eq!(kvs.get(&uri).await.tag(), answer.tag());
        assert_value(&kvs, &uri, &value).await;
    }
}

async fn empty_pieces_change_nothing(make: Make) {
    let kvs = endpoint(make);
    let value = binary(1, 150_000);
    let mut parts = vec![Bytes::new()];
    for part in value.chunks(40_000) {
        parts.extend([Bytes::copy_from_slice(part), Bytes::new(), Bytes::new()]);
    }
    let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
    assert_eq!(kvs.put(KEY, streamed(futures_util::stream::iter(parts))).await.status, 201);
    assert_value(&kvs, KEY, &value).await;
}

async fn a_response_has_its_length_once(make: Make) {
    let kvs = endpoint(make);
    for length in [10, 100_000] {
        kvs.put(KEY, binary(1, length)).await;
        for (method, range) in [("GET", ""), ("HEAD", ""), ("GET", "bytes=0-3")] {
            let answer = kvs.ask(method, KEY, &[NOBODY, ("range", range)], "").await;
            let lengths: Vec<_> = answer.headers.get_all("content-length").iter().collect();
            let expected = if range.is_empty() { length } else { 4 };
            assert_eq!(lengths, [&expected.to_string()], "{method} {range} of {length} bytes");
        }
    }
}

async fn the_type_is_kept(make: Make) {
    let kvs = endpoint(make);
    let value = text(2, 100_000).into_bytes();
    let form = "application/x-www-form-urlencoded";
    for (sent, stored, served) in [
        ("image/png", "image/png", "image/png"),
        ("application/json; charset=utf-8", "application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("text/html", "text/html", "application/octet-stream"),
        (form, "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ] {
        for body in [pieces(&value, 33_333), value.clone().into()] {
            kvs.ask("PUT", KEY, &[("content-type", sent)], body).await;
            let answer = kvs.get(KEY).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, served), "{sent}");
            assert_eq!(answer.header("content-disposition") == "attachment", sent == "text/html");
            assert_eq!(kvs.get(&format!("{KEY}?meta")).await.json()["type"], stored, "{sent}");
        }
    }
}

async fn a_missing_type_is_found_in_the_whole_body(make: Make) {
    let kvs = endpoint(make);
    let mut long = "ä🙂".repeat(30_000);
    long.insert(0, 'x');
    // Pieces of this size cut characters.
    let cases = [
        (long.clone().into_bytes(), "text/plain; charset=utf-8"),
        ([long.as_bytes(), b"\xff"].concat(), "application/octet-stream"),
        (long.as_bytes()[..long.len() - 1].to_vec(), "application/octet-stream"),
    ];
    for (value, expected) in cases {
        for size in [65_536, 1_000, value.len()] {
            kvs.put(KEY, pieces(&value, size)).await;
            let answer = kvs.get(KEY).await;
            assert_eq!(answer.header("content-type"), expected, "in pieces of {size}");
            assert!(answer.body == value);
        }
    }
}

async fn an_expiry_in_the_url_is_kept(make: Make) {
    let kvs = endpoint(make);
    let value = binary(3, 100_000);
    assert_eq!(kvs.put(&format!("{KEY}?ttl=60"), pieces(&value, 9_999)).await.status, 201);
    let expires = 1_795_176_000 + 100;
    assert_eq!(kvs.put(&format!("{KEY}/2?expires={expires}"), pieces(&value, 9_999)).await.status, 201);
    for wrong in ["ttl=0", "ttl=x", "expires=1", "ttl=1&expires=99999999999"] {
        assert_eq!(kvs.put(&format!("{KEY}/2?{wrong}"), pieces(&value, 9_999)).await.status, 400, "{wrong}");
    }
    kvs.clock.advance(Duration::from_secs(59));
    assert_value(&kvs, KEY, &value).await;
    kvs.clock.advance(Duration::from_secs(2));
    assert_eq!(kvs.get(KEY).await.status, 404);
    assert_value(&kvs, &format!("{KEY}/2"), &value).await;
    kvs.put(&format!("{KEY}/2"), pieces(&value, 9_999)).await;
    kvs.clock.advance(Duration::from_secs(3600));
    assert_value(&kvs, &format!("{KEY}/2"), &value).await;
}

async fn post_without_op_is_a_put(make: Make) {
    let kvs = endpoint(make);
    let value = binary(4, 300_000);
    assert_eq!(kvs.post(KEY, pieces(&value, 7_777)).await.status, 201);
    assert_value(&kvs, KEY, &value).await;
    let value = binary(5, 300_000);
    let headers = [("x-http-method-override", "PUT"), ("content-type", "image/png")];
    assert_eq!(kvs.ask("POST", KEY, &headers, pieces(&value, 7_777)).await.status, 200);
    assert_value(&kvs, KEY, &value).await;
    assert_eq!(kvs.get(KEY).await.header("content-type"), "image/png");
    // By the parameter `key`, too.
    assert_eq!(kvs.put("/kv/default?key=a//b", pieces(&value, 7_777)).await.status, 201);
    assert_value(&kvs, "/kv/default?key=a//b", &value).await;
    assert_value(&kvs, "/?k=a//b", &value).await;
}

async fn the_old_value_is_returned(make: Make) {
    let kvs = endpoint(make);
    let (old, new) = (binary(6, 100_000), binary(7, 200_000));
    let uri = format!("{KEY}?return=old");
    assert_eq!(kvs.ask("PUT", &uri, &[("content-type", "image/png")], pieces(&old, 9_999)).await.status, 204);
    let answer = kvs.put(&uri, pieces(&new, 9_999)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "image/png"));
    assert!(answer.body == old, "{} bytes", answer.body.len());
    assert_value(&kvs, KEY, &new).await;
    let answer = kvs.delete(&uri).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == new, "{} bytes", answer.body.len());
    assert_eq!(kvs.get(KEY).await.status, 404);
}

async fn a_digest_is_compared_with_the_whole_body(make: Make) {
    let kvs = endpoint(make);
    let (value, other) = (binary(8, 200_000), binary(9, 200_000));
    let sha_256 = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&value)));
    let sha_512 = format!("sha-512=:{}:", STANDARD.encode(sha2::Sha512::digest(&value)));
    for name in ["content-digest", "repr-digest"] {
        for digest in [&sha_256, &sha_512, &format!("{sha_512}, {sha_256}")] {
            let put = async |bytes: &[u8]| kvs.ask("PUT", KEY, &[(name, digest)], pieces(bytes, 5_000)).await.status;
            assert!(matches!(put(&value).await, 200 | 201), "{name}: {digest}");
            assert_eq!(put(&other).await, 400, "{name}: {digest}");
            assert_value(&kvs, KEY, &value).await;
            assert!(!has_blob(&kvs, "default", &other).await, "{name}: {digest}");
        }
    }
    let answer = kvs.get(KEY).await;
    assert_eq!((answer.header("content-digest"), answer.header("repr-digest")), (&*sha_256, &*sha_256));
}

async fn clients_may_set_the_modification_time(make: Make) {
    let kvs = endpoint(make);
    let (old, new) = (binary(10, 100_000), binary(11, 100_000));
    let (early, late) = ("Sat, 21 Nov 2026 05:31:26 GMT", "Sat, 21 Nov 2026 05:31:27 GMT");
    let uri = "/kv/poky/image";
    let put = async |bytes: &[u8], date: &str| {
        kvs.ask("PUT", uri, &[("if-unmodified-since", date)], pieces(bytes, 9_999)).await.status
    };
    assert_eq!(put(&old, late).await, 200);
    assert_eq!(kvs.get(uri).await.header("last-modified"), late);
    assert_eq!(put(&new, early).await, 412);
    assert_value(&kvs, uri, &old).await;
    assert!(!has_blob(&kvs, "poky", &new).await);
}

async fn conditions_hold_for_the_whole_value(make: Make) {
    let kvs = endpoint(make);
    let (old, new) = (binary(12, 100_000), binary(13, 100_000));
    kvs.put(KEY, pieces(&old, 9_999)).await;
    let tag = kvs.get(KEY).await.tag().to_owned();
    let put = async |name: &str, value: &str| kvs.ask("PUT", KEY, &[(name, value)], pieces(&new, 9_999)).await.status;
    assert_eq!(put("if-match", "\"other\"").await, 412);
    assert_eq!(put("if-none-match", "*").await, 412);
    assert_eq!(put("if-match", "not a tag").await, 400);
    assert_value(&kvs, KEY, &old).await;
    assert!(!has_blob(&kvs, "default", &new).await);
    let read = async |name: &str| kvs.ask("GET", KEY, &[NOBODY, (name, &tag)], "").await.status;
    assert_eq!((read("if-none-match").await, read("if-match").await), (304, 200));
    assert_eq!(put("if-match", &tag).await, 200);
    assert_value(&kvs, KEY, &new).await;
    assert_eq!((read("if-none-match").await, read("if-match").await), (200, 412));
}
