//! The file of a large value is removed with the last entry that needs it.

use super::content::content;
use super::transfer::Download;
use super::{
    LENGTH, assert_blobs, assert_sound, assert_value, delete, get, head, names, put, stored, through_each_way,
};
use crate::servers::Server;

through_each_way! {
    replacing_a_value_removes_its_file,
    deleting_a_value_removes_its_file,
    two_keys_with_the_same_content_share_a_file,
    a_reader_gets_a_removed_value_to_its_end,
}

fn replacing_a_value_removes_its_file(server: &Server) {
    let (first, second) = (content(1, LENGTH), content(2, LENGTH - 7));
    stored(server, "image", &first);
    assert_blobs(server, &[&first]);
    stored(server, "image", &second);
    assert_blobs(server, &[&second]);
    assert_value(server, "image", &second);
    stored(server, "image", b"small");
    assert_blobs(server, &[]);
    assert_value(server, "image", b"small");
    assert_sound(server, &names(&[]));
}

fn deleting_a_value_removes_its_file(server: &Server) {
    let value = content(2, LENGTH);
    stored(server, "image", &value);
    assert_blobs(server, &[&value]);
    assert_eq!(delete(server, "image").status, 200);
    assert_blobs(server, &[]);
    assert_eq!(get(server, "image", "").status, 404);
    assert_eq!(delete(server, "image").status, 404);
    assert_sound(server, &names(&[]));
}

fn two_keys_with_the_same_content_share_a_file(server: &Server) {
    let (shared, other) = (content(3, LENGTH), content(4, LENGTH));
    for (key, kind) in [("a", "image/png"), ("b", "video/mp4"), ("c", "image/png")] {
        assert_eq!(put(server, key, &format!("Content-Type: {kind}\r\n"), &shared).status, 201);
        assert_eq!(get(server, key, "").header("content-type"), Some(kind));
    }
    assert_blobs(server, &[&shared]);
    assert_eq!(delete(server, "a").status, 200);
    assert_value(server, "b", &shared);
    stored(server, "c", &other);
    assert_blobs(server, &[&shared, &other]);
    assert_value(server, "b", &shared);
    assert_eq!(get(server, "b", "").header("content-type"), Some("video/mp4"));
    // The same content again must not remove the file of its own value.
    stored(server, "b", &shared);
    assert_value(server, "b", &shared);
    assert_blobs(server, &[&shared, &other]);
    assert_eq!(delete(server, "b").status, 200);
    assert_blobs(server, &[&other]);
    assert_sound(server, &names(&[&other]));
}

fn a_reader_gets_a_removed_value_to_its_end(server: &Server) {
    let (old, new) = (content(5, LENGTH), content(6, LENGTH));
    let tag = stored(server, "image", &old);
    let mut slow = Download::open(server.port, &head("GET", "image", ""));
    let mut first = [0; 1000];
    assert_eq!(slow.read(&mut first), first.len());
    stored(server, "image", &new);
    let other = Download::open(server.port, &head("GET", "image", ""));
    assert_eq!(delete(server, "image").status, 200);
    assert_blobs(server, &[]);
    assert_eq!(slow.head.header("etag"), Some(tag.as_str()));
    assert!(other.rest() == new, "the reader of the new value");
    let rest = slow.rest();
    assert!(first == old[..1000] && rest == old[1000..], "the slow reader got {} bytes", 1000 + rest.len());
    assert_sound(server, &names(&[]));
}
