//! `?op=incr`, `append` and `prepend`: changes of a value without reading it.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    incr_is_exact_or_rejected,
    append_and_prepend_add_bytes,
    changes_in_place_keep_the_content_type,
    appends_over_the_limit_change_nothing,
}

async fn incr_is_exact_or_rejected(make: Make) {
    let kvs = Endpoint::new(make);
    let (most, least) = (i64::MAX.to_string(), i64::MIN.to_string());
    let cases: [(Option<&str>, &str, u16, &str); 20] = [
        (None, "", 200, "1"),
        (None, "&by=5", 200, "5"),
        (None, "&by=-5", 200, "-5"),
        (None, "&by=0", 200, "0"),
        (Some("41"), "", 200, "42"),
        (Some("41"), "&by=-42", 200, "-1"),
        (Some("0"), &format!("&by={least}"), 200, &least),
        (Some("-1"), &format!("&by={most}"), 200, "9223372036854775806"),
        (Some(&most), "&by=1", 400, &most),
        (Some(&least), "&by=-1", 400, &least),
        (Some("1.5"), "", 400, "1.5"),
        (Some(""), "", 400, ""),
        (Some("abc"), "", 400, "abc"),
        (Some("9223372036854775808"), "&by=-1", 400, "9223372036854775808"),
        (Some("1"), "&by=1.5", 400, "1"),
        (Some("1"), "&by=", 400, "1"),
        (Some("1"), "&by=x", 400, "1"),
        (Some("1"), "&by=9223372036854775808", 400, "1"),
        (Some("1"), "&by=1e3", 400, "1"),
        (Some("1"), "&by=%zz", 400, "1"),
    ];
    for (before, query, status, after) in cases {
        kvs.delete("/kv/default/n").await;
        if let Some(before) = before {
            kvs.put("/kv/default/n", before.to_owned()).await;
        }
        let revision = kvs.stored("default", "n").await.map(|entry| entry.revision);
        let answer = kvs.post(&format!("/kv/default/n?op=incr{query}"), "").await;
        assert_eq!(answer.status, status, "{before:?} {query}: {}", answer.text());
        let stored = kvs.stored("default", "n").await;
        assert_eq!(stored.as_ref().map(|entry| entry.value.clone()), Some(after.to_owned().into()), "{query}");
        assert_eq!(stored.as_ref().map(|entry| entry.revision) == revision, status == 400, "{before:?} {query}");
        assert!(status == 400 || answer.text() == after, "{before:?} {query}");
        assert!(status == 400 || answer.tag() == format!("\"{}\"", stored.unwrap().revision));
    }
    kvs.ask("PUT", "/kv/default/n", &[], vec![0xff]).await;
    assert_eq!(kvs.post("/kv/default/n?op=incr", "").await.status, 400);
}

async fn append_and_prepend_add_bytes(make: Make) {
    let kvs = Endpoint::new(make);
    for (op, body, status, after) in [
        ("append", &b"b"[..], 201, &b"b"[..]),
        ("append", b"c\0", 200, b"bc\0"),
        ("prepend", b"\xff", 200, b"\xffbc\0"),
        ("append", b"", 200, b"\xffbc\0"),
    ] {
        let answer = kvs.post(&format!("/kv/default/a?op={op}"), body).await;
        assert_eq!((answer.status, answer.text()), (status, "OK"), "{op}");
        assert_eq!(kvs.get("/kv/default/a").await.body, after, "{op}");
    }
    kvs.delete("/kv/default/a").await;
    assert_eq!(kvs.post("/kv/default/a?op=prepend", "x").await.status, 201);
}

async fn changes_in_place_keep_the_content_type(make: Make) {
    let kvs = Endpoint::new(make);
    for op in ["incr", "append", "prepend", "persist", "touch&ttl=5"] {
        kvs.ask("PUT", "/kv/default/a", &[("content-type", "application/json")], "1").await;
        kvs.ask("POST", &format!("/kv/default/a?op={op}"), &[("content-type", "text/csv")], "2").await;
        assert_eq!(kvs.get("/kv/default/a").await.header("content-type"), "application/json", "{op}");
    }
}

async fn appends_over_the_limit_change_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    let most = kvs::store::Limits::default().max_value_bytes;
    kvs.put("/kv/default/a", "x".repeat(most - 1)).await;
    assert_eq!(kvs.post("/kv/default/a?op=append", "1").await.status, 200);
    for op in ["append", "prepend"] {
        assert_eq!(kvs.post(&format!("/kv/default/a?op={op}"), "2").await.status, 413, "{op}");
    }
    assert_eq!(kvs.get("/kv/default/a").await.body.len(), most);
    // The limit of the bucket applies too.
    kvs.put("/kv/small/a", "123456789").await;
    kvs.json("PUT", "/multi/small", r#"[{"key":"b","data":"123456789"}]"#).await;
    for (uri, body) in
        [("/kv/small/a?op=append", "01"), ("/kv/small/a?op=prepend", "01"), ("/kv/small/a", "12345678901")]
    {
        assert_eq!(kvs.post(uri, body).await.status, 413, "{uri}");
    }
    for op in ["append", "prepend"] {
        let ops = format!(r#"{{"ops":[{{"op":"{op}","key":"b","value":"01"}}]}}"#);
        assert_eq!(kvs.json("POST", "/txn/small", ops).await.status, 413, "{op}");
        let ops = format!(
            r#"{{"ops":[{{"op":"{op}","key":"c","value":"123456"}},{{"op":"{op}","key":"c","value":"123456"}}]}}"#
        );
        assert_eq!(kvs.json("POST", "/txn/small", ops).await.status, 413, "{op} twice");
    }
    assert_eq!(kvs.post("/kv/small/n?op=incr&by=12345678901", "").await.status, 413);
    for key in ["a", "b"] {
        assert_eq!(kvs.get(&format!("/kv/small/{key}")).await.text(), "123456789");
    }
    assert_eq!(kvs.stored("small", "c").await, None);
    assert_eq!(kvs.post("/kv/small/a?op=append", "0").await.status, 200);
    assert_eq!(kvs.get("/kv/small/a").await.text(), "1234567890");
}
