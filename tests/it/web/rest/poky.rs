//! Buckets with client timestamps: the behaviour that clients of Poky rely on, for one key and many.

use std::time::Duration;

use serde_json::json;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, JSON, NOBODY, cases};

cases! {
    missing_key_has_no_body_and_fails_if_match,
    reads_accept_a_date_in_if_match,
    writes_are_accepted_if_not_older,
    posts_and_deletions_work_without_a_date,
    preconditions_apply_in_addition_to_the_date,
    writes_without_a_date_keep_the_stored_date,
    multi_has_the_results_of_single_requests,
    example_bodies_of_poky_are_accepted,
    key_recreated_in_a_transaction_has_a_new_date,
    failed_check_is_reported_before_a_failed_operation,
}

const KEY: &str = "/kv/poky/set-me";
const MONDAY: &str = "Mon, 16 Nov 2026 08:00:00 GMT";
const TUESDAY: &str = "Tue, 17 Nov 2026 08:00:00 GMT";
const TOMORROW: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

impl Endpoint {
    async fn put_at(&self, uri: &str, date: &str, value: &'static str) -> u16 {
        self.ask("PUT", uri, &[("if-unmodified-since", date)], value).await.status
    }
}

fn quoted(date: &str) -> String {
    format!("\"{date}\"")
}

async fn missing_key_has_no_body_and_fails_if_match(make: Make) {
    let kvs = Endpoint::new(make);
    let cases: [(&str, Headers<'_>, u16); 7] = [
        ("GET", &[NOBODY], 404),
        ("GET", &[("if-match", "*")], 412),
        ("GET", &[("x-if-match", "*")], 412),
        ("GET", &[("if-match", MONDAY)], 404),
        ("DELETE", &[], 404),
        ("PUT", &[("if-match", "*")], 412),
        ("DELETE", &[("if-match", "*")], 412),
    ];
    for (method, headers, status) in cases {
        let answer = kvs.ask(method, KEY, headers, "").await;
        assert_eq!((answer.status, answer.text()), (status, ""), "{method} {headers:?}");
    }
    assert_eq!(kvs.stored("poky", "set-me").await, None);
}

async fn reads_accept_a_date_in_if_match(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.put_at(KEY, TUESDAY, "with-a-value").await, 200);
    let answer = kvs.get(KEY).await;
    assert_eq!((answer.status, answer.text(), answer.tag()), (200, "with-a-value", quoted(TUESDAY).as_str()));
    assert_eq!(answer.header("last-modified"), TUESDAY);
    assert!(answer.header("vary").contains("If-Match"));
    let other_form = "Tuesday, 17-Nov-26 08:00:00 GMT";
    for name in ["if-match", "x-if-match"] {
        for (value, status) in [
            (TUESDAY, 200),
            (&quoted(TUESDAY), 200),
            (&quoted(&format!("{TUESDAY}-gzip")), 200),
            (&format!("\"zzz\", {}", quoted(TUESDAY)), 200),
            ("*", 200),
            (other_form, 200),
            (MONDAY, 412),
            (TOMORROW, 412),
            (&quoted(TOMORROW), 412),
            (&format!("W/{}", quoted(TUESDAY)), 412),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = kvs.ask(method, KEY, &[NOBODY, (name, value)], "").await;
                let body = if status == 200 && method == "GET" { "with-a-value" } else { "" };
                assert_eq!((answer.status, answer.text()), (status, body), "{method} {name}: {value}");
            }
        }
    }
    let both = [NOBODY, ("x-if-match", MONDAY), ("if-match", TUESDAY)];
    assert_eq!(kvs.ask("GET", KEY, &both, "").await.status, 200, "the standard header has precedence");
    for (name, value, status) in [
        ("if-none-match", quoted(TUESDAY), 304),
        ("if-none-match", format!("W/{}", quoted(TUESDAY)), 304),
        ("if-none-match", quoted(MONDAY), 200),
        ("if-modified-since", TUESDAY.to_owned(), 304),
        ("if-modified-since", MONDAY.to_owned(), 200),
        ("if-unmodified-since", MONDAY.to_owned(), 412),
    ] {
        let answer = kvs.ask("GET", KEY, &[NOBODY, (name, &value)], "").await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert!(status != 304 || answer.tag() == quoted(TUESDAY));
    }
}

async fn writes_are_accepted_if_not_older(make: Make) {
    let kvs = Endpoint::new(make);
    for (date, value, status, stored, at) in [
        (Some(TUESDAY), "1", 200, "1", TUESDAY),
        (Some(MONDAY), "2", 412, "1", TUESDAY),
        // Not a date, but as long as one.
        (Some("Tue, 04 Jun 2013 03:01:31 000"), "3", 400, "1", TUESDAY),
        (Some("bogus"), "3", 400, "1", TUESDAY),
        (Some(TUESDAY), "4", 200, "4", TUESDAY),
        (None, "5", 200, "5", TUESDAY),
        (Some(MONDAY), "6", 412, "5", TUESDAY),
        (Some(TOMORROW), "7", 200, "7", TOMORROW),
        (None, "8", 200, "8", TOMORROW),
        (Some(TUESDAY), "9", 412, "8", TOMORROW),
    ] {
        let before = kvs.stored("poky", "set-me").await.map(|entry| entry.revision);
        let headers: Vec<_> = date.iter().map(|date| ("if-unmodified-since", *date)).collect();
        let answer = kvs.ask("PUT", KEY, &headers, value).await;
        assert_eq!(answer.status, status, "{value}");
        assert_eq!(answer.text().is_empty(), status != 400, "{value}");
        let found = kvs.get(KEY).await;
        assert_eq!((found.text(), found.header("last-modified"), found.tag()), (stored, at, quoted(at).as_str()));
        let after = kvs.stored("poky", "set-me").await.map(|entry| entry.revision);
        assert_eq!(after > before, status == 200, "{value}: the revision moves on with each write that is done");
    }
}

async fn posts_and_deletions_work_without_a_date(make: Make) {
    let kvs = Endpoint::new(make);
    for value in ["with-a-value", "點心與茶", ""] {
        for method in ["PUT", "POST"] {
            let answer = kvs.ask(method, "/kv/poky/multi-byte", &[], value).await;
            assert_eq!((answer.status, answer.text()), (200, ""));
            assert_eq!(kvs.get("/kv/poky/multi-byte").await.text(), value);
        }
    }
    kvs.clock.advance(Duration::from_secs(90));
    let first = kvs.get("/kv/poky/multi-byte").await.tag().to_owned();
    assert_eq!(first, "\"Fri, 20 Nov 2026 12:00:00 GMT\"", "without any date that of the first commit stays");
    assert_eq!(kvs.post("/kv/poky/multi-byte", "x").await.status, 200);
    assert_eq!(kvs.get("/kv/poky/multi-byte").await.tag(), first);
    let uri = "/kv/poky/delete-me";
    for status in [404, 0, 200, 404] {
        if status == 0 {
            assert_eq!(kvs.post(uri, "x").await.status, 200);
            continue;
        }
        let answer = kvs.delete(uri).await;
        assert_eq!((answer.status, answer.text()), (status, ""));
    }
}

async fn preconditions_apply_in_addition_to_the_date(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put_at(KEY, TUESDAY, "1").await;
    let cases: [(&str, Headers<'_>, u16); 14] = [
        ("PUT", &[("if-match", MONDAY)], 412),
        ("PUT", &[("x-if-match", MONDAY)], 412),
        ("PUT", &[("if-match", "W/\"Tue, 17 Nov 2026 08:00:00 GMT\"")], 412),
        ("DELETE", &[("if-match", "W/\"Tue, 17 Nov 2026 08:00:00 GMT\"")], 412),
        ("DELETE", &[("if-match", MONDAY)], 412),
        ("DELETE", &[("if-unmodified-since", MONDAY)], 412),
        ("PUT", &[("if-none-match", "*")], 412),
        ("PUT", &[("if-none-match", "\"Tue, 17 Nov 2026 08:00:00 GMT\"")], 412),
        ("PUT", &[("if-match", "bogus")], 400),
        ("PUT", &[("if-none-match", TUESDAY)], 412),
        ("PUT", &[("if-none-match", "\"Tuesday, 17-Nov-26 08:00:00 GMT\"")], 412),
        ("PUT", &[("if-none-match", "\"k2\"")], 400),
        ("DELETE", &[("if-unmodified-since", "bogus")], 400),
        ("PUT", &[("if-match", "\"k2\"")], 400),
    ];
    let before = kvs.stored("poky", "set-me").await;
    for (method, headers, status) in cases {
        assert_eq!(kvs.ask(method, KEY, headers, "2").await.status, status, "{method} {headers:?}");
        assert_eq!(kvs.stored("poky", "set-me").await, before, "{method} {headers:?}");
    }
    assert_eq!(kvs.ask("PUT", KEY, &[("if-match", "Tuesday, 17-Nov-26 08:00:00 GMT")], "3").await.status, 200);
    assert_eq!(kvs.ask("PUT", KEY, &[("x-if-match", TUESDAY)], "4").await.status, 200);
    assert_eq!(kvs.get(KEY).await.text(), "4");
    assert_eq!(kvs.ask("DELETE", KEY, &[("if-unmodified-since", TUESDAY)], "").await.status, 200);
}

async fn writes_without_a_date_keep_the_stored_date(make: Make) {
    let kvs = Endpoint::new(make);
    for (method, uri, body) in [
        ("POST", "/kv/poky/a?op=incr", ""),
        ("POST", "/kv/poky/a?op=incr&ttl=60", ""),
        ("POST", "/kv/poky/a?op=append", "1"),
        ("POST", "/kv/poky/a?op=prepend", "1"),
        ("POST", "/kv/poky/a?op=touch&ttl=9", ""),
        ("POST", "/kv/poky/a?op=persist", ""),
        ("POST", "/kv/poky/a", "1"),
        ("PUT", "/multi/poky", r#"[{"key":"a","data":"1"}]"#),
        ("POST", "/txn/poky", r#"{"ops":[{"op":"set","key":"a","value":"1"}]}"#),
        ("POST", "/txn/poky", r#"{"ops":[{"op":"incr","key":"a"},{"op":"append","key":"a","value":"1"}]}"#),
        ("POST", "/txn/poky", r#"{"checks":[{"key":"a","value":"1"}],"ops":[{"op":"set","key":"a","value":"2"}]}"#),
    ] {
        assert_eq!(kvs.put_at("/kv/poky/a", TOMORROW, "1").await, 200);
        let headers = if uri.starts_with("/kv") { vec![] } else { vec![JSON] };
        let answer = kvs.ask(method, uri, &headers, body).await;
        assert_eq!(answer.status, 200, "{uri} {body} {:?}", answer.body);
        assert_eq!(kvs.get("/kv/poky/a").await.header("last-modified"), TOMORROW, "{uri} {body}");
    }
    let conditional = [("if-unmodified-since", TOMORROW)];
    kvs.delete("/kv/poky/a").await;
    kvs.put_at("/kv/poky/a", MONDAY, "1").await;
    assert_eq!(kvs.ask("POST", "/kv/poky/a?op=incr", &conditional, "").await.text(), "2");
    assert_eq!(kvs.get("/kv/poky/a").await.tag(), quoted(TOMORROW), "the precondition is the new date");
}

async fn multi_has_the_results_of_single_requests(make: Make) {
    let kvs = Endpoint::new(make);
    let set = async |rows: serde_json::Value| kvs.json("PUT", "/multi/poky", rows).await.json();
    let row = |value: &str| json!([{"key": "key", "data": value}]);
    assert_eq!(set(row("1")).await, json!([{"result": "inserted"}]));
    assert_eq!(set(row("2")).await, json!([{"result": "updated"}]));
    let old = json!([{"key": "key", "data": "3", "modified_at": MONDAY}]);
    assert_eq!(set(old).await, json!([{"result": "rejected"}]));
    assert_eq!(kvs.get("/kv/poky/key").await.text(), "2");
    // If two rows have the same key, the second sees the result of the first.
    for (first, second, results) in [
        (Some(MONDAY), Some(TUESDAY), ["inserted", "updated"]),
        (Some(TUESDAY), Some(MONDAY), ["inserted", "rejected"]),
        (None, Some(MONDAY), ["inserted", "rejected"]),
        (None, None, ["inserted", "updated"]),
        (Some(TUESDAY), None, ["inserted", "updated"]),
    ] {
        kvs.delete("/kv/poky/twice").await;
        let rows = json!([{"key": "twice", "data": "1", "modified_at": first},
            {"key": "twice", "data": "2", "modified_at": second}]);
        let expected = json!([{"result": results[0]}, {"result": results[1]}]);
        assert_eq!(set(rows).await, expected, "{first:?} {second:?}");
    }
}

async fn example_bodies_of_poky_are_accepted(make: Make) {
    let kvs = Endpoint::new(make);
    let body = |name: &str| std::fs::read_to_string(format!("tests/data/poky/{name}.json")).unwrap();
    let answer = kvs.json("PUT", "/multi/poky", body("set")).await;
    assert_eq!(answer.json(), json!([{"result": "inserted"}, {"result": "inserted"}, {"result": "inserted"}]));
    assert_eq!(kvs.get("/kv/poky/card.three").await.text(), "the third card, 三");
    assert_eq!(kvs.get("/kv/poky/card.three").await.header("last-modified"), "Tue, 05 Mar 2013 09:15:00 GMT");
    let at = "Tue, 05 Mar 2013 09:15:00 GMT";
    let long = "test ".repeat(2000);
    let many: Vec<_> =
        (0..15).map(|n| json!({"key": format!("test{n}"), "modified_at": at, "data": long.as_str()})).collect();
    let results = kvs.json("PUT", "/multi/poky", json!(many)).await.json();
    assert_eq!(results, json!(vec![json!({"result": "inserted"}); 15]));
    for (key, date) in [("7.2041.card", at), ("7.2042.card", MONDAY), ("7.2043.card", MONDAY)] {
        assert_eq!(kvs.ask("PUT", &format!("/kv/poky/{key}"), &[("if-unmodified-since", date)], key).await.status, 200);
    }
    let found = kvs.json("POST", "/multi/poky", body("get")).await.json();
    assert_eq!(
        found,
        json!({"7.2041.card": "7.2041.card", "7.2042.card": "7.2042.card", "7.2043.card": "7.2043.card"})
    );
    let found = kvs.json("POST", "/multi/poky", body("get-by-date")).await.json();
    assert_eq!(found, json!({"7.2041.card": "7.2041.card", "7.2043.card": "7.2043.card"}));
}

async fn key_recreated_in_a_transaction_has_a_new_date(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put_at("/kv/poky/a", MONDAY, "1").await;
    let ops = json!([{"op": "delete", "key": "a"}, {"op": "set", "key": "a", "value": "2"}]);
    assert_eq!(kvs.json("POST", "/txn/poky", json!({ "ops": ops })).await.status, 200);
    assert_eq!(kvs.get("/kv/poky/a").await.header("last-modified"), "Fri, 20 Nov 2026 12:00:00 GMT");
}

async fn failed_check_is_reported_before_a_failed_operation(make: Make) {
    let kvs = Endpoint::new(make);
    for bucket in ["poky", "small"] {
        kvs.put(&format!("/kv/{bucket}/a"), "text").await;
        let txn = json!({"checks": [{"key": "a", "absent": true}], "ops": [{"op": "incr", "key": "a"}]});
        let answer = kvs.json("POST", &format!("/txn/{bucket}"), txn).await;
        assert_eq!((answer.status, &answer.json()["found"]["value"]), (409, &json!("text")), "{bucket}");
        let txn = json!({"ops": [{"op": "incr", "key": "a"}]});
        assert_eq!(kvs.json("POST", &format!("/txn/{bucket}"), txn).await.status, 400, "{bucket}");
    }
}
