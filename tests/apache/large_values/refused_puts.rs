//! A PUT of a large value that is refused stores nothing, and leaves no file.

use std::time::{Duration, Instant};

use super::content::{content, digest};
use super::transfer::{answer, begin};
use super::{
    LENGTH, MAX_VALUE, assert_blobs, assert_sound, assert_value, get, head, names, put, put_request, secret, start,
    stored, through_each_way,
};
use crate::client::Answer;
use crate::servers::{Server, Way};
use crate::site::{READER, WRONG};

through_each_way! {
    a_wrong_digest_is_400_and_the_old_value_stays,
    a_value_that_is_too_large_is_413,
    a_wrong_secret_stores_nothing,
    conditions_that_do_not_hold_keep_the_old_value,
    the_reserved_type_is_refused,
}

/// Checks that requests with these headers are refused with this status, for a new key and for an old one.
#[track_caller]
fn assert_refused(server: &Server, refusals: &[(&str, u16)]) {
    let (old, new) = (content(1, LENGTH), content(2, LENGTH - 1));
    let tag = stored(server, "old", &old);
    for (headers, status) in refusals {
        for key in ["old", "new"] {
            let found: Answer = server.send(&put_request(key, headers, &new));
            assert_eq!(found.status, *status, "{key}, {headers}: {}", found.text());
        }
        assert_eq!(get(server, "new", "").status, 404, "{headers}");
        assert_value(server, "old", &old);
        assert_blobs(server, &[&old]);
    }
    assert_eq!(get(server, "old", "").header("etag"), Some(tag.as_str()));
    stored(server, "new", &new);
    assert_value(server, "new", &new);
    assert_sound(server, &names(&[&old, &new]));
}

fn a_wrong_digest_is_400_and_the_old_value_stays(server: &Server) {
    let wrong = digest(&content(2, LENGTH));
    let sha_512 = "sha-512=:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==:";
    let headers: Vec<String> = [
        format!("Content-Digest: {wrong}\r\n"),
        format!("Repr-Digest: {wrong}\r\n"),
        format!("Content-Digest: {sha_512}\r\n"),
        "Content-Digest: sha-256=nonsense\r\n".to_owned(),
    ]
    .map(|line| secret() + &line)
    .into();
    assert_refused(server, &headers.iter().map(|headers| (headers.as_str(), 400)).collect::<Vec<_>>());
}

fn a_value_that_is_too_large_is_413(server: &Server) {
    let old = content(3, MAX_VALUE);
    stored(server, "old", &old);
    for length in [MAX_VALUE + 1, MAX_VALUE + 2_000_000] {
        for key in ["old", "new"] {
            let found = put(server, key, "", &content(4, length));
            assert_eq!(found.status, 413, "{length} bytes: {}", found.text());
        }
        assert_eq!(get(server, "new", "").status, 404);
        assert_value(server, "old", &old);
    }
    assert_blobs(server, &[&old]);
    assert_sound(server, &names(&[&old]));
}

fn a_wrong_secret_stores_nothing(server: &Server) {
    let (wrong, reader) = (format!("X-KVS-Auth: {WRONG}\r\n"), format!("X-KVS-Auth: {READER}\r\n"));
    assert_refused(server, &[("", 401), (&wrong, 401), (&reader, 403)]);
}

fn conditions_that_do_not_hold_keep_the_old_value(server: &Server) {
    let (old, new) = (content(5, LENGTH), content(6, LENGTH));
    let tag = stored(server, "old", &old);
    for condition in ["If-None-Match: *\r\n", "If-Match: \"other\"\r\n", &format!("If-None-Match: {tag}\r\n")] {
        let found = put(server, "old", condition, &new);
        assert_eq!(found.status, 412, "{condition}: {}", found.text());
        assert_value(server, "old", &old);
        assert_blobs(server, &[&old]);
    }
    assert_eq!(put(server, "missing", "If-Match: *\r\n", &new).status, 412);
    assert_eq!(get(server, "missing", "").status, 404);
    assert_eq!(put(server, "old", &format!("If-Match: {tag}\r\n"), &new).status, 200);
    assert_eq!(put(server, "missing", "If-None-Match: *\r\n", &old).status, 201);
    assert_value(server, "old", &new);
    assert_value(server, "missing", &old);
    assert_sound(server, &names(&[&old, &new]));
}

fn the_reserved_type_is_refused(server: &Server) {
    let reserved = secret() + "Content-Type: application/vnd.kvs.blob\r\n";
    assert_refused(server, &[(&reserved, 400)]);
}

#[test]
fn a_refusal_arrives_before_the_client_has_sent_all() {
    let server = start(Way::Http);
    let old = content(7, LENGTH);
    stored(&server, "old", &old);
    let (wrong, reader) = (format!("X-KVS-Auth: {WRONG}\r\n"), format!("X-KVS-Auth: {READER}\r\n"));
    for (headers, length, status) in
        [("", LENGTH, 401), (&wrong, LENGTH, 401), (&reader, LENGTH, 403), (&secret(), MAX_VALUE + 1, 413)]
    {
        let mut request = head("PUT", "old", &format!("Content-Length: {length}\r\n{headers}")).into_bytes();
        request.extend_from_slice(&content(8, 100_000));
        let begun = Instant::now();
        let found = answer(begin(server.port, &request)).map(|found| found.status);
        assert_eq!(found, Some(status), "{headers}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{headers}: {:?}", begun.elapsed());
    }
    assert_value(&server, "old", &old);
    assert_blobs(&server, &[&old]);
}
