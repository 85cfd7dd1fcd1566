//! PUT, POST and DELETE of one key, method overrides, and requests that are rejected rather than ignored.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, JSON, NOBODY, cases};

cases! {
    status_shows_whether_the_key_was_created,
    head_is_get_without_the_body,
    allow_lists_the_methods_of_each_path,
    only_post_can_override_the_method,
    unsupported_requests_are_rejected_and_change_nothing,
    op_is_rejected_without_post,
    parameters_added_by_caches_are_ignored,
}

async fn status_shows_whether_the_key_was_created(make: Make) {
    let kvs = Endpoint::new(make);
    for method in ["PUT", "POST"] {
        let uri = format!("/kv/default/{method}");
        for (value, status) in [("1", 201), ("2", 200), ("2", 200)] {
            let answer = kvs.ask(method, &uri, &[], value).await;
            assert_eq!((answer.status, answer.text()), (status, "OK"), "{method}");
            let entry = kvs.stored("default", method).await.unwrap();
            assert_eq!(answer.tag(), format!("\"{}\"", entry.revision));
            let found = kvs.get(&uri).await;
            assert_eq!((found.status, found.text(), found.tag()), (200, value, answer.tag()));
            assert_eq!(found.header("content-type"), "text/plain; charset=utf-8");
        }
        let answer = kvs.delete(&uri).await;
        assert_eq!((answer.status, answer.text()), (200, "OK"));
        assert_eq!(kvs.delete(&uri).await.status, 404);
        assert_eq!(kvs.get(&uri).await.status, 404);
        assert_eq!(kvs.ask(method, &uri, &[], "3").await.status, 201, "a deleted key is created again");
    }
}

async fn head_is_get_without_the_body(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "12345").await;
    for uri in ["/kv/default/a", "/kv/default/a?meta", "/kv/default/none", "/kv/default", "/kv/default?count"] {
        let (get, head) = (kvs.ask("GET", uri, &[], "").await, kvs.ask("HEAD", uri, &[], "").await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{uri}");
        for name in ["etag", "last-modified", "content-type", "cache-control", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{uri} {name}");
        }
    }
}

async fn allow_lists_the_methods_of_each_path(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let known: [(&str, &[&str]); 5] = [
        ("/kv/default/a", &["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]),
        ("/kv/default?key=a", &["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]),
        ("/kv/default/", &["GET", "HEAD", "POST", "DELETE", "OPTIONS"]),
        ("/multi/default", &["POST", "PUT", "DELETE", "OPTIONS"]),
        ("/txn/default", &["POST", "OPTIONS"]),
    ];
    for (uri, methods) in known {
        let options = kvs.ask("OPTIONS", uri, &[NOBODY], "").await;
        let allow: Vec<_> = options.header("allow").split(", ").collect();
        assert_eq!((options.status, allow.as_slice()), (204, methods), "{uri}");
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
            let answer = kvs.ask(method, uri, &[], "").await;
            assert_eq!(answer.status == 405, !methods.contains(&method), "{method} {uri}: {}", answer.status);
            assert!(answer.status != 405 || answer.header("allow") == options.header("allow"));
            kvs.put("/kv/default/a", "1").await;
        }
    }
}

async fn only_post_can_override_the_method(make: Make) {
    let kvs = Endpoint::new(make);
    let name = "x-http-method-override";
    let cases: [(&str, &str, u16, Option<&str>); 12] = [
        ("POST", "PUT", 201, Some("new")),
        ("POST", "put", 200, Some("new")),
        ("POST", "DELETE", 200, None),
        ("POST", "DELETE", 404, None),
        ("POST", "POST", 201, Some("new")),
        ("POST", "PATCH", 415, Some("new")),
        ("POST", "GET", 400, Some("new")),
        ("POST", "", 400, Some("new")),
        ("POST", "DELETE, DELETE", 400, Some("new")),
        ("GET", "DELETE", 200, Some("new")),
        ("HEAD", "DELETE", 200, Some("new")),
        ("PUT", "DELETE", 200, Some("new")),
    ];
    for (method, stands_for, status, value) in cases {
        let answer = kvs.ask(method, "/kv/default/a", &[(name, stands_for)], "new").await;
        assert_eq!(answer.status, status, "{method} {stands_for}");
        let stored = kvs.stored("default", "a").await.map(|entry| entry.value);
        assert_eq!(stored, value.map(Into::into), "{method} {stands_for}");
    }
    let twice: Headers<'_> = &[(name, "PUT"), (name, "DELETE")];
    assert_eq!(kvs.ask("POST", "/kv/default/a", twice, "x").await.status, 400);
    let json = JSON;
    let rows = r#"[{"key":"m","data":"1"}]"#;
    assert_eq!(kvs.ask("POST", "/multi/default", &[(name, "PUT"), json], rows).await.json()[0]["result"], "inserted");
    assert_eq!(kvs.ask("POST", "/multi/default", &[(name, "DELETE"), json], r#"["m"]"#).await.status, 200);
    assert_eq!(kvs.stored("default", "m").await, None);
    assert_eq!(kvs.ask("POST", "/kv/default?prefix=", &[(name, "DELETE")], "").await.json()["deleted"], 1);
}

async fn unsupported_requests_are_rejected_and_change_nothing(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", r#"{"a":[{"b":1}]}"#).await;
    let before = kvs.stored("default", "a").await;
    for (method, uri, statuses) in [
        ("GET", "/kv/default/a?meta&path=/a", [400, 400]),
        ("POST", "/kv/default/a?op=incr&path=/a", [400, 400]),
        ("DELETE", "/kv/default?prefix=&path=/a", [400, 400]),
        ("PATCH", "/kv/default/a?path=/a", [400, 400]),
        ("PATCH", "/kv/default/a", [415, 415]),
        ("PUT", "/log/default/a", [405, 405]),
        ("DELETE", "/log/default/a", [404, 404]),
    ] {
        let answer = kvs.ask(method, uri, &[("content-type", "application/json")], "2").await;
        assert!(statuses.contains(&answer.status), "{method} {uri}: {}", answer.status);
        assert!(!answer.text().contains("{\"b\":1}"), "{method} {uri}");
        assert_eq!(kvs.stored("default", "a").await, before, "{method} {uri}");
    }
}

async fn op_is_rejected_without_post(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/n", "41").await;
    let json = JSON;
    for (method, uri, headers, body) in [
        ("PUT", "/kv/default/n?op=incr", vec![], ""),
        ("DELETE", "/kv/default/n?op=persist", vec![], ""),
        ("POST", "/kv/default/n?op=incr", vec![("x-http-method-override", "PUT")], ""),
        ("PUT", "/multi/default?op=delete", vec![json], r#"[{"key":"n","data":"1"}]"#),
        ("DELETE", "/multi/default?op=get", vec![json], r#"["n"]"#),
        ("POST", "/kv/default/n?op=", vec![], ""),
        ("POST", "/kv/default/n?op=INCR", vec![], ""),
        ("POST", "/kv/default/n?op=delete", vec![], ""),
        ("POST", "/multi/default?op=drop", vec![json], r#"["n"]"#),
    ] {
        let answer = kvs.ask(method, uri, &headers, body).await;
        assert_eq!(answer.status, 400, "{method} {uri}");
        assert!(answer.text().contains("op"), "{}", answer.text());
        assert_eq!(kvs.get("/kv/default/n").await.text(), "41", "{method} {uri}");
    }
    for (method, uri, body) in [
        ("PUT", "/multi/default?op=set", r#"[{"key":"n","data":"42"}]"#),
        ("DELETE", "/multi/default?op=delete", r#"["n"]"#),
    ] {
        assert_eq!(kvs.json(method, uri, body).await.status, 200, "{method} {uri}: the same said twice");
    }
}

async fn parameters_added_by_caches_are_ignored(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.put("/kv/default/a?_=123&x", "1").await.status, 201);
    assert_eq!(kvs.get("/kv/default/a?_=124").await.text(), "1");
    assert_eq!(kvs.delete("/kv/default/a?_=125").await.status, 200);
}
