//! The REST contract through the router: every row of it over the memory store, races over YAML as well.
//!
//! Here stands the endpoint that the cases are asked of. Its buckets: `default` and every other by the usual policy,
//! `poky` whose clients give the times, `secret` that nobody reads without a secret, `listed` that everybody may list,
//! `small` whose values have at most ten bytes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails the test")]

mod bodies;
mod changes;
mod errors;
mod expiry;
mod keys;
mod matrix;
mod meta;
mod multi;
mod old;
mod poky;
mod races;
mod rights;
mod scans;
mod transfers;
mod txn;
mod waiting;
mod writes;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use kvs::memory::MemoryStore;
use kvs::model::{Bucket, Clock, Entry, Key, SystemClock, Time};
use kvs::service::{Access, Caller, Cors, Policies, Policy, Reads, Settings, Timestamps, Waiters, Waiting, router};
use kvs::store::{Limits, Store};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const AUTH: &str = "s3cret\nreader read\nwriter write\nelsewhere buckets=other\n";
const JSON: (&str, &str) = ("content-type", "application/json");
const NOBODY: (&str, &str) = ("x-kvs-auth", "");

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// Stands still until it is moved.
#[derive(Clone)]
struct HandClock(Arc<Mutex<Time>>);

impl HandClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new("2026-11-20T12:00:00.25Z".parse().unwrap())))
    }

    fn move_on(&self, span: Duration) {
        let mut now = self.0.lock();
        *now = now.plus(span);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Time {
        *self.0.lock()
    }
}

/// Clones share the store.
#[derive(Clone)]
struct Endpoint {
    app: Router,
    store: Arc<dyn Store>,
    clock: HandClock,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    fn tag(&self) -> &str {
        self.header("etag")
    }
}

fn policies() -> Policies {
    let policy = |name: &str, policy| (Bucket::new(name).unwrap(), policy);
    let named = [
        policy("poky", Policy { timestamps: Timestamps::Client, ..Policy::default() }),
        policy("secret", Policy { reads: Reads::Secret, ..Policy::default() }),
        policy("listed", Policy { reads: Reads::Listed, ..Policy::default() }),
        policy("small", Policy { max_value: Some(10), ..Policy::default() }),
    ];
    Policies { usual: Policy::default(), named: BTreeMap::from(named) }
}

fn settings(clock: Arc<dyn Clock>) -> Settings {
    Settings {
        stop: CancellationToken::new(),
        clock,
        max_value: Limits::default().value,
        access: Access::parse(AUTH).unwrap(),
        policies: policies(),
        cors: Cors::default(),
        metrics: Arc::default(),
        waiting: Waiting { longest: Duration::from_secs(25), waiters: Waiters::new(100) },
    }
}

impl Endpoint {
    fn new() -> Self {
        let clock = HandClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&shared), Limits::default()));
        Self { app: router(Arc::clone(&store), settings(shared)), store, clock }
    }

    /// Over that store, which goes by the system's clock.
    fn over(store: Arc<dyn Store>) -> Self {
        let app = router(Arc::clone(&store), settings(Arc::new(SystemClock)));
        Self { app, store, clock: HandClock::new() }
    }

    /// On the system's clock, for what ends while somebody waits.
    fn in_real_time() -> Self {
        Self::over(Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default())))
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let status = parts.status.as_u16();
        crate::openapi::assert_told(method.as_str(), &path, status);
        assert_eq!(parts.headers.get("x-content-type-options").unwrap(), "nosniff");
        assert!(parts.headers.contains_key("cache-control"));
        if status == 304 || status == 204 {
            assert!(body.is_empty() && !parts.headers.contains_key("content-length"), "{status} has no body");
        } else {
            assert!(parts.headers.contains_key("content-type"), "{status} has a type");
        }
        assert_ne!(status, 500, "{body:?}");
        Answer { status, headers: parts.headers, body }
    }

    /// With the secret, unless another is given.
    async fn ask(&self, method: &str, uri: &str, headers: Headers<'_>, body: impl Into<Body>) -> Answer {
        let address: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
        let mut request = Request::builder().method(method).uri(uri).extension(Caller { address: Some(address) });
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == NOBODY.0) {
            request = request.header(NOBODY.0, "s3cret");
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, &[NOBODY], "").await
    }

    async fn put(&self, uri: &str, value: impl Into<Body>) -> Answer {
        self.ask("PUT", uri, &[], value).await
    }

    async fn post(&self, uri: &str, body: impl Into<Body>) -> Answer {
        self.ask("POST", uri, &[], body).await
    }

    async fn delete(&self, uri: &str) -> Answer {
        self.ask("DELETE", uri, &[], "").await
    }

    /// A request whose body is JSON.
    async fn json(&self, method: &str, uri: &str, body: impl ToString) -> Answer {
        self.ask(method, uri, &[JSON], body.to_string()).await
    }

    /// What the store holds under that key, whatever a client may see.
    async fn stored(&self, bucket: &str, key: &str) -> Option<Entry> {
        let keys = [Key::new(key).unwrap()];
        self.store.get(&Bucket::new(bucket).unwrap(), &keys).await.unwrap().entries.pop().unwrap()
    }
}

/// A moment as HTTP writes it.
fn date(time: Time) -> String {
    httpdate::fmt_http_date(time.into())
}
