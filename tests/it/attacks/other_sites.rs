//! Pages of other sites: what a browser sends for them without asking the server first ("simple requests") changes
//! nothing, in a bucket to which everybody may write, too.

use kvs::model::Bucket;
use kvs::web::{ApiSettings, Policies, Policy, Writes};

use crate::store::named;
use crate::support::endpoint::{Endpoint, Headers, NOBODY};

const HOST: (&str, &str) = ("host", "kvs.example");

/// How browsers mark such requests: of a page, of a sandboxed frame or after a redirection, and of old browsers.
const MARKS: [Headers<'_>; 4] = [
    &[HOST, ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    &[HOST, ("origin", "null"), ("sec-fetch-site", "cross-site")],
    &[HOST, ("origin", "null")],
    &[HOST, ("origin", "http://evil.example")],
];

/// The only types that a page may send without asking first, and none (a `Blob` without a type).
const TYPES: [Headers<'_>; 4] = [
    &[("content-type", "application/x-www-form-urlencoded")],
    &[("content-type", "multipart/form-data; boundary=x")],
    &[("content-type", "text/plain")],
    &[],
];

const TARGETS: [(&str, &str); 12] = [
    ("/?bucket=open", "a=1&n=2"),
    ("/kv/open/a", "1"),
    ("/kv/open/n?op=incr", ""),
    ("/kv/open/a?op=append", "1"),
    ("/kv/open/a?op=touch&ttl=1", ""),
    ("/kv/open/a?path=/x", "1"),
    ("/multi/open?op=set", r#"[{"key":"a","data":"1"}]"#),
    ("/multi/open?op=delete", r#"["kept"]"#),
    ("/txn/open", r#"{"ops":[{"op":"set","key":"a","value":"1"},{"op":"delete","key":"kept"}]}"#),
    ("/log/open/a", "1"),
    ("/log/open/a?entries&keep=1", "{\"value\":\"1\"}\n"),
    ("/maintenance/open?task=compact", ""),
];

fn endpoint() -> Endpoint {
    let open = Policy { writes: Writes::Open, ..Policy::default() };
    let policies = Policies { by_bucket: [(Bucket::new("open").unwrap(), open)].into(), ..Policies::default() };
    Endpoint::with(named("memory"), |settings| ApiSettings { policies, ..settings })
}

/// The keys of the bucket and of its logs.
async fn content(kvs: &Endpoint) -> String {
    let [entries, logs] = [kvs.ask("GET", "/kv/open", &[], "").await, kvs.ask("GET", "/log/open", &[], "").await];
    format!("{} {} {}", entries.header("kvs-revision"), entries.text(), logs.text())
}

#[tokio::test]
async fn simple_requests_of_another_site_change_nothing_in_an_open_bucket() {
    let kvs = endpoint();
    assert_eq!(kvs.ask("PUT", "/kv/open/kept", &[NOBODY], "1").await.status, 201);
    let before = content(&kvs).await;
    for (uri, body) in TARGETS {
        for mark in MARKS {
            for content_type in TYPES {
                let headers = [&[NOBODY], mark, content_type].concat();
                let status = kvs.ask("POST", uri, &headers, body).await.status;
                assert!((400..500).contains(&status), "{status} for {uri} {headers:?}");
                assert_eq!(content(&kvs).await, before, "{uri} {headers:?}");
            }
        }
    }
    // The same requests of a plain client are valid: most of them store something.
    let mut stored = 0;
    for (uri, body) in TARGETS {
        let content_type = if uri.contains("multi") || uri.contains("txn") {
            "application/json"
        } else if uri.contains("entries") {
            "application/x-ndjson"
        } else {
            "application/x-www-form-urlencoded"
        };
        let headers = [NOBODY, HOST, ("content-type", content_type)];
        stored += usize::from(kvs.ask("POST", uri, &headers, body).await.status < 300);
    }
    assert!(stored >= TARGETS.len() - 3, "only {stored} of {} are valid", TARGETS.len());
}

/// A link, an image or a frame can only send GET, and without `Origin`.
#[tokio::test]
async fn no_get_changes_anything() {
    let kvs = endpoint();
    assert_eq!(kvs.ask("PUT", "/kv/open/kept", &[NOBODY], "1").await.status, 201);
    let before = content(&kvs).await;
    for (uri, body) in TARGETS.into_iter().chain([("/?a=1&auth=s3cret", ""), ("/?bucket=open&a=1", "")]) {
        for method in ["GET", "HEAD", "OPTIONS"] {
            for more in [&[][..], &[("x-http-method-override", "PUT")], &[("x-http-method-override", "DELETE")]] {
                let headers = [&[HOST], more].concat();
                let status = kvs.ask(method, uri, &headers, body).await.status;
                assert!(status != 201 && status < 500, "{status} for {method} {uri}");
                assert_eq!(content(&kvs).await, before, "{method} {uri} {headers:?}");
            }
        }
    }
}

/// A form of the type `text/plain` can look like JSON (`{"a":"=","b":"c"}`), so the type decides.
#[tokio::test]
async fn a_body_is_json_or_a_form_only_by_its_type() {
    let kvs = endpoint();
    for (uri, body) in [
        ("/?bucket=open", "a=1"),
        ("/multi/open?op=set", r#"[{"key":"a","data":"1"}]"#),
        ("/txn/open", r#"{"ops":[{"op":"set","key":"a","value":"="}]}"#),
        ("/kv/open", "prefix=a"),
    ] {
        for content_type in ["text/plain", "multipart/form-data; boundary=x", "text/json", "application/x-json"] {
            let answer = kvs.ask("POST", uri, &[HOST, ("content-type", content_type)], body).await;
            assert_eq!(answer.status, 415, "{uri} {content_type}: {}", answer.text());
        }
    }
    assert_eq!(kvs.get("/kv/open/a").await.status, 404);
}
