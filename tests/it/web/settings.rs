//! Settings that change responses: how long shared caches may keep them, and which origins may read them.

use std::time::Duration;

use kvs::model::{Bucket, Clock, ContentType, Key, Time, Write};
use kvs::web::{ApiSettings, Cors, Policies, Policy, Reads, Timestamps, cache_urls};

use crate::store::Make;
use crate::support::endpoint::{Answer, Endpoint, cases};

cases! {
    shared_caches_may_store_purged_urls,
    every_purged_url_is_cacheable,
    other_urls_are_not_cacheable,
    responses_to_secrets_are_not_cacheable,
    responses_are_not_cacheable_after_the_expiry,
    buckets_with_client_timestamps_send_vary,
    other_origins_are_rejected_by_default,
    cors_for_all_origins_includes_errors,
    cors_for_listed_origins_sends_vary,
    preflight_lists_methods_and_headers,
}

const KEPT: &str = "public, max-age=0, s-maxage=60, must-revalidate";
const SECRET: (&str, &str) = ("x-kvs-auth", "s3cret");

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).unwrap()
}

/// Shared caches may keep the entries of any bucket for a minute.
fn cached(make: Make) -> Endpoint {
    let default = Policy { max_age: Some(Duration::from_secs(60)), ..Policy::default() };
    let by_bucket = [
        ("closed", Policy { reads: Reads::Secret, ..default.clone() }),
        ("poky", Policy { timestamps: Timestamps::Client, ..default.clone() }),
        ("fresh", Policy::default()),
    ];
    let by_bucket = by_bucket.map(|(name, policy)| (bucket(name), policy)).into();
    Endpoint::with(make, |settings| ApiSettings {
        policies: Policies { default, by_bucket, ..Policies::default() },
        ..settings
    })
}

fn open_to(make: Make, cors: Cors) -> Endpoint {
    Endpoint::with(make, |settings| ApiSettings { cors, ..settings })
}

async fn put(kvs: &Endpoint, bucket: &Bucket, key: &str, expires: Option<Time>) {
    let write = Write::Put {
        key: Key::new(key).unwrap(),
        value: "1".into(),
        content_type: ContentType::default(),
        expires,
        modified: None,
    };
    kvs.apply(bucket.as_str(), write).await;
}

async fn cache(kvs: &Endpoint, uri: &str) -> String {
    kvs.get(uri).await.header("cache-control").to_owned()
}

async fn shared_caches_may_store_purged_urls(make: Make) {
    let kvs = cached(make);
    put(&kvs, &Bucket::default(), "a", None).await;
    for uri in ["/kv/default/a", "/?k=a"] {
        for method in ["GET", "HEAD"] {
            let answer = kvs.plain(method, uri, &[]).await;
            assert_eq!((answer.status, answer.header("cache-control")), (200, KEPT), "{method} {uri}");
        }
        let same = kvs.plain("GET", uri, &[("if-none-match", "*")]).await;
        assert_eq!((same.status, same.header("cache-control")), (304, KEPT), "{uri}");
        let fails = kvs.plain("GET", uri, &[("if-match", "\"x\"")]).await;
        assert_eq!((fails.status, fails.header("cache-control")), (412, "no-cache"), "{uri}");
        let waits = kvs.plain("GET", uri, &[("prefer", "wait=1")]).await;
        assert_eq!((waits.status, waits.header("cache-control")), (200, "no-cache"), "{uri}");
    }
    for uri in ["/kv/default/none", "/?k=none", "/kv/other/none"] {
        let missing = kvs.plain("GET", uri, &[]).await;
        assert_eq!((missing.status, missing.header("cache-control")), (404, KEPT), "{uri}");
    }
}

async fn every_purged_url_is_cacheable(make: Make) {
    let kvs = cached(make);
    for name in ["a/b", "ä %41+", "x,y", "/a//b/", "?#&=;", "a.b-c_d~"] {
        for bucket in [Bucket::default(), bucket("other")] {
            put(&kvs, &bucket, name, None).await;
            for address in cache_urls(&bucket, &Key::new(name).unwrap()) {
                let answer = kvs.plain("GET", &address, &[]).await;
                assert_eq!((answer.status, answer.header("cache-control")), (200, KEPT), "{address}");
            }
        }
    }
}

async fn other_urls_are_not_cacheable(make: Make) {
    let kvs = cached(make);
    for name in ["a", "b", "a+b", "c d"] {
        put(&kvs, &Bucket::default(), name, None).await;
        put(&kvs, &bucket("fresh"), name, None).await;
    }
    for uri in [
        "/kv/default/%61",
        "/kv/default/a?",
        "/kv/default/a?meta",
        "/kv/default/a?x=1",
        "/kv/default/a?seen=x&wait=1",
        "/kv/default/a+b",
        "/kv/default/a%2bb",
        "/kv/default?key=a",
        "/%6Bv/default/a",
        "/?k=%61",
        "/?%6b=a",
        "/?k=a,b",
        "/?k=a,",
        "/?k=a&",
        "/?k=a&_=1",
        "/?_=1&k=a",
        "/?k=a&k=a",
        "/?k=c+d",
        "/?k=a&seen=none&wait=1",
        "/kv/fresh/a",
        "/",
    ] {
        assert_eq!(cache(&kvs, uri).await, "no-cache", "{uri}");
    }
    assert_eq!(cache(&kvs, "/status").await, "no-store");
    let list = kvs.plain("GET", "/kv/default", &[SECRET]).await;
    assert_eq!((list.status, list.header("cache-control")), (200, "private, no-cache"));
}

async fn responses_to_secrets_are_not_cacheable(make: Make) {
    let kvs = cached(make);
    put(&kvs, &bucket("closed"), "a", None).await;
    let read = kvs.plain("GET", "/kv/closed/a", &[SECRET]).await;
    assert_eq!((read.status, read.header("cache-control")), (200, "private, no-cache"));
    assert_eq!(kvs.plain("GET", "/kv/closed/b", &[SECRET]).await.header("cache-control"), "private, no-cache");
    let refused = kvs.plain("GET", "/kv/closed/a", &[]).await;
    assert_eq!((refused.status, refused.header("cache-control")), (401, "no-store"));
}

async fn responses_are_not_cacheable_after_the_expiry(make: Make) {
    let kvs = cached(make);
    for (millis, expected) in
        [(20_900, "public, max-age=0, s-maxage=20, must-revalidate"), (3_600_000, KEPT), (999, "no-cache")]
    {
        put(&kvs, &Bucket::default(), "a", Some(kvs.clock.now().plus(Duration::from_millis(millis)))).await;
        assert_eq!(cache(&kvs, "/?k=a").await, expected, "{millis}");
        assert_eq!(cache(&kvs, "/kv/default/a").await, expected, "{millis}");
    }
}

async fn buckets_with_client_timestamps_send_vary(make: Make) {
    let kvs = cached(make);
    put(&kvs, &bucket("poky"), "a", None).await;
    let there = kvs.plain("GET", "/kv/poky/a", &[]).await;
    assert_eq!(
        (there.header("cache-control"), there.header("vary")),
        (KEPT, "If-Match, If-Unmodified-Since, X-If-Match")
    );
    let missing = kvs.plain("GET", "/kv/poky/b", &[]).await;
    assert_eq!(
        (missing.header("cache-control"), missing.header("vary")),
        (KEPT, "Accept, If-Match, If-Unmodified-Since, X-If-Match")
    );
    let fails = kvs.plain("GET", "/kv/poky/b", &[("if-match", "*")]).await;
    assert_eq!((fails.status, fails.header("cache-control")), (412, "no-cache"));
}

fn of(origins: &[&str]) -> Cors {
    Cors::Of(origins.iter().map(|origin| origin.parse().unwrap()).collect())
}

fn opened(answer: &Answer) -> bool {
    answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

async fn other_origins_are_rejected_by_default(make: Make) {
    let kvs = open_to(make, Cors::Off);
    let origin = ("origin", "https://app.example");
    for (method, uri) in [("GET", "/?k=a"), ("OPTIONS", "/kv/default/a"), ("POST", "/")] {
        let answer = kvs.plain(method, uri, &[origin, ("access-control-request-method", "PUT")]).await;
        assert!(!opened(&answer) && !answer.header("vary").contains("Origin"), "{method} {uri}");
    }
}

async fn cors_for_all_origins_includes_errors(make: Make) {
    let kvs = open_to(make, Cors::Any);
    put(&kvs, &Bucket::default(), "a", None).await;
    for (method, uri, status) in [
        ("GET", "/?k=a", 200),
        ("HEAD", "/kv/default/a", 200),
        ("GET", "/?k=none", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/kv/default/%zz", 400),
        ("GET", "/?auth=x", 400),
        ("PUT", "/kv/default/a", 401),
        ("TRACE", "/", 405),
        ("OPTIONS", "/", 204),
    ] {
        // Also without an origin, so that a cache can send the response to a page.
        for headers in [&[][..], &[("origin", "null")]] {
            let answer = kvs.plain(method, uri, headers).await;
            assert_eq!(answer.status, status, "{method} {uri}");
            assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {uri}");
            let exposed = answer.header("access-control-expose-headers");
            for name in ["ETag", "Last-Modified", "Allow", "Retry-After", "Repr-Digest", "KVS-Key", "KVS-Cursor"] {
                assert!(exposed.contains(name), "{name} is not in {exposed}");
            }
            assert!(!answer.header("vary").contains("Origin"), "{method} {uri}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

async fn cors_for_listed_origins_sends_vary(make: Make) {
    let kvs = open_to(make, of(&["https://app.example", "http://localhost:3000"]));
    for origin in ["https://app.example", "http://localhost:3000"] {
        let answer = kvs.plain("GET", "/?k=none", &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("vary"), "Accept, Origin");
    }
    for headers in [
        &[][..],
        &[("origin", "https://app.example.evil")],
        &[("origin", "https://APP.example")],
        &[("origin", "http://app.example")],
        &[("origin", "null")],
    ] {
        let answer = kvs.plain("GET", "/", headers).await;
        assert!(!opened(&answer), "{headers:?}");
        assert_eq!(answer.header("vary"), "Accept, Origin", "{headers:?}");
    }
}

async fn preflight_lists_methods_and_headers(make: Make) {
    let kvs = open_to(make, of(&["https://app.example"]));
    for uri in ["/", "/status", "/kv/default", "/kv/default/a", "/multi/default", "/txn/default", "*"] {
        let plain = kvs.plain("OPTIONS", uri, &[]).await;
        assert_eq!(plain.status, 204, "{uri}");
        assert!(!opened(&plain) && plain.header("allow").ends_with("OPTIONS"), "{uri}");
        let wish = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "if-match,x-kvs-auth"),
        ];
        let answer = kvs.plain("OPTIONS", uri, &wish).await;
        assert_eq!((answer.status, answer.header("allow")), (204, plain.header("allow")), "{uri}");
        assert_eq!(answer.header("access-control-allow-methods"), plain.header("allow"), "{uri}");
        assert_eq!(answer.header("access-control-max-age"), "3600");
        let taken = answer.header("access-control-allow-headers");
        for name in [
            "Content-Type",
            "Authorization",
            "X-KVS-Auth",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "If-Unmodified-Since",
            "Prefer",
            "X-HTTP-Method-Override",
        ] {
            assert!(taken.split(", ").any(|taken| taken == name), "{name} is not in {taken}");
        }
    }
    let stranger = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
    assert!(!opened(&kvs.plain("OPTIONS", "/kv/default/a", &stranger).await));
}
