//! What an event stream sends: the first event, the changes in order, and their format.

use std::time::Duration;

use kvs::model::{Revision, Write};
use serde_json::{Value, json};

use super::{EVENTS, Stream, number, revision};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    stream_of_a_key_begins_with_its_state,
    stream_of_a_bucket_begins_with_a_reset,
    changes_arrive_in_order,
    data_is_the_object_of_a_page_of_changes,
    stream_continues_after_the_last_event,
    header_counts_more_than_since_in_the_url,
    unknown_position_begins_with_a_reset,
    stream_of_a_key_has_no_other_keys,
    stream_of_a_prefix_has_no_other_keys,
    values_cannot_break_the_format,
    touch_and_expiry_are_events_of_a_key,
    no_change_is_lost_between_the_read_and_the_wait,
    all_pages_of_many_changes_arrive,
    parameters_are_checked,
    only_a_client_that_asks_for_events_gets_them,
    head_has_no_body,
}

async fn stream_of_a_key_begins_with_its_state(make: Make) {
    let kvs = Endpoint::new(make);
    let mut missing = Stream::open(&kvs, "/kv/default/a", &[NOBODY]).await;
    let event = missing.expect("delete a").await;
    assert_eq!(event.data, json!({"event": "delete", "id": "0", "bucket": "default", "key": "a"}));
    kvs.put("/kv/default/a", "1").await;
    assert_eq!(missing.expect("put a").await.data["value"], "1");
    let mut present = Stream::open(&kvs, "/kv/default?key=a", &[NOBODY]).await;
    let event = present.expect("put a").await;
    assert_eq!((&event.data["value"], event.id), (&json!("1"), revision(&kvs, "default").await));
    present.assert_silent().await;
    for stream in [&mut missing, &mut present] {
        stream.assert_silent().await;
    }
    kvs.delete("/kv/default/a").await;
    for stream in [&mut missing, &mut present] {
        let event = stream.expect("delete a").await;
        assert_eq!(event.id, revision(&kvs, "default").await);
    }
}

async fn stream_of_a_bucket_begins_with_a_reset(make: Make) {
    let kvs = Endpoint::new(make);
    for value in ["1", "2"] {
        kvs.put("/kv/default/first", value).await;
        let mut stream = Stream::open(&kvs, "/kv/default?prefix=a", &[]).await;
        let event = stream.expect("reset").await;
        let at = revision(&kvs, "default").await;
        assert_eq!(event.data, json!({"event": "reset", "id": at, "bucket": "default"}));
        stream.assert_silent().await;
        kvs.put("/kv/default/a", value).await;
        assert_eq!(stream.expect("put a").await.data["value"], value);
    }
}

async fn changes_arrive_in_order(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default", &[]).await;
    stream.expect("reset").await;
    let mut last = 0;
    for n in 0..20 {
        let key = format!("k{}", n % 3);
        let kind = if n % 4 == 3 { "delete" } else { "put" };
        if kind == "put" {
            kvs.put(&format!("/kv/default/{key}"), n.to_string()).await;
        } else {
            kvs.put(&format!("/kv/default/{key}"), n.to_string()).await;
            stream.next().await.unwrap();
            kvs.delete(&format!("/kv/default/{key}")).await;
        }
        let event = stream.expect(&format!("{kind} {key}")).await;
        let id = number(&json!(event.id));
        assert!(id > last, "{id} after {last}");
        last = id;
    }
    assert_eq!(Revision::new(last).to_string(), revision(&kvs, "default").await);
    stream.assert_silent().await;
}

async fn data_is_the_object_of_a_page_of_changes(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let start = revision(&kvs, "default").await;
    kvs.ask("PUT", "/kv/default/a?ttl=90", &[("content-type", "text/csv")], "1,2").await;
    kvs.put("/kv/default/b", vec![0xff]).await;
    kvs.delete("/kv/default/b").await;
    kvs.put("/kv/default/c", vec![0xff, 0xfe]).await;
    let page = kvs.ask("GET", &format!("/kv/default?since={start}"), &[], "").await.json();
    let mut stream = Stream::open(&kvs, &format!("/kv/default?since={start}"), &[]).await;
    for change in page["changes"].as_array().unwrap() {
        assert_eq!(&stream.next().await.unwrap().data, change);
    }
    stream.assert_silent().await;
}

async fn stream_continues_after_the_last_event(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for uri in ["/kv/default", "/kv/default/a"] {
        let mut stream = Stream::open(&kvs, uri, &[]).await;
        let first = stream.next().await.unwrap();
        drop(stream);
        // Nothing has happened: the next stream is silent, and does not begin again.
        let mut again = Stream::open(&kvs, uri, &[("last-event-id", &first.id)]).await;
        again.assert_silent().await;
        drop(again);
        kvs.put("/kv/default/a", "2").await;
        kvs.put("/kv/default/a", "3").await;
        let mut last = Stream::open(&kvs, uri, &[("last-event-id", &first.id)]).await;
        assert_eq!(last.expect("put a").await.data["value"], "3");
        last.assert_silent().await;
        drop(last);
        kvs.delete("/kv/default/a").await;
        let mut deleted = Stream::open(&kvs, &format!("{uri}?since={}", first.id), &[]).await;
        deleted.expect("delete a").await;
        kvs.put("/kv/default/a", "1").await;
        deleted.expect("put a").await;
    }
}

async fn header_counts_more_than_since_in_the_url(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let early = revision(&kvs, "default").await;
    kvs.put("/kv/default/b", "1").await;
    let late = revision(&kvs, "default").await;
    kvs.put("/kv/default/c", "1").await;
    let with = async |uri: &str, id: &str| Stream::open(&kvs, uri, &[("last-event-id", id)]).await;
    with(&format!("/kv/default?since={early}"), &late).await.expect("put c").await;
    with(&format!("/kv/default?since={late}"), &early).await.expect("put b").await;
    // A malformed header is ignored; clients send an empty one before the first event.
    for malformed in ["", "x y", "-1", "\"1\"", "zzzzzzzzzzzzzzzz"] {
        with(&format!("/kv/default?since={early}"), malformed).await.expect("put b").await;
        with("/kv/default", malformed).await.expect("reset").await;
    }
    // A header that is unknown counts too.
    with(&format!("/kv/default?since={early}"), "3000000000000").await.expect("reset").await;
}

async fn unknown_position_begins_with_a_reset(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let future = Revision::new(u64::MAX).to_string();
    for headers in [&[("last-event-id", &*future)][..], &[]] {
        let query = if headers.is_empty() { format!("?since={future}") } else { String::new() };
        let mut bucket = Stream::open(&kvs, &format!("/kv/default{query}"), headers).await;
        let event = bucket.expect("reset").await;
        assert_eq!(event.id, revision(&kvs, "default").await);
        let mut key = Stream::open(&kvs, &format!("/kv/default/a{query}"), headers).await;
        assert_eq!(key.expect("put a").await.data["value"], "1");
        kvs.put("/kv/default/a", "1").await;
        bucket.expect("put a").await;
        key.expect("put a").await;
    }
}

async fn stream_of_a_key_has_no_other_keys(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default/a", &[]).await;
    stream.expect("delete a").await;
    // More changes than fit a page, of keys that begin with this key.
    let rows: Vec<Value> = (0..250).map(|n| json!({"key": format!("a{n}"), "data": "1"})).collect();
    assert_eq!(kvs.json("PUT", "/multi/default", Value::from(rows)).await.status, 200);
    for other in ["a/b", "A", "b", "aa"] {
        kvs.put(&format!("/kv/default/{other}"), "1").await;
    }
    stream.assert_silent().await;
    kvs.put("/kv/default/a", "1").await;
    kvs.put("/kv/other/a", "2").await;
    assert_eq!(stream.expect("put a").await.data["value"], "1");
    stream.assert_silent().await;
}

async fn stream_of_a_prefix_has_no_other_keys(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default?prefix=rooms/", &[]).await;
    stream.expect("reset").await;
    for key in ["rooms", "Rooms/a", "room/a", "a/rooms/", "rooms/hall", "z"] {
        kvs.put(&format!("/kv/default?key={key}"), "1").await;
    }
    stream.expect("put rooms/hall").await;
    kvs.delete("/kv/default?prefix=r").await;
    stream.expect("delete rooms/hall").await;
    stream.assert_silent().await;
}

async fn values_cannot_break_the_format(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default", &[]).await;
    stream.expect("reset").await;
    let mut values: Vec<Vec<u8>> = [
        "a\n\nevent: delete\nid: 0\ndata: {}\n\n",
        "a\r\rdata: x\r\r",
        "a\r\n\r\n:\r\n",
        "\u{feff}bom",
        "\0",
        "\u{2028}\u{2029}",
        "\u{85}\u{b}\u{c}",
        "zwei \u{1f642}",
        "\\n \\u000a \"quoted\" \\",
        "",
        "retry: 1\n",
        "<script>",
        "\u{7f}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    values.extend([
        vec![0xff, b'\n', b'\n'],
        vec![0xc3],
        (0..=255).collect(),
        b"\n".repeat(100_000),
        b"x".repeat(1 << 20),
    ]);
    for (n, value) in values.iter().enumerate() {
        kvs.ask("PUT", "/kv/default?key=a:%20%22%5C", &[], value.clone()).await;
        let event = stream.expect("put a: \"\\").await;
        let found = match (event.data["value"].as_str(), event.data["base64"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.decode(text).unwrap()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(found.len(), value.len(), "value {n}");
        assert!(&found == value, "value {n}");
    }
    // A content type is from a client too.
    kvs.ask("PUT", "/kv/default/b", &[("content-type", "text/plain; a=\"\u{e9}: x\"")], "1").await;
    kvs.put("/kv/default/c", "1").await;
    let mut last = stream.next().await.unwrap();
    if last.data["key"] == "b" {
        last = stream.next().await.unwrap();
    }
    assert_eq!(last.kind(), "put c");
}

async fn touch_and_expiry_are_events_of_a_key(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let mut stream = Stream::open(&kvs, "/kv/default/a", &[]).await;
    let first = stream.expect("put a").await;
    kvs.post("/kv/default/a?op=touch&ttl=5", "").await;
    let touched = stream.expect("put a").await;
    assert_eq!(touched.data["revision"], first.data["revision"]);
    assert!(!touched.data["expires"].is_null() && number(&json!(touched.id)) > number(&first.data["revision"]));
    kvs.clock.advance(Duration::from_secs(5));
    // The client knows the expiry. Only a client that begins now gets the deletion.
    stream.assert_silent().await;
    Stream::open(&kvs, "/kv/default/a", &[]).await.expect("delete a").await;
    Stream::open(&kvs, "/kv/default/a", &[("last-event-id", &first.id)]).await.expect("delete a").await;
    Stream::open(&kvs, "/kv/default/a", &[("last-event-id", &touched.id)]).await.assert_silent().await;
}

async fn no_change_is_lost_between_the_read_and_the_wait(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..30_u32 {
        let (mut stream, _) =
            tokio::join!(Stream::open(&kvs, "/kv/default/a", &[]), kvs.put("/kv/default/a", n.to_string()));
        kvs.put("/kv/default/a", format!("{n} last")).await;
        let wanted = format!("{n} last");
        while stream.next().await.unwrap().data["value"] != json!(wanted) {}
    }
}

async fn all_pages_of_many_changes_arrive(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/first", "1").await;
    let start = revision(&kvs, "default").await;
    let rows = |range: std::ops::Range<u32>| -> Value {
        range.map(|n| json!({"key": format!("k{n:04}"), "data": "x".repeat(200)})).collect()
    };
    let mut live = Stream::open(&kvs, "/kv/default", &[]).await;
    live.expect("reset").await;
    assert_eq!(kvs.json("PUT", "/multi/default", rows(0..750)).await.status, 200);
    let mut late = Stream::open(&kvs, &format!("/kv/default?since={start}"), &[]).await;
    for stream in [&mut live, &mut late] {
        for n in 0..750 {
            stream.expect(&format!("put k{n:04}")).await;
        }
        stream.assert_silent().await;
    }
}

async fn parameters_are_checked(make: Make) {
    let kvs = Endpoint::new(make);
    for uri in [
        "/kv/default?since=X",
        "/kv/default?since=",
        "/kv/default/a?since=-1",
        "/kv/default/a?path=/b",
        "/kv/default?keys",
        "/kv/default?reverse&prefix=a",
        "/kv/default?auth=s3cret",
        "/kv/default/a?auth=s3cret",
        "/kv/%20",
    ] {
        let response = kvs.open(uri, &[EVENTS]).await;
        assert_eq!(response.status(), 400, "{uri}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"), "{uri}");
    }
}

async fn only_a_client_that_asks_for_events_gets_them(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for accept in ["*/*", "text/*", "text/html", "text/event-stream;q=0", ""] {
        let answer = kvs.ask("GET", "/kv/default/a", &[("accept", accept)], "").await;
        assert_eq!((answer.status, answer.text()), (200, "1"), "{accept}");
        assert!(kvs.ask("GET", "/kv/default", &[("accept", accept)], "").await.json()["entries"].is_array());
    }
    for accept in ["text/event-stream", "TEXT/Event-Stream", "text/html, text/event-stream;q=0.1"] {
        let response = kvs.open("/kv/default/a", &[("accept", accept)]).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{accept}");
    }
    // Writes ignore it.
    let answer = kvs.ask("PUT", "/kv/default/a", &[EVENTS], "2").await;
    assert_eq!((answer.status, answer.text()), (200, "OK"));
    let answer = kvs.ask("GET", "/?k=a", &[EVENTS], "").await;
    assert_eq!(answer.text(), "2");
    kvs.apply("default", Write::Delete { key: kvs::model::Key::new("a").unwrap() }).await;
}

async fn head_has_no_body(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for uri in ["/kv/default", "/kv/default/a"] {
        let answer = tokio::time::timeout(Duration::from_secs(10), kvs.ask("HEAD", uri, &[EVENTS], "")).await;
        let answer = answer.expect("it does not wait");
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-type")),
            (200, "", "text/event-stream"),
            "{uri}"
        );
    }
}
