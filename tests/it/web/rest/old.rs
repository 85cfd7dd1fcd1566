//! `?return=old`: the replaced value, if the secret may read it.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, JSON, cases};

cases! {
    each_write_returns_the_old_value,
    old_values_have_safe_content_types,
    rejected_writes_return_no_old_value,
    old_values_need_the_right_to_read,
}

async fn each_write_returns_the_old_value(make: Make) {
    let kvs = Endpoint::new(make);
    for (method, op, body, missing, after) in [
        ("PUT", "", "2", 204, Some("2")),
        ("POST", "", "2", 204, Some("2")),
        ("POST", "&op=incr", "", 204, Some("8")),
        ("POST", "&op=append", "2", 204, Some("72")),
        ("POST", "&op=prepend", "2", 204, Some("27")),
        ("POST", "&op=touch&ttl=60", "", 404, Some("7")),
        ("POST", "&op=persist", "", 404, Some("7")),
        ("DELETE", "", "", 404, None),
    ] {
        let uri = format!("/kv/default/a?return=old{op}");
        kvs.delete("/kv/default/a").await;
        let answer = kvs.ask(method, &uri, &[], body).await;
        assert_eq!(answer.status, missing, "{method} {op} of a missing key");
        kvs.ask("PUT", "/kv/default/a", &[("content-type", "application/json")], "7").await;
        let answer = kvs.ask(method, &uri, &[], body).await;
        assert_eq!((answer.status, answer.text()), (200, "7"), "{method} {op}");
        assert_eq!(answer.header("content-type"), "application/json", "{method} {op}");
        let stored = kvs.stored("default", "a").await;
        assert_eq!(stored.as_ref().map(|entry| entry.value.clone()), after.map(Into::into), "{method} {op}");
        let tag = stored.map_or(String::new(), |entry| format!("\"{}\"", entry.revision));
        assert_eq!(answer.tag(), tag, "{method} {op}: the tag is that of the new entry");
    }
}

async fn old_values_have_safe_content_types(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.ask("PUT", "/kv/default/a", &[("content-type", "text/html")], "<script>").await;
    let answer = kvs.ask("DELETE", "/kv/default/a?return=old", &[], "").await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
    assert_eq!(answer.header("content-security-policy"), "sandbox");
    kvs.ask("PUT", "/kv/default/a", &[], vec![0, 0xff]).await;
    assert_eq!(kvs.put("/kv/default/a?return=old", "x").await.body, &b"\0\xff"[..]);
}

async fn rejected_writes_return_no_old_value(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    for (query, name, value, status) in [
        ("return=old", "if-match", "\"zzz\"", 412),
        ("return=old", "if-match", "zzz", 400),
        ("return=new", "x", "y", 400),
        ("return", "x", "y", 400),
        ("return=old&ttl=0", "x", "y", 400),
    ] {
        for method in ["PUT", "POST", "DELETE"] {
            if method == "DELETE" && query.contains("ttl") {
                continue;
            }
            let answer = kvs.ask(method, &format!("/kv/default/a?{query}"), &[(name, value)], "2").await;
            assert_eq!(answer.status, status, "{method} {query}");
            assert_eq!(kvs.get("/kv/default/a").await.text(), "1", "{method} {query}");
        }
    }
}

async fn old_values_need_the_right_to_read(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/secret/a", "hidden").await;
    let writer = [("x-kvs-auth", "writer")];
    for (method, query) in [
        ("PUT", ""),
        ("POST", ""),
        ("POST", "&op=incr"),
        ("POST", "&op=append"),
        ("POST", "&op=prepend"),
        ("POST", "&op=touch&ttl=5"),
        ("POST", "&op=persist"),
        ("DELETE", ""),
    ] {
        let answer = kvs.ask(method, &format!("/kv/secret/a?return=old{query}"), &writer, "2").await;
        assert_eq!(answer.status, 403, "{method} {query}");
        assert!(!answer.text().contains("hidden"));
        assert_eq!(kvs.stored("secret", "a").await.unwrap().value, "hidden", "{method} {query}: nothing was done");
    }
    for body in [
        r#"{"ops":[{"op":"get","key":"a"}]}"#,
        r#"{"checks":[{"key":"a","value":"x"}],"ops":[]}"#,
        r#"{"checks":[{"key":"a","absent":true}],"ops":[{"op":"delete","key":"a"}]}"#,
    ] {
        let answer = kvs.ask("POST", "/txn/secret", &[writer[0], JSON], body).await;
        assert_eq!(answer.status, 403, "{body}");
        assert!(!answer.text().contains("hidden"));
    }
    assert_eq!(kvs.ask("POST", "/multi/secret", &[writer[0], JSON], r#"["a"]"#).await.status, 403);
    let answer = kvs.ask("POST", "/kv/secret/a?op=incr", &writer, "").await;
    assert!(answer.status == 400 && !answer.text().contains("hidden"), "{}", answer.text());
    assert_eq!(kvs.ask("PUT", "/kv/secret/a", &writer, "2").await.status, 200);
    assert_eq!(kvs.ask("PUT", "/kv/secret/a?return=old", &[], "3").await.text(), "2", "a secret with both rights");
    assert_eq!(
        kvs.ask("PUT", "/kv/default/a?return=old", &writer, "3").await.status,
        204,
        "everybody may read that bucket"
    );
}
