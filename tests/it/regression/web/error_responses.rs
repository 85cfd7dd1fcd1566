//! Errors say what was wrong, where, and whether anything was stored.

use kvs::model::ErrorKind;

use crate::store::Make;
use crate::support::doubles::Failing;
use crate::support::endpoint::{Endpoint, JSON, NOBODY, cases};

cases! {
    invalid_row_is_reported_with_its_field,
    invalid_transaction_is_reported_with_place_and_field,
    rejected_write_says_that_nothing_was_stored,
}

async fn invalid_row_is_reported_with_its_field(make: Make) {
    let kvs = Endpoint::new(make);
    for (row, expected) in [
        (r#"{"key":"a","data":"1","data":"2"}"#, "\"data\" is given twice"),
        (r#"{"key":"a","\u0064ata":"1","data":"2"}"#, "\"data\" is given twice"),
        (r#"{"key":"a","data":"1","dta":"2"}"#, "unknown field \"dta\" in a row; known fields: key, data, "),
        (r#"{"key":1,"data":"1"}"#, "key must be a string, got 1"),
        (r#"{"key":"a","data":1}"#, "data must be a string, got 1"),
        (r#"{"key":"a","data":{"b":1}}"#, "data must be a string, got {\"b\":1}"),
        (r#"{"key":"a","data":null}"#, "data is missing"),
        (r#"{"data":"1"}"#, "key is missing"),
        (r#"{"key":"a","data":"1","content_type":5}"#, "content_type must be a string, got 5"),
        (r#"{"key":"a","data":"1","content_type":"png"}"#, "content_type: "),
        (r#"{"key":"a","data":"1","modified_at":5}"#, "modified_at must be a string, got 5"),
        (r#"{"key":"a","data":"1","modified_at":"soon"}"#, "modified_at must be an HTTP date"),
        (r#"{"key":"","data":"1"}"#, "key: "),
        ("5", "must be an object, got 5"),
        (r#"["a","1"]"#, "must be an object, got [\"a\",\"1\"]"),
    ] {
        let answer = kvs.json("PUT", "/multi/default", format!(r#"[{{"key":"z","data":"1"}},{row}]"#)).await;
        assert_eq!(answer.status, 400, "{row}");
        assert!(answer.text().starts_with("row 2 ") && answer.text().contains(expected), "{row}: {}", answer.text());
    }
    assert_eq!(kvs.stored("default", "z").await, None);
}

async fn invalid_transaction_is_reported_with_place_and_field(make: Make) {
    let kvs = Endpoint::new(make);
    for (op, expected) in [
        (r#"{"op":"set","key":"a","value":"1","value":"2"}"#, "\"value\" is given twice"),
        (r#"{"op":"set","key":"a","value":1}"#, "value must be a string, got 1"),
        (r#"{"op":"set","key":"a","value":"1","tll":5}"#, "unknown field \"tll\" in an operation; "),
        (r#"{"op":"get","key":"a","by":1}"#, "unknown field \"by\" in get; known fields: op, key"),
        (r#"{"op":"incr","key":"a","value":"1"}"#, "unknown field \"value\" in incr; known fields: op, key, by"),
        (r#"{"op":"drop","key":"a"}"#, "op must be one of set, get, delete, "),
        (r#"{"op":5,"key":"a"}"#, "op must be a string, got 5"),
        (r#"{"key":"a"}"#, "op is missing"),
        (r#"{"op":"append","key":"a"}"#, "value or base64 is missing"),
        (r#"{"op":"set","key":"a","base64":"*"}"#, "base64: "),
        (r#"{"op":"set","key":"a","value":"1","type":"png"}"#, "type: "),
    ] {
        let body = format!(r#"{{"ops":[{{"op":"set","key":"z","value":"1"}},{op}]}}"#);
        let answer = kvs.json("POST", "/txn/default", body).await;
        assert_eq!(answer.status, 400, "{op}");
        assert!(
            answer.text().starts_with("operation 1 ") && answer.text().contains(expected),
            "{op}: {}",
            answer.text()
        );
    }
    for (check, expected) in [
        (r#"{"key":"a","absent":1}"#, "absent must be true or false, got 1"),
        (r#"{"key":"a","absent":true,"absent":false}"#, "\"absent\" is given twice"),
        (r#"{"key":"a","revision":5}"#, "revision must be a string, got 5"),
        (r#"{"key":"a","is":5}"#, "unknown field \"is\" in a check; "),
    ] {
        let answer = kvs.json("POST", "/txn/default", format!(r#"{{"checks":[{check}],"ops":[]}}"#)).await;
        assert_eq!(answer.status, 400, "{check}");
        assert!(
            answer.text().starts_with("check 0 ") && answer.text().contains(expected),
            "{check}: {}",
            answer.text()
        );
    }
    for (body, expected) in [
        (r#"{"ops":{}}"#, "ops must be an array, got {}"),
        (r#"{"checks":null,"ops":[]}"#, "checks must be an array, got null"),
        (r#"{"ops":[],"ops":[]}"#, "\"ops\" is given twice"),
        (r#"{"ops":[],"force":true}"#, "unknown field \"force\" in a transaction; known fields: checks, ops"),
        (r#"{"checks":[]}"#, "ops is missing"),
    ] {
        let answer = kvs.json("POST", "/txn/default", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(expected), "{body}: {}", answer.text());
    }
    assert_eq!(kvs.stored("default", "z").await, None);
}

async fn rejected_write_says_that_nothing_was_stored(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "x").await;
    for (method, uri, headers, body, status) in [
        ("PUT", "/kv/default/a", vec![NOBODY], "1", 401),
        ("PUT", "/kv/default/a", vec![("x-kvs-auth", "reader")], "1", 403),
        ("PUT", "/kv/default/a?auth=x", vec![], "1", 400),
        ("PUT", "/kv/default/..", vec![], "1", 400),
        ("PUT", "/nothing", vec![], "1", 404),
        ("PATCH", "/txn/default", vec![], "1", 405),
        ("PUT", "/kv/default/a", vec![("if-none-match", "*")], "1", 412),
        ("PUT", "/kv/default/a", vec![("if-match", "a")], "1", 400),
        ("PUT", "/kv/small/a", vec![], "12345678901", 413),
        ("PUT", "/kv/default/a?path=x", vec![], "1", 400),
        ("PUT", "/kv/default/a", vec![("content-encoding", "gzip")], "1", 415),
        ("POST", "/kv/default/a?op=incr", vec![], "", 400),
        ("POST", "/kv/default/none?op=persist", vec![], "", 404),
        ("DELETE", "/kv/default/none", vec![], "", 404),
        ("PUT", "/multi/default", vec![], "[]", 415),
        ("PUT", "/multi/default", vec![JSON], "[1]", 400),
        ("POST", "/txn/default", vec![JSON], "{", 400),
        ("POST", "/txn/default", vec![JSON], r#"{"checks":[{"key":"a","absent":true}],"ops":[]}"#, 409),
        ("POST", "/", vec![], "a=1", 415),
    ] {
        let headers = if uri == "/" { vec![("content-type", "text/plain")] } else { headers };
        let answer = kvs.ask(method, uri, &headers, body).await;
        assert_eq!(answer.status, status, "{method} {uri}");
        let text = answer.text();
        assert_eq!(text.matches("nothing was stored").count(), 1, "{method} {uri}: {text}");
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), "x");
    for uri in ["/kv/default/none", "/kv/default?limit=0", "/nothing"] {
        let answer = kvs.ask("GET", uri, &[], "").await;
        assert!(answer.status >= 400 && !answer.text().contains("stored"), "{uri}: {}", answer.text());
    }
}

/// An endpoint whose store fails in all buckets but the reserved ones.
fn failing(kind: ErrorKind, serves_reads: bool) -> Endpoint {
    let text = "/home/someone/data: it failed";
    Endpoint::failing(Failing { kind, text, serves_reads, spares_reserved: true }.store())
}

#[tokio::test]
async fn only_failed_writes_have_an_unknown_outcome() {
    let open = "it may have been done: read the key before you write again";
    let kvs = failing(ErrorKind::Unavailable, true);
    for (method, uri, body) in [
        ("PUT", "/kv/default/a", "1"),
        ("DELETE", "/kv/default/a", ""),
        ("PUT", "/multi/default", r#"[{"key":"a","data":"1"}]"#),
        ("POST", "/txn/default", r#"{"ops":[{"op":"set","key":"a","value":"1"}]}"#),
        ("PUT", "/kv/poky/a", "1"),
    ] {
        let answer = kvs.json(method, uri, body).await;
        assert_eq!(answer.status, 500, "{method} {uri}");
        assert!(answer.text().contains(open) && !answer.text().contains("nothing was"), "{}", answer.text());
    }
    // If the read failed, nothing was written yet.
    let kvs = failing(ErrorKind::Unavailable, false);
    for (method, uri, body) in [
        ("PUT", "/kv/poky/a", "1"),
        ("DELETE", "/kv/default?prefix=", ""),
        ("PUT", "/multi/poky", r#"[{"key":"a","data":"1"}]"#),
        ("POST", "/multi/default", r#"["a"]"#),
    ] {
        let answer = kvs.json(method, uri, body).await;
        assert_eq!(answer.status, 500, "{method} {uri}");
        assert!(!answer.text().contains(open) && answer.text().contains("nothing was"), "{}", answer.text());
    }
    for uri in ["/kv/default/a", "/?k=a", "/kv/default"] {
        let answer = kvs.ask("GET", uri, &[], "").await;
        assert_eq!(answer.status, 500, "{uri}");
        assert!(answer.text().contains("could not be read") && !answer.text().contains("write"), "{}", answer.text());
    }
    for kind in [ErrorKind::StorageFull, ErrorKind::Corrupt, ErrorKind::Busy] {
        let answer = failing(kind, true).put("/kv/default/a", "1").await;
        assert!(answer.text().contains("nothing was") && !answer.text().contains(open), "{}", answer.text());
    }
}
