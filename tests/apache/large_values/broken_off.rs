//! A client that breaks off in the middle of a PUT stores nothing, and no file of it remains.

use std::fs;
use std::net::TcpStream;

use super::content::content;
use super::transfer::{begin, reset};
use super::{
    LENGTH, assert_blobs, assert_sound, assert_value, blob_files, blob_folder, get, head, names, secret, start, stored,
    through_each_way, within_seconds,
};
use crate::servers::{Server, Way};

through_each_way! {
    a_put_that_breaks_off_keeps_the_old_value,
    a_put_that_is_reset_keeps_the_old_value,
}

/// Whether the web server passes the body on while it arrives. The others keep it in a file of their own first.
fn passes_on(way: Way) -> bool {
    matches!(way, Way::Http | Way::ModProxyFcgi)
}

/// Waits until kvs has written a part of a value.
#[track_caller]
fn wait_for_a_part(server: &Server) {
    let length = |name: &String| fs::metadata(blob_folder(server).join(name)).map_or(0, |file| file.len());
    let has_part = || blob_files(server).iter().any(|name| name.contains(".new") && length(name) > 0);
    within_seconds(20, has_part, || format!("no part of the value is stored: {:?}", blob_files(server)));
}

/// Breaks off a PUT of a new key and of an old one in the middle, each time in another place.
fn break_off(server: &Server, end: fn(TcpStream)) {
    let old = content(1, LENGTH);
    let tag = stored(server, "old", &old);
    for (key, count) in [("old", LENGTH / 2), ("old", LENGTH - 1), ("new", 1_000_001), ("new", LENGTH - 1)] {
        let headers = format!("Content-Length: {LENGTH}\r\n{}", secret());
        let mut request = head("PUT", key, &headers).into_bytes();
        request.extend_from_slice(&content(2, LENGTH)[..count]);
        let stream = begin(server.port, &request);
        if passes_on(server.way) {
            wait_for_a_part(server);
        }
        end(stream);
        assert_blobs(server, &[&old]);
        assert_value(server, "old", &old);
        assert_eq!(get(server, "old", "").header("etag"), Some(tag.as_str()));
        assert_eq!(get(server, "new", "").status, 404, "{count} bytes");
    }
    let other = content(3, LENGTH);
    stored(server, "other", &other);
    assert_blobs(server, &[&old, &other]);
    assert_eq!(get(server, "new", "").status, 404);
    assert_sound(server, &names(&[&old, &other]));
}

fn a_put_that_breaks_off_keeps_the_old_value(server: &Server) {
    break_off(server, drop);
}

fn a_put_that_is_reset_keeps_the_old_value(server: &Server) {
    break_off(server, reset);
}

#[test]
fn a_chunked_put_without_its_last_chunk_stores_nothing() {
    let server = start(Way::Http);
    let old = content(4, LENGTH);
    stored(&server, "old", &old);
    for key in ["old", "new"] {
        let mut request = head("PUT", key, &(secret() + "Transfer-Encoding: chunked\r\n")).into_bytes();
        for chunk in content(5, LENGTH).chunks(100_000) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        let stream = begin(server.port, &request);
        wait_for_a_part(&server);
        drop(stream);
        assert_blobs(&server, &[&old]);
        assert_value(&server, "old", &old);
        assert_eq!(get(&server, "new", "").status, 404);
    }
    assert_sound(&server, &names(&[&old]));
}
