//! Numbers from clients: an invalid number, or one out of range, is an error with the range. Nothing is clamped.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, FORM, cases, request};

cases! {
    expiry_out_of_range_is_rejected_with_the_range,
    expiry_in_milliseconds_is_recognised,
    invalid_number_in_a_query_is_rejected_with_the_range,
    invalid_number_in_json_is_rejected_with_the_range,
}

const TTL: &str = "ttl must be 1 to 3153600000, got ";
const EXPIRES: &str = "expires must be 1 to 9223372036, got ";

/// The number in the query, and the end of the error text.
const BAD: [(&str, &str); 13] = [
    ("99999999999999999999", "99999999999999999999"),
    ("99999999999", "99999999999"),
    ("-1", "-1"),
    ("0", "0"),
    ("-0", "-0"),
    ("1.5", "1.5"),
    ("5.0", "5.0"),
    ("", "\"\""),
    ("%2B5", "+5"),
    ("+5", "\" 5\""),
    ("1e9", "1e9"),
    ("0x10", "0x10"),
    ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
];

async fn expiry_out_of_range_is_rejected_with_the_range(make: Make) {
    let kvs = Endpoint::new(make);
    for (name, range) in [("ttl", TTL), ("expires", EXPIRES)] {
        for (text, expected) in BAD {
            let query = format!("{name}={text}");
            let form = request("POST", &format!("/?{query}"), &[FORM], "a=1&auth=s3cret");
            for answer in [
                kvs.put(&format!("/kv/default/a?{query}"), "1").await,
                kvs.post(&format!("/kv/default/a?op=touch&{query}"), "").await,
                kvs.post(&format!("/kv/default/a?op=incr&{query}"), "").await,
                kvs.send(form).await,
            ] {
                assert_eq!(answer.status, 400, "{query}");
                assert!(answer.text().starts_with(&format!("{range}{expected}")), "{}", answer.text());
                assert!(answer.text().ends_with("; nothing was stored\n"), "{}", answer.text());
            }
        }
    }
    assert_eq!(kvs.stored("default", "a").await, None);
}

async fn expiry_in_milliseconds_is_recognised(make: Make) {
    let kvs = Endpoint::new(make);
    let answer = kvs.put("/kv/default/a?expires=1795176060000", "1").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("in seconds since 1970, not milliseconds"), "{}", answer.text());
    let rows = r#"[{"key":"a","data":"1","expires":1795176060000}]"#;
    let ops = r#"{"ops":[{"op":"set","key":"a","value":"1","expires":1795176060000}]}"#;
    for (method, uri, body) in [("PUT", "/multi/default", rows), ("POST", "/txn/default", ops)] {
        let answer = kvs.json(method, uri, body).await;
        assert_eq!(answer.status, 400, "{uri}");
        assert!(answer.text().contains("in seconds since 1970, not milliseconds"), "{}", answer.text());
    }
    assert_eq!(kvs.stored("default", "a").await, None);
}

async fn invalid_number_in_a_query_is_rejected_with_the_range(make: Make) {
    let kvs = Endpoint::new(make);
    for (method, uri, name, range) in [
        ("GET", "/kv/default?", "limit", "limit must be 1 to 1000, got "),
        ("GET", "/kv/default/a?", "wait", "wait must be 0 or more seconds, got "),
        ("GET", "/?k=a&", "wait", "wait must be 0 or more seconds, got "),
        ("POST", "/kv/default/a?op=incr&", "by", "by must be -9223372036854775808 to 9223372036854775807, got "),
    ] {
        for (text, expected) in BAD {
            // Numbers in the range, and a wait that is longer than the maximum.
            if matches!((name, text), ("wait" | "by", "0") | ("by", "-0" | "-1" | "99999999999")) {
                continue;
            }
            if name == "wait" && text.starts_with("99999999999") {
                continue;
            }
            let answer = kvs.ask(method, &format!("{uri}{name}={text}"), &[], "").await;
            assert_eq!(answer.status, 400, "{uri}{name}={text}");
            assert!(answer.text().starts_with(&format!("{range}{expected}")), "{}", answer.text());
        }
    }
    assert_eq!(kvs.stored("default", "a").await, None);
}

async fn invalid_number_in_json_is_rejected_with_the_range(make: Make) {
    let kvs = Endpoint::new(make);
    for bad in ["99999999999999999999", "-1", "0", "1.5", "5.0", "1e30", "1E3", "\"60\"", "true", "[]", "{}"] {
        for (name, range) in [("ttl", TTL), ("expires", EXPIRES)] {
            let row = format!(r#"[{{"key":"b","data":"1"}},{{"key":"a","data":"1","{name}":{bad}}}]"#);
            let set = format!(r#"{{"ops":[{{"op":"set","key":"a","value":"1","{name}":{bad}}}]}}"#);
            let touch = format!(r#"{{"ops":[{{"op":"touch","key":"a","{name}":{bad}}}]}}"#);
            for (method, uri, body, place) in [
                ("PUT", "/multi/default", row, "row 2 "),
                ("POST", "/txn/default", set, "operation 0 "),
                ("POST", "/txn/default", touch, "operation 0 "),
            ] {
                let answer = kvs.json(method, uri, &body).await;
                assert_eq!(answer.status, 400, "{body}");
                assert!(answer.text().starts_with(place), "{}", answer.text());
                assert!(answer.text().contains(&format!("{range}{bad}")), "{}", answer.text());
            }
        }
    }
    for bad in ["99999999999999999999", "1.5", "5.0", "1e30", "\"1\"", "true", "[]"] {
        let body = format!(r#"{{"ops":[{{"op":"incr","key":"a","by":{bad}}}]}}"#);
        let answer = kvs.json("POST", "/txn/default", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        let range = "by must be -9223372036854775808 to 9223372036854775807, got ";
        assert!(answer.text().contains(&format!("{range}{bad}")), "{}", answer.text());
    }
    assert_eq!(kvs.stored("default", "a").await.map(|entry| entry.value), None);
    assert_eq!(kvs.ask("GET", "/kv/default?count", &[], "").await.json()["count"], 0);
}
