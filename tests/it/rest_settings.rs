//! What settings change in answers: how long shared caches may keep them, and whose pages may read them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use kvs::memory::MemoryStore;
use kvs::model::{Batch, Bucket, Clock, ContentType, Key, SystemClock, Time, Write};
use kvs::service::{Access, Cors, Policies, Policy, Reads, Settings, Timestamps, Waiters, Waiting, addresses, router};
use kvs::store::{Limits, Store};
use tower::ServiceExt;

const KEPT: &str = "public, max-age=0, s-maxage=60, must-revalidate";
const SECRET: (&str, &str) = ("x-kvs-auth", "s3cret");

/// Always the same time, so that what is left of a span is exact.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Time {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }
}

struct Endpoint {
    app: Router,
    store: Arc<dyn Store>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn cache(&self) -> &str {
        self.header("cache-control")
    }
}

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).unwrap()
}

impl Endpoint {
    fn new(clock: Arc<dyn Clock>, policies: Policies, cors: Cors) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock), Limits::default()));
        let settings = Settings {
            stop: tokio_util::sync::CancellationToken::new(),
            clock,
            max_value: 1000,
            access: Access::parse("s3cret\n").unwrap(),
            policies,
            cors,
            waiting: Waiting { longest: Duration::from_secs(1), waiters: Waiters::new(10) },
            metrics: Arc::default(),
        };
        Self { app: router(Arc::clone(&store), settings), store }
    }

    /// Caches may keep what stands in any bucket for a minute.
    fn cached() -> Self {
        let usual = Policy { max_age: Some(Duration::from_secs(60)), ..Policy::default() };
        let named = [
            ("closed", Policy { reads: Reads::Secret, ..usual.clone() }),
            ("poky", Policy { timestamps: Timestamps::Client, ..usual.clone() }),
            ("fresh", Policy::default()),
        ];
        let named = named.map(|(name, policy)| (bucket(name), policy)).into();
        Self::new(Arc::new(Noon), Policies { usual, named }, Cors::Off)
    }

    fn open_to(cors: Cors) -> Self {
        Self::new(Arc::new(SystemClock), Policies::default(), cors)
    }

    async fn put(&self, bucket: &Bucket, key: &str, expires: Option<Time>) {
        let write = Write::Put {
            key: Key::new(key).unwrap(),
            value: "1".into(),
            content_type: ContentType::default(),
            expires,
            modified: None,
        };
        self.store.apply(bucket, Batch { expectations: vec![], writes: vec![write] }).await.unwrap();
    }

    async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone() }
    }

    async fn cache(&self, uri: &str) -> String {
        self.ask("GET", uri, &[]).await.cache().to_owned()
    }
}

#[tokio::test]
async fn shared_caches_keep_what_is_purged_when_it_changes() {
    let kvs = Endpoint::cached();
    kvs.put(&Bucket::default(), "a", None).await;
    for uri in ["/kv/default/a", "/?k=a"] {
        for method in ["GET", "HEAD"] {
            let answer = kvs.ask(method, uri, &[]).await;
            assert_eq!((answer.status, answer.cache()), (200, KEPT), "{method} {uri}");
        }
        let same = kvs.ask("GET", uri, &[("if-none-match", "*")]).await;
        assert_eq!((same.status, same.cache()), (304, KEPT), "{uri}");
        let fails = kvs.ask("GET", uri, &[("if-match", "\"x\"")]).await;
        assert_eq!((fails.status, fails.cache()), (412, "no-cache"), "{uri}");
        let waits = kvs.ask("GET", uri, &[("prefer", "wait=1")]).await;
        assert_eq!((waits.status, waits.cache()), (200, "no-cache"), "{uri}");
    }
    for uri in ["/kv/default/none", "/?k=none", "/kv/other/none"] {
        let missing = kvs.ask("GET", uri, &[]).await;
        assert_eq!((missing.status, missing.cache()), (404, KEPT), "{uri}");
    }
}

#[tokio::test]
async fn every_address_that_is_purged_is_kept() {
    let kvs = Endpoint::cached();
    for name in ["a/b", "ä %41+", "x,y", "/a//b/", "?#&=;", "a.b-c_d~"] {
        for bucket in [Bucket::default(), bucket("other")] {
            kvs.put(&bucket, name, None).await;
            for address in addresses(&bucket, &Key::new(name).unwrap()) {
                let answer = kvs.ask("GET", &address, &[]).await;
                assert_eq!((answer.status, answer.cache()), (200, KEPT), "{address}");
            }
        }
    }
}

#[tokio::test]
async fn no_other_address_is_kept() {
    let kvs = Endpoint::cached();
    for name in ["a", "b", "a+b", "c d"] {
        kvs.put(&Bucket::default(), name, None).await;
        kvs.put(&bucket("fresh"), name, None).await;
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
        assert_eq!(kvs.cache(uri).await, "no-cache", "{uri}");
    }
    assert_eq!(kvs.cache("/status").await, "no-store");
    let list = kvs.ask("GET", "/kv/default", &[SECRET]).await;
    assert_eq!((list.status, list.cache()), (200, "private, no-cache"));
}

#[tokio::test]
async fn what_takes_a_secret_is_kept_by_nobody() {
    let kvs = Endpoint::cached();
    kvs.put(&bucket("closed"), "a", None).await;
    let read = kvs.ask("GET", "/kv/closed/a", &[SECRET]).await;
    assert_eq!((read.status, read.cache()), (200, "private, no-cache"));
    assert_eq!(kvs.ask("GET", "/kv/closed/b", &[SECRET]).await.cache(), "private, no-cache");
    let refused = kvs.ask("GET", "/kv/closed/a", &[]).await;
    assert_eq!((refused.status, refused.cache()), (401, "no-store"));
}

#[tokio::test]
async fn nothing_is_kept_beyond_its_own_end() {
    let kvs = Endpoint::cached();
    for (millis, expected) in
        [(20_900, "public, max-age=0, s-maxage=20, must-revalidate"), (3_600_000, KEPT), (999, "no-cache")]
    {
        kvs.put(&Bucket::default(), "a", Some(Noon.now().plus(Duration::from_millis(millis)))).await;
        assert_eq!(kvs.cache("/?k=a").await, expected, "{millis}");
        assert_eq!(kvs.cache("/kv/default/a").await, expected, "{millis}");
    }
}

#[tokio::test]
async fn a_bucket_of_dates_tells_caches_what_its_answers_depend_on() {
    let kvs = Endpoint::cached();
    kvs.put(&bucket("poky"), "a", None).await;
    let there = kvs.ask("GET", "/kv/poky/a", &[]).await;
    assert_eq!((there.cache(), there.header("vary")), (KEPT, "If-Match, If-Unmodified-Since, X-If-Match"));
    let missing = kvs.ask("GET", "/kv/poky/b", &[]).await;
    assert_eq!((missing.cache(), missing.header("vary")), (KEPT, "Accept, If-Match, If-Unmodified-Since, X-If-Match"));
    let fails = kvs.ask("GET", "/kv/poky/b", &[("if-match", "*")]).await;
    assert_eq!((fails.status, fails.cache()), (412, "no-cache"));
}

fn of(origins: &[&str]) -> Cors {
    Cors::Of(origins.iter().map(|origin| origin.parse().unwrap()).collect())
}

fn opened(answer: &Answer) -> bool {
    answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn pages_of_other_origins_are_kept_out_unless_let_in() {
    let kvs = Endpoint::open_to(Cors::Off);
    let origin = ("origin", "https://app.example");
    for (method, uri) in [("GET", "/?k=a"), ("OPTIONS", "/kv/default/a"), ("POST", "/")] {
        let answer = kvs.ask(method, uri, &[origin, ("access-control-request-method", "PUT")]).await;
        assert!(!opened(&answer) && !answer.header("vary").contains("Origin"), "{method} {uri}");
    }
}

#[tokio::test]
async fn every_answer_is_open_to_all_when_so_set_errors_too() {
    let kvs = Endpoint::open_to(Cors::Any);
    kvs.put(&Bucket::default(), "a", None).await;
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
        // Also without an origin, so that a cache may give the answer to a page.
        for headers in [&[][..], &[("origin", "null")]] {
            let answer = kvs.ask(method, uri, headers).await;
            assert_eq!(answer.status, status, "{method} {uri}");
            assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {uri}");
            let exposed = answer.header("access-control-expose-headers");
            for name in ["ETag", "Last-Modified", "Allow", "Retry-After", "KVS-Key", "KVS-Cursor"] {
                assert!(exposed.contains(name), "{name} is not in {exposed}");
            }
            assert!(!answer.header("vary").contains("Origin"), "{method} {uri}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

#[tokio::test]
async fn a_list_lets_in_its_origins_only_and_caches_know_it() {
    let kvs = Endpoint::open_to(of(&["https://app.example", "http://localhost:3000"]));
    for origin in ["https://app.example", "http://localhost:3000"] {
        let answer = kvs.ask("GET", "/?k=none", &[("origin", origin)]).await;
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
        let answer = kvs.ask("GET", "/", headers).await;
        assert!(!opened(&answer), "{headers:?}");
        assert_eq!(answer.header("vary"), "Accept, Origin", "{headers:?}");
    }
}

#[tokio::test]
async fn a_preflight_is_told_the_methods_of_its_path_and_the_headers_we_take() {
    let kvs = Endpoint::open_to(of(&["https://app.example"]));
    for uri in ["/", "/status", "/kv/default", "/kv/default/a", "/multi/default", "/txn/default", "*"] {
        let plain = kvs.ask("OPTIONS", uri, &[]).await;
        assert_eq!(plain.status, 204, "{uri}");
        assert!(!opened(&plain) && plain.header("allow").ends_with("OPTIONS"), "{uri}");
        let wish = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "if-match,x-kvs-auth"),
        ];
        let answer = kvs.ask("OPTIONS", uri, &wish).await;
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
    assert!(!opened(&kvs.ask("OPTIONS", "/kv/default/a", &stranger).await));
}
