//! A large value is returned as it was stored.

use super::content::{content, digest};
use super::{
    LENGTH, MAX_VALUE, assert_blobs, assert_sound, assert_value, get, head, names, put, secret, start, stored,
    through_each_way,
};
use crate::client::Answer;
use crate::servers::{Server, Way};

through_each_way! {
    a_value_is_returned_byte_for_byte_with_its_headers,
    head_has_the_length_and_no_body,
    head_of_a_small_value_has_its_length_too,
    an_unchanged_value_is_304,
    lengths_around_the_size_of_a_blob_are_kept,
}

fn a_value_is_returned_byte_for_byte_with_its_headers(server: &Server) {
    let value = content(1, LENGTH);
    let digest = digest(&value);
    let headers = format!("Content-Type: image/png\r\nContent-Digest: {digest}\r\n");
    let answer = put(server, "image", &headers, &value);
    assert_eq!((answer.status, answer.text()), (201, "OK".into()));
    assert_eq!(put(server, "image", &headers, &value).status, 200, "the key exists");
    let answer = get(server, "image", "");
    assert_eq!((answer.status, answer.whole), (200, true));
    assert!(answer.body == value, "{} bytes, other than those stored", answer.body.len());
    for (name, expected) in [
        ("content-length", LENGTH.to_string().as_str()),
        ("content-type", "image/png"),
        ("accept-ranges", "bytes"),
        ("content-digest", &digest),
        ("repr-digest", &digest),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(expected), "{name}");
    }
    assert!(answer.header("last-modified").is_some());
    assert_blobs(server, &[&value]);
    assert_sound(server, &names(&[&value]));
}

fn head_has_the_length_and_no_body(server: &Server) {
    let value = content(2, LENGTH);
    let tag = stored(server, "image", &value);
    let answer = server.send(head("HEAD", "image", "").as_bytes());
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    for (name, expected) in [("content-length", LENGTH.to_string()), ("etag", tag), ("repr-digest", digest(&value))] {
        assert_eq!(answer.header(name), Some(expected.as_str()), "{name}");
    }
}

fn head_of_a_small_value_has_its_length_too(server: &Server) {
    let tag = stored(server, "small", b"0123456789");
    let answer = server.send(head("HEAD", "small", "").as_bytes());
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!((answer.header("content-length"), answer.header("etag")), (Some("10"), Some(tag.as_str())));
}

fn an_unchanged_value_is_304(server: &Server) {
    let tag = stored(server, "image", &content(3, LENGTH));
    let answer = get(server, "image", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, Some(tag.as_str())));
    let newer = content(4, LENGTH);
    stored(server, "image", &newer);
    let answer = get(server, "image", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(answer.status, 200);
    assert!(answer.body == newer);
}

fn lengths_around_the_size_of_a_blob_are_kept(server: &Server) {
    let values: Vec<_> = [65_535, 65_536, 65_537, 131_072, MAX_VALUE].map(|length| content(5, length)).into();
    for value in &values {
        stored(server, &format!("bytes/{}", value.len()), value);
    }
    for value in &values {
        assert_value(server, &format!("bytes/{}", value.len()), value);
    }
    // A value of 64 KiB is in the data file.
    assert_blobs(server, &[&values[2], &values[3], &values[4]]);
}

/// A PUT without a length, in chunks of this size.
fn chunked(server: &Server, value: &[u8], size: usize) -> Answer {
    let headers = secret() + "Transfer-Encoding: chunked\r\n";
    let mut request = head("PUT", "image", &headers).into_bytes();
    for chunk in value.chunks(size) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    server.send(&request)
}

#[test]
fn a_body_without_a_length_is_stored_whole() {
    for way in [Way::Http, Way::NginxProxy, Way::NginxFastcgi, Way::ModProxyFcgi] {
        let server = start(way);
        for (seed, size) in [(1, 1_013), (2, 70_000), (3, LENGTH)] {
            let value = content(seed, LENGTH);
            let answer = chunked(&server, &value, size);
            assert!(matches!(answer.status, 200 | 201), "{way:?}: {} {}", answer.status, answer.text());
            assert_value(&server, "image", &value);
            assert_blobs(&server, &[&value]);
        }
    }
}

#[test]
fn a_body_without_a_length_that_is_too_large_is_refused() {
    for way in [Way::Http, Way::NginxProxy, Way::NginxFastcgi, Way::ModProxyFcgi] {
        let server = start(way);
        let old = content(4, LENGTH);
        stored(&server, "image", &old);
        let answer = chunked(&server, &content(5, MAX_VALUE + 1), 70_000);
        assert_eq!(answer.status, 413, "{way:?}: {}", answer.text());
        assert_value(&server, "image", &old);
        assert_blobs(&server, &[&old]);
    }
}
