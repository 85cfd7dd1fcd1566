//! Bodies: all bytes up to the limit, and content types, served so that no browser runs them.

use bytes::Bytes;

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, JSON, cases};

cases! {
    values_are_returned_byte_for_byte,
    largest_value_is_accepted_and_one_byte_more_is_not,
    bodies_with_a_wrong_length_are_rejected,
    unsafe_content_types_are_served_as_bytes,
    invalid_content_types_are_rejected,
    multi_and_txn_accept_only_json,
    partial_and_encoded_bodies_are_rejected,
    x_if_match_is_a_precondition,
}

async fn values_are_returned_byte_for_byte(make: Make) {
    let kvs = Endpoint::new(make);
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 8] = [b"", b"\0", b"\r\n", b"a=1&b=%41+", b"\xef\xbb\xbfx", &all, b" \n ", "ä🙂".as_bytes()];
    for value in values {
        for method in ["PUT", "POST"] {
            kvs.ask(method, "/kv/default/a", &[], value.to_vec()).await;
            let answer = kvs.get("/kv/default/a").await;
            assert_eq!((answer.status, &answer.body[..]), (200, value));
            assert_eq!(answer.header("content-length"), value.len().to_string());
        }
    }
}

async fn largest_value_is_accepted_and_one_byte_more_is_not(make: Make) {
    let kvs = Endpoint::new(make);
    let most = kvs::store::Limits::default().max_value_bytes;
    assert_eq!(most, 1 << 20);
    for (length, status) in [(most, 201), (most + 1, 413)] {
        for uri in ["/kv/default/a", "/kv/default/b?op=append"] {
            let answer = kvs.post(uri, vec![b'x'; length]).await;
            assert_eq!(answer.status, status, "{uri}");
            let declared = length.to_string();
            let answer =
                kvs.ask("PUT", "/kv/default/declared", &[("content-length", &declared)], vec![b'x'; length]).await;
            assert!(answer.status == status || answer.status == 200, "{}", answer.status);
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; length]))]);
            let answer = kvs.ask("PUT", "/kv/default/chunked", &[], crate::support::endpoint::streamed(pieces)).await;
            assert!(answer.status == status || answer.status == 200, "{}", answer.status);
        }
        assert_eq!(kvs.get("/kv/default/a").await.body.len(), most);
    }
    assert_eq!(kvs.get("/kv/default/b").await.body.len(), most);
    assert_eq!(kvs.put("/kv/small/a", "1234567890").await.status, 201);
    let answer = kvs.put("/kv/small/a", "12345678901").await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("10"), "{}", answer.text());
    assert_eq!(kvs.json("PUT", "/multi/small", r#"[{"key":"a","data":"12345678901"}]"#).await.status, 413);
    let ops = r#"{"ops":[{"op":"set","key":"a","value":"12345678901"}]}"#;
    assert_eq!(kvs.json("POST", "/txn/small", ops).await.status, 413);
    assert_eq!(kvs.get("/kv/small/a").await.text(), "1234567890");
}

async fn bodies_with_a_wrong_length_are_rejected(make: Make) {
    let kvs = Endpoint::new(make);
    for (length, status) in [("4", 400), ("6", 400), ("0", 400), ("5", 201), ("99999999", 413)] {
        let answer = kvs.ask("PUT", "/kv/default/a", &[("content-length", length)], "12345").await;
        assert_eq!(answer.status, status, "{length}");
        assert_eq!(kvs.stored("default", "a").await.is_some(), status == 201, "{length}");
        kvs.delete("/kv/default/a").await;
    }
    for (method, uri) in [("PUT", "/kv/default/a"), ("POST", "/kv/default/a?op=append"), ("PUT", "/multi/default")] {
        let pieces = [Ok(Bytes::from("[")), Err(std::io::Error::other("gone"))];
        let body = crate::support::endpoint::streamed(futures_util::stream::iter(pieces));
        assert_eq!(kvs.ask(method, uri, &[JSON], body).await.status, 400, "{method} {uri}");
        assert_eq!(kvs.stored("default", "a").await, None);
    }
}

async fn unsafe_content_types_are_served_as_bytes(make: Make) {
    let kvs = Endpoint::new(make);
    let text = "text/plain; charset=utf-8";
    for (sent, served) in [
        ("application/json", Some("application/json")),
        ("application/json; charset=utf-8", Some("application/json; charset=utf-8")),
        ("text/csv", Some("text/csv")),
        ("application/yaml", Some("application/yaml")),
        ("image/png", Some("image/png")),
        ("audio/ogg", Some("audio/ogg")),
        ("video/mp4", Some("video/mp4")),
        ("application/octet-stream", Some("application/octet-stream")),
        ("text/plain", Some("text/plain")),
        ("application/x-www-form-urlencoded", Some(text)),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", Some(text)),
        ("", Some(text)),
        ("text/html", None),
        ("text/html; charset=utf-8", None),
        ("TEXT/HTML", None),
        ("image/svg+xml", None),
        ("application/javascript", None),
        ("text/css", None),
        ("application/pdf", None),
        ("text/plain, text/html", None),
        ("multipart/form-data; boundary=x", None),
    ] {
        kvs.ask("PUT", "/kv/default/a", &[("content-type", sent)], "<b>").await;
        let kept = if sent.is_empty() || sent.to_ascii_lowercase().contains("urlencoded") { text } else { sent };
        assert_eq!(kvs.get("/kv/default/a?meta").await.json()["type"], kept, "{sent}");
        for uri in ["/kv/default/a", "/?k=a"] {
            let answer = kvs.get(uri).await;
            assert_eq!(answer.text(), "<b>");
            assert_eq!(answer.header("content-type"), served.unwrap_or("application/octet-stream"), "{sent}");
            let (disposition, policy) = if served.is_none() { ("attachment", "sandbox") } else { ("", "") };
            assert_eq!(answer.header("content-disposition"), disposition, "{sent}");
            assert_eq!(answer.header("content-security-policy"), policy, "{sent}");
        }
    }
    kvs.ask("PUT", "/kv/default/a", &[], vec![0xff]).await;
    assert_eq!(kvs.get("/kv/default/a").await.header("content-type"), "application/octet-stream");
}

async fn invalid_content_types_are_rejected(make: Make) {
    let kvs = Endpoint::new(make);
    let long = format!("text/{}", "x".repeat(300));
    for bad in ["png", "text/plain;\tx=\ty", "text/plain; x=\u{e4}", long.as_str()] {
        let answer = kvs.ask("PUT", "/kv/default/a", &[("content-type", bad)], "1").await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text().contains("type"), "{}", answer.text());
    }
    for bad in [r"text/plain\r\nx: y", r"text/plain\u0000", "png", r"text/\u00e4"] {
        let rows = format!(r#"[{{"key":"a","data":"1","content_type":"{bad}"}}]"#);
        assert_eq!(kvs.json("PUT", "/multi/default", rows).await.status, 400, "{bad}");
        let ops = format!(r#"{{"ops":[{{"op":"set","key":"a","value":"1","type":"{bad}"}}]}}"#);
        assert_eq!(kvs.json("POST", "/txn/default", ops).await.status, 400, "{bad}");
    }
    assert_eq!(kvs.stored("default", "a").await, None);
}

async fn multi_and_txn_accept_only_json(make: Make) {
    let kvs = Endpoint::new(make);
    let asks = [
        ("POST", "/multi/default", "[]"),
        ("PUT", "/multi/default", "[]"),
        ("DELETE", "/multi/default", "[]"),
        ("POST", "/txn/default", r#"{"ops":[]}"#),
    ];
    let types: [(Headers<'_>, u16); 9] = [
        (&[("content-type", "application/json")], 200),
        (&[("content-type", "application/json; charset=utf-8")], 200),
        (&[("content-type", "Application/JSON;x=y")], 200),
        (&[], 415),
        (&[("content-type", "")], 415),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded")], 415),
        (&[("content-type", "text/html; application/json")], 415),
        (&[("content-type", "application/jsonp")], 415),
    ];
    for (method, uri, body) in asks {
        for (headers, status) in types {
            let answer = kvs.ask(method, uri, headers, body).await;
            assert_eq!(answer.status, status, "{method} {uri} {headers:?}");
        }
        for bad in ["", "\u{feff}[]", "[1,]", "[] []", "{\"ops\":[]}}", "nil", "'a'", "[\"\\ud800\"]"] {
            assert_eq!(kvs.json(method, uri, bad).await.status, 400, "{method} {uri} {bad}");
        }
        for deep in ["[".repeat(100_000), format!("{{\"ops\":{}", "[".repeat(100_000)), "[{\"key\":".repeat(50_000)] {
            assert_eq!(kvs.json(method, uri, deep).await.status, 400, "{method} {uri}");
        }
        assert_eq!(kvs.json(method, uri, "[".repeat(8 << 20)).await.status, 413, "{method} {uri}");
        let not_text = kvs.ask(method, uri, &[JSON], b"[\"\xff\"]".to_vec()).await;
        assert_eq!(not_text.status, 400, "{method} {uri}");
    }
}

async fn partial_and_encoded_bodies_are_rejected(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.ask("PUT", "/kv/default/a", &[], "whole").await;
    for (headers, status) in [
        ([("content-range", "bytes 0-1/10")], 400),
        ([("content-encoding", "gzip")], 415),
        ([("content-encoding", "identity")], 200),
    ] {
        assert_eq!(kvs.ask("PUT", "/kv/default/a", &headers, "whole").await.status, status, "{headers:?}");
        assert_eq!(kvs.get("/kv/default/a").await.body, "whole");
    }
}

async fn x_if_match_is_a_precondition(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.ask("PUT", "/kv/default/a", &[], "1").await;
    for uri in ["/kv/default/a", "/kv/default/a?op=append"] {
        assert_eq!(kvs.ask("POST", uri, &[("x-if-match", "\"zzz\"")], "2").await.status, 412, "{uri}");
        assert_eq!(kvs.ask("POST", uri, &[("x-if-match", "zzz")], "2").await.status, 400, "{uri}");
    }
    assert_eq!(kvs.ask("DELETE", "/kv/default?prefix=", &[("x-if-match", "*")], "").await.status, 400);
    assert_eq!(kvs.get("/kv/default/a").await.body, "1");
}
