//! Access over REST: secrets, rights, buckets, and guessing.

use kvs::web::Body;
use kvs::web::{ApiSettings, SecretList};

use crate::store::Make;
use crate::support::endpoint::{Endpoint, Headers, JSON, cases};

cases! {
    each_secret_has_only_its_rights,
    status_without_rights_does_not_reveal_keys,
    secrets_are_accepted_in_headers_but_not_in_urls,
    wrong_secrets_are_counted_across_resources,
    writes_are_rejected_if_no_secret_is_configured,
}

const NONE: &str = "";
/// No secret, one with all rights, one that may only read, one that may only write, and one for `other` only.
const WHO: [&str; 5] = [NONE, "s3cret", "reader", "writer", "elsewhere"];

async fn statuses(kvs: &Endpoint, method: &str, uri: &str, body: &'static str) -> [u16; 5] {
    let mut statuses = [0; 5];
    for (slot, who) in statuses.iter_mut().zip(WHO) {
        *slot = kvs.ask(method, uri, &[("x-kvs-auth", who), JSON], body).await.status;
    }
    statuses
}

async fn each_secret_has_only_its_rights(make: Make) {
    let kvs = Endpoint::new(make);
    for bucket in ["default", "secret", "listed", "other"] {
        kvs.put(&format!("/kv/{bucket}/a"), "1").await;
    }
    let open = [200; 5];
    let reads = [401, 200, 200, 403, 403];
    let writes = [401, 200, 403, 200, 403];
    let set = r#"[{"key":"a","data":"1"}]"#;
    let txn = r#"{"ops":[{"op":"set","key":"a","value":"1"}]}"#;
    let look = r#"{"ops":[{"op":"get","key":"a"}]}"#;
    for (method, uri, body, expected) in [
        ("GET", "/kv/default/a", "", open),
        ("HEAD", "/kv/default/a?meta", "", open),
        ("POST", "/multi/default", r#"["a"]"#, open),
        ("GET", "/kv/default", "", reads),
        ("GET", "/kv/default?count", "", reads),
        ("GET", "/kv/listed", "", open),
        ("GET", "/kv/listed/a", "", open),
        ("GET", "/kv/secret/a", "", reads),
        ("GET", "/kv/secret/none", "", [401, 404, 404, 403, 403]),
        ("HEAD", "/kv/secret/a", "", reads),
        ("GET", "/kv/secret/a?meta", "", reads),
        ("GET", "/kv/secret?keys", "", reads),
        ("POST", "/multi/secret", r#"["a"]"#, reads),
        ("PUT", "/kv/default/a", "1", writes),
        ("POST", "/kv/default/a", "1", writes),
        ("POST", "/kv/default/a?op=incr", "", writes),
        ("POST", "/kv/default/a?op=persist", "", writes),
        ("PUT", "/multi/default", set, writes),
        ("POST", "/multi/default?op=set", set, writes),
        ("DELETE", "/multi/default", r#"["b"]"#, writes),
        ("POST", "/multi/default?op=delete", r#"["b"]"#, writes),
        ("POST", "/txn/default", txn, writes),
        ("POST", "/txn/default", look, writes),
        ("POST", "/txn/secret", txn, writes),
        ("POST", "/txn/secret", look, [401, 200, 403, 403, 403]),
        ("DELETE", "/kv/default?prefix=none", "", writes),
        ("DELETE", "/kv/default/none", "", [401, 404, 403, 404, 403]),
        ("PUT", "/kv/listed/a", "1", writes),
        ("PUT", "/kv/other/a", "1", [401, 200, 403, 200, 200]),
        ("GET", "/kv/other", "1", [401, 200, 200, 403, 200]),
    ] {
        assert_eq!(statuses(&kvs, method, uri, body).await, expected, "{method} {uri} {body}");
    }
}

async fn status_without_rights_does_not_reveal_keys(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/secret/a", "1").await;
    for who in [NONE, "writer", "elsewhere"] {
        for query in ["", "?meta", "?wait=20&seen=none"] {
            let ask = async |key: &str| {
                let uri = format!("/kv/secret/{key}{query}");
                let headers: Headers<'_> = &[("x-kvs-auth", who), ("if-match", "*"), ("if-none-match", "*")];
                let answer = kvs.ask("GET", &uri, headers, "").await;
                (answer.status, answer.body, answer.headers.contains_key("etag"))
            };
            assert_eq!(ask("a").await, ask("none").await, "{who} {query}");
        }
    }
    assert!(kvs.ask("GET", "/kv/secret/a", &[], "").await.header("cache-control").contains("private"));
    assert!(!kvs.get("/kv/default/a").await.header("cache-control").contains("private"));
}

async fn secrets_are_accepted_in_headers_but_not_in_urls(make: Make) {
    let kvs = Endpoint::new(make);
    let good: [Headers<'_>; 3] = [
        &[("x-kvs-auth", ""), ("authorization", "Bearer s3cret")],
        &[("x-kvs-auth", ""), ("authorization", "Basic YW55OnMzY3JldA==")],
        &[("x-kvs-auth", "s3cret")],
    ];
    for headers in good {
        assert!(matches!(kvs.ask("PUT", "/kv/default/a", headers, "1").await.status, 200 | 201), "{headers:?}");
    }
    for uri in
        ["/kv/default/a?auth=s3cret", "/kv/default/a?%61uth=s3cret", "/kv/default?auth=s3cret", "/multi/default?auth=x"]
    {
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let answer = kvs.ask(method, uri, &[("x-kvs-auth", "s3cret"), JSON], "2").await;
            assert_eq!(answer.status, 400, "{method} {uri}");
            assert!(!answer.text().contains("s3cret"));
        }
    }
    let two: Headers<'_> = &[("authorization", "Bearer wrong"), ("x-kvs-auth", "s3cret")];
    assert_eq!(kvs.ask("PUT", "/kv/default/a", two, "2").await.status, 401, "all secrets must be valid");
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
    assert_eq!(
        kvs.ask("PUT", "/kv/default/a", &[("x-kvs-auth", "")], "2").await.header("www-authenticate"),
        "Bearer realm=\"kvs\""
    );
}

async fn wrong_secrets_are_counted_across_resources(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let asks = [
        ("PUT", "/kv/default/a"),
        ("DELETE", "/kv/default/a"),
        ("POST", "/txn/default"),
        ("PUT", "/multi/default"),
        ("DELETE", "/kv/default?prefix="),
    ];
    for (n, (method, uri)) in asks.into_iter().enumerate() {
        let wrong = [("x-kvs-auth", &*format!("wrong{n}")), JSON];
        assert_eq!(kvs.ask(method, uri, &wrong, "").await.status, 401, "{method} {uri}");
    }
    for (method, uri) in asks {
        for headers in [&[("x-kvs-auth", "wrong"), JSON][..], &[JSON]] {
            let answer = kvs.ask(method, uri, headers, "").await;
            assert_eq!(answer.status, 429, "{method} {uri}");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
    }
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1", "an open read is not slowed");
}

async fn writes_are_rejected_if_no_secret_is_configured(make: Make) {
    let kvs = Endpoint::with(make, |s| ApiSettings { secrets: SecretList::none(), ..s });
    for (method, uri) in [
        ("PUT", "/kv/default/a"),
        ("POST", "/kv/default/a?op=incr"),
        ("DELETE", "/kv/default/a"),
        ("DELETE", "/kv/default?prefix="),
        ("PUT", "/multi/default"),
        ("POST", "/txn/default"),
        ("GET", "/kv/secret/a"),
    ] {
        for who in ["", "yourauthorizationhere", "x"] {
            let answer = kvs.ask(method, uri, &[("x-kvs-auth", who), JSON], Body::empty()).await;
            assert_eq!(answer.status, 403, "{method} {uri}");
            assert!(answer.text().contains("auth.txt"), "{}", answer.text());
        }
    }
    assert_eq!(kvs.get("/kv/default/a").await.status, 404);
}
