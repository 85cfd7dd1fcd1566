//! Parts of JSON values by path (RFC 6901); some rules hold for patches too.

use std::time::Duration;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, JSON, NOBODY, cases};

cases! {
    a_part_is_read_by_its_path,
    a_part_is_stored_and_the_rest_keeps_its_text,
    a_part_is_deleted,
    inapplicable_paths_change_nothing,
    preconditions_guard_parts_and_patches,
    type_and_expiry_are_kept,
    the_old_part_is_returned,
    limit_applies_to_the_whole_value,
    buckets_with_client_timestamps_have_parts_too,
    long_polls_wait_for_a_part,
    a_patch_needs_the_right_to_write,
}

cases! {
    on threads:
    concurrent_changes_of_parts_are_all_kept,
}

pub(super) const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
pub(super) const PATCH: (&str, &str) = ("content-type", "application/json-patch+json");
const DOCUMENT: &str =
    r#"{"name": "Hall", "temp": [21.50, 1E+2], "a/b": {"~": null}, "big": 123456789012345678901234567890}"#;

async fn a_part_is_read_by_its_path(make: Make) {
    let kvs = Endpoint::new(make);
    // Forms and curl -d store text, which is JSON all the same.
    for headers in [vec![JSON], vec![]] {
        kvs.ask("PUT", "/kv/default/a", &headers, DOCUMENT).await;
        let whole = kvs.get("/kv/default/a").await;
        for (path, part) in [
            ("", DOCUMENT),
            ("/name", "\"Hall\""),
            ("/temp", "[21.50, 1E+2]"),
            ("/temp/0", "21.50"),
            ("/temp/1", "1E+2"),
            ("/a~1b/~0", "null"),
            ("/big", "123456789012345678901234567890"),
        ] {
            let answer = kvs.get(&format!("/kv/default/a?path={path}")).await;
            assert_eq!((answer.status, answer.text()), (200, part), "{path}");
            assert_eq!((answer.header("content-type"), answer.tag()), ("application/json", whole.tag()));
            let head = kvs.plain("HEAD", &format!("/kv/default/a?path={path}"), &[]).await;
            assert_eq!((head.status, head.header("content-length")), (200, part.len().to_string().as_str()));
            let again =
                kvs.plain("GET", &format!("/kv/default/a?path={path}"), &[("if-none-match", whole.tag())]).await;
            assert_eq!(again.status, 304);
        }
    }
    assert_eq!(kvs.get("/kv/default?key=a&path=/name").await.text(), "\"Hall\"");
    for path in ["/none", "/temp/2", "/temp/-", "/temp/00", "/a~1b/x/y"] {
        assert_eq!(kvs.get(&format!("/kv/default/a?path={path}")).await.status, 404, "{path}");
    }
    assert_eq!(kvs.get("/kv/default/none?path=/a").await.status, 404);
    for path in ["name", "/~", "/~2", "%ff"] {
        assert_eq!(kvs.get(&format!("/kv/default/a?path={path}")).await.status, 400, "{path}");
    }
    assert_eq!(kvs.get("/kv/default/a?path=/name/0").await.status, 409);
    for value in ["", "open", "{\"a\":", "{\"a\":1} x"] {
        kvs.put("/kv/default/text", value).await;
        let answer = kvs.get("/kv/default/text?path=/a").await;
        assert_eq!(answer.status, 409, "{value}");
        assert!(answer.text().contains("not JSON"), "{}", answer.text());
    }
    kvs.put("/kv/default/bytes", vec![0xff_u8]).await;
    assert_eq!(kvs.get("/kv/default/bytes?path=").await.status, 409);
}

async fn a_part_is_stored_and_the_rest_keeps_its_text(make: Make) {
    let kvs = Endpoint::new(make);
    for (path, value, status, result) in [
        ("/rooms/hall/temp", "21.50", 201, r#"{"rooms":{"hall":{"temp":21.50}}}"#),
        ("/rooms/hall/temp", "1E+2", 200, r#"{"rooms":{"hall":{"temp":1E+2}}}"#),
        ("/rooms/log/-", "1", 201, r#"{"rooms":{"hall":{"temp":1E+2},"log":[1]}}"#),
        ("/rooms/log/-", r#"{"b": 1}"#, 201, r#"{"rooms":{"hall":{"temp":1E+2},"log":[1,{"b": 1}]}}"#),
        ("/rooms/log/0", "null", 200, r#"{"rooms":{"hall":{"temp":1E+2},"log":[null,{"b": 1}]}}"#),
        ("/rooms/log/2", "3", 201, r#"{"rooms":{"hall":{"temp":1E+2},"log":[null,{"b": 1},3]}}"#),
        ("/rooms", " [ 1 ] ", 200, r#"{"rooms":[ 1 ]}"#),
        ("", "[]", 200, "[]"),
    ] {
        let answer = kvs.put(&format!("/kv/default/a?path={path}"), value).await;
        assert_eq!((answer.status, answer.text()), (status, "OK"), "{path} {value}");
        let found = kvs.get("/kv/default/a").await;
        assert_eq!((found.text(), found.tag()), (result, answer.tag()), "{path} {value}");
        assert_eq!(found.header("content-type"), "application/json");
    }
    assert_eq!(kvs.post("/kv/default/b?path=", "1").await.status, 201);
    for (uri, value, result) in [
        ("/kv/default/list?path=/-", "1", "[1]"),
        ("/kv/default/list?path=/-", "2", "[1,2]"),
        ("/kv/default/log?path=/lines/-/text", "\"a\"", r#"{"lines":[{"text":"a"}]}"#),
        ("/kv/default/log?path=/lines/-/text", "\"b\"", r#"{"lines":[{"text":"a"},{"text":"b"}]}"#),
    ] {
        assert_eq!(kvs.put(uri, value).await.status, 201, "{uri}");
        assert_eq!(kvs.get(uri.split('?').next().unwrap()).await.text(), result);
    }
    assert_eq!(kvs.get("/kv/default/b").await.text(), "1");
}

async fn a_part_is_deleted(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", r#"{"d":1.0,"c":2,"b":[0,1,2],"a":{"x":null}}"#).await;
    for (path, result) in [
        ("/c", r#"{"d":1.0,"b":[0,1,2],"a":{"x":null}}"#),
        ("/b/0", r#"{"d":1.0,"b":[1,2],"a":{"x":null}}"#),
        ("/a/x", r#"{"d":1.0,"b":[1,2],"a":{}}"#),
    ] {
        let answer = kvs.delete(&format!("/kv/default/a?path={path}")).await;
        assert_eq!((answer.status, answer.text()), (200, "OK"), "{path}");
        let found = kvs.get("/kv/default/a").await;
        assert_eq!((found.text(), found.tag()), (result, answer.tag()), "{path}");
    }
    for path in ["/c", "/b/2", "/b/-", "/x/y"] {
        assert_eq!(kvs.delete(&format!("/kv/default/a?path={path}")).await.status, 404, "{path}");
    }
    assert_eq!(kvs.delete("/kv/default/a?path=/d/x").await.status, 409);
    assert_eq!(kvs.delete("/kv/default/a?path=").await.status, 200);
    assert_eq!(kvs.stored("default", "a").await, None);
    assert_eq!(kvs.delete("/kv/default/a?path=").await.status, 404);
    assert_eq!(kvs.delete("/kv/default/a?path=/a").await.status, 404);
}

async fn inapplicable_paths_change_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", r#"{"a":[1,2],"s":"text","n":null}"#).await;
    kvs.put("/kv/default/text", "open").await;
    let (before, text) = (kvs.stored("default", "a").await, kvs.stored("default", "text").await);
    for (uri, body, status, what) in [
        ("/kv/default/a?path=/a/3", "1", 404, "does not exist"),
        ("/kv/default/a?path=/a/x", "1", 404, "does not exist"),
        ("/kv/default/a?path=/a/5/b", "1", 404, "does not exist"),
        ("/kv/default/a?path=/s/b", "1", 409, "\"/s\" is neither an object nor an array"),
        ("/kv/default/a?path=/n/b", "1", 409, "\"/n\" is neither an object nor an array"),
        ("/kv/default/a?path=b", "1", 400, "begins with /"),
        ("/kv/default/a?path=/b", "open", 400, "a text needs quotes"),
        ("/kv/default/a?path=/b", "", 400, "the body must be JSON"),
        ("/kv/default/a?path=/b", "1 2", 400, "the body must be JSON"),
        ("/kv/default/a?path=/b", "NaN", 400, "the body must be JSON"),
        ("/kv/default/text?path=/b", "1", 409, "the stored value is not JSON"),
    ] {
        let answer = kvs.put(uri, body).await;
        assert_eq!(answer.status, status, "{uri} {body}");
        assert!(answer.text().contains(what) && answer.text().contains("nothing was stored"), "{}", answer.text());
    }
    let deep = format!("/kv/default/a?path={}", "/a".repeat(129));
    assert_eq!(kvs.put(&deep, "1").await.status, 400);
    assert_eq!((kvs.stored("default", "a").await, kvs.stored("default", "text").await), (before, text));
}

async fn preconditions_guard_parts_and_patches(make: Make) {
    let kvs = Endpoint::new(make);
    let first = kvs.put("/kv/default/a?path=/n", "1").await;
    let second = kvs.ask("PUT", "/kv/default/a?path=/n", &[("if-match", first.tag())], "2").await;
    assert_eq!(second.status, 200);
    let stale = ("if-match", first.tag());
    for (method, uri, headers, body) in [
        ("PUT", "/kv/default/a?path=/n", vec![stale], "3"),
        ("PUT", "/kv/default/a?path=/n", vec![("if-none-match", "*")], "3"),
        ("PUT", "/kv/default/none?path=/n", vec![("if-match", "*")], "3"),
        ("DELETE", "/kv/default/a?path=/n", vec![stale], ""),
        ("PATCH", "/kv/default/a", vec![stale, MERGE], r#"{"n":3}"#),
        ("PATCH", "/kv/default/a", vec![("x-if-match", first.tag()), PATCH], r#"[{"op":"remove","path":"/n"}]"#),
    ] {
        assert_eq!(kvs.ask(method, uri, &headers, body).await.status, 412, "{method} {uri} {headers:?}");
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), r#"{"n":2}"#);
    let headers = [("if-match", second.tag()), MERGE];
    assert_eq!(kvs.ask("PATCH", "/kv/default/a", &headers, r#"{"n":3}"#).await.status, 200);
    assert_eq!(kvs.ask("PUT", "/kv/default/b?path=/n", &[("if-none-match", "*")], "1").await.status, 201);
    assert_eq!(kvs.ask("PUT", "/kv/default/a?path=/n", &[("if-match", "2")], "9").await.status, 400);
    assert_eq!(kvs.get("/kv/default/a").await.text(), r#"{"n":3}"#);
}

async fn type_and_expiry_are_kept(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.ask("PUT", "/kv/default/a?ttl=100", &[("content-type", "application/geo+json")], r#"{"a":1}"#).await;
    let before = kvs.stored("default", "a").await.unwrap();
    kvs.put("/kv/default/a?path=/b", "2").await;
    kvs.ask("PATCH", "/kv/default/a", &[MERGE], r#"{"c":3}"#).await;
    kvs.delete("/kv/default/a?path=/a").await;
    let after = kvs.stored("default", "a").await.unwrap();
    assert_eq!(after.value, r#"{"b":2,"c":3}"#);
    assert_eq!(
        (&after.content_type, after.expires, after.created),
        (&before.content_type, before.expires, before.created)
    );
    kvs.put("/kv/default/a?path=/b&ttl=200", "2").await;
    let longer = kvs.stored("default", "a").await.unwrap().expires.unwrap();
    assert_eq!(longer.since(before.expires.unwrap()).as_secs(), 100);
    assert_eq!(kvs.put("/kv/default/a?path=/b&ttl=0", "2").await.status, 400);
    kvs.clock.advance(Duration::from_secs(300));
    assert_eq!(kvs.put("/kv/default/a?path=/b", "2").await.status, 201, "an expired entry is missing");
    assert_eq!(kvs.get("/kv/default/a").await.text(), r#"{"b":2}"#);
}

async fn the_old_part_is_returned(make: Make) {
    let kvs = Endpoint::new(make);
    let answer = kvs.put("/kv/default/a?path=/n&return=old", "1.0").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let answer = kvs.put("/kv/default/a?path=/n&return=old", "2").await;
    assert_eq!((answer.status, answer.text(), answer.header("content-type")), (200, "1.0", "application/json"));
    let answer = kvs.ask("PATCH", "/kv/default/a?return=old", &[MERGE], r#"{"n":3}"#).await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"n":2}"#));
    let answer = kvs.delete("/kv/default/a?path=/n&return=old").await;
    assert_eq!((answer.status, answer.text()), (200, "3"));
    let writer = [("x-kvs-auth", "writer")];
    assert_eq!(kvs.ask("PUT", "/kv/secret/a?path=/n&return=old", &writer, "1").await.status, 403);
    assert_eq!(kvs.stored("secret", "a").await, None);
}

async fn limit_applies_to_the_whole_value(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.put("/kv/small/a?path=/a", "1234").await.status, 201);
    assert_eq!(kvs.put("/kv/small/a?path=/a", "12345").await.status, 413, "{{\"a\":12345}} has 11 bytes");
    assert_eq!(kvs.ask("PATCH", "/kv/small/a", &[MERGE], r#"{"b":1}"#).await.status, 413);
    assert_eq!(kvs.get("/kv/small/a").await.text(), r#"{"a":1234}"#);
    let patch = r#"[{"op":"copy","from":"","path":"/b"},{"op":"remove","path":"/b"}]"#;
    assert_eq!(kvs.ask("PATCH", "/kv/small/a", &[PATCH], patch).await.status, 200);
    let patch = r#"[{"op":"copy","from":"","path":"/b"},{"op":"copy","from":"","path":"/c"}]"#;
    assert_eq!(kvs.ask("PATCH", "/kv/small/a", &[PATCH], patch).await.status, 413);
    assert_eq!(kvs.get("/kv/small/a").await.text(), r#"{"a":1234}"#);
}

async fn buckets_with_client_timestamps_have_parts_too(make: Make) {
    let kvs = Endpoint::new(make);
    let (early, late) = ("Fri, 20 Nov 2026 12:00:00 GMT", "Sat, 21 Nov 2026 12:00:00 GMT");
    assert_eq!(kvs.ask("PUT", "/kv/poky/a?path=/n", &[("if-unmodified-since", late)], "1").await.status, 200);
    assert_eq!(kvs.ask("PUT", "/kv/poky/a?path=/n", &[("if-unmodified-since", early)], "2").await.status, 412);
    let found = kvs.get("/kv/poky/a?path=/n").await;
    assert_eq!((found.text(), found.header("last-modified")), ("1", late));
    assert_eq!(kvs.ask("PATCH", "/kv/poky/a", &[MERGE], r#"{"n":3}"#).await.status, 200);
    let found = kvs.get("/kv/poky/a").await;
    assert_eq!((found.text(), found.header("last-modified")), (r#"{"n":3}"#, late), "a write without a date keeps it");
}

async fn long_polls_wait_for_a_part(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    kvs.put("/kv/default/a", r#"{"n":1}"#).await;
    let tag = kvs.get("/kv/default/a?path=/n").await.tag().trim_matches('"').to_owned();
    let poll = format!("/kv/default/a?path=/n&wait=20&seen={tag}");
    let (changed, _) = tokio::join!(kvs.get(&poll), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        kvs.put("/kv/default/a?path=/n", "2").await
    });
    assert_eq!((changed.status, changed.text()), (200, "2"));
    let (made, _) = tokio::join!(kvs.get("/kv/default/a?path=/m&wait=20&seen=none"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        kvs.put("/kv/default/a?path=/m", "3").await
    });
    assert_eq!((made.status, made.text()), (200, "3"));
}

async fn a_patch_needs_the_right_to_write(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", r#"{"n":1}"#).await;
    for (headers, status) in [(vec![NOBODY, MERGE], 401), (vec![("x-kvs-auth", "reader"), MERGE], 403)] {
        assert_eq!(kvs.ask("PATCH", "/kv/default/a", &headers, r#"{"n":2}"#).await.status, status);
        assert_eq!(kvs.ask("PUT", "/kv/default/a?path=/n", &headers, "2").await.status, status);
        assert_eq!(kvs.ask("DELETE", "/kv/default/a?path=/n", &headers, "").await.status, status);
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), r#"{"n":1}"#);
    assert_eq!(kvs.plain("GET", "/kv/secret/a?path=/n", &[]).await.status, 401);
    // A `test` would show a client what it must not read.
    kvs.put("/kv/secret/a", r#"{"password":"hunter2"}"#).await;
    let test = r#"[{"op":"test","path":"/password","value":0}]"#;
    let answer = kvs.ask("PATCH", "/kv/secret/a", &[("x-kvs-auth", "writer"), PATCH], test).await;
    assert_eq!((answer.status, answer.text().contains("hunter2")), (403, false));
    let merge = [("x-kvs-auth", "writer"), MERGE];
    assert_eq!(kvs.ask("PATCH", "/kv/secret/a", &merge, r#"{"n":1}"#).await.status, 200);
}

async fn concurrent_changes_of_parts_are_all_kept(make: Make) {
    let kvs = Endpoint::new(make);
    let mut tasks = vec![];
    for client in 0..8 {
        let kvs = kvs.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..10 {
                let answer = if number % 2 == 0 {
                    kvs.put(&format!("/kv/default/a?path=/c{client}/n{number}"), number.to_string()).await
                } else {
                    let patch = format!(r#"{{"c{client}":{{"n{number}":{number}}}}}"#);
                    kvs.ask("PATCH", "/kv/default/a", &[MERGE], patch).await
                };
                assert!([200, 201].contains(&answer.status), "{}", answer.text());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let found = kvs.get("/kv/default/a").await.json();
    for client in 0..8 {
        for number in 0..10 {
            assert_eq!(found[format!("c{client}")][format!("n{number}")], number);
        }
    }
}
