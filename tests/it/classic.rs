//! The classic contract through the router, over the memory store: every row of it, and what surrounds it.
//!
//! Here stands the endpoint that the cases are asked of.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod listing;
mod reading;
mod waiting;
mod writing;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use kvs::memory::MemoryStore;
use kvs::model::{Batch, Bucket, Clock, ContentType, Key, SystemClock, Time, Write};
use kvs::service::{Access, Caller, Cors, Policies, Settings, Waiters, Waiting, router};
use kvs::store::{Limits, Store};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const AUTH: &str = "s3cret\nreader read\nelsewhere buckets=other\n";
const FORM: &str = "application/x-www-form-urlencoded";
const NO_HEADERS: Headers<'_> = &[];

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

struct Endpoint {
    app: Router,
    store: Arc<dyn Store>,
    clock: HandClock,
    stop: CancellationToken,
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
}

fn settings(clock: Arc<dyn Clock>, stop: CancellationToken) -> Settings {
    Settings {
        stop,
        clock,
        max_value: 1000,
        access: Access::parse(AUTH).unwrap(),
        policies: Policies::default(),
        cors: Cors::default(),
        waiting: Waiting { longest: Duration::from_secs(25), waiters: Waiters::new(100) },
        metrics: Arc::default(),
    }
}

impl Endpoint {
    fn new() -> Self {
        Self::with(|settings| settings)
    }

    fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let clock = HandClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&shared), Limits::default()));
        let stop = CancellationToken::new();
        let app = router(Arc::clone(&store), change(settings(shared, stop.clone())));
        Self { app, store, clock, stop }
    }

    /// On the system's clock, for what ends while somebody waits.
    fn in_real_time() -> Self {
        let real: Arc<dyn Clock> = Arc::new(SystemClock);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&real), Limits::default()));
        let stop = CancellationToken::new();
        let app = router(Arc::clone(&store), settings(real, stop.clone()));
        Self { app, store, clock: HandClock::new(), stop }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers.get("x-content-type-options").unwrap(), "nosniff");
        assert!(parts.headers.contains_key("cache-control"));
        crate::openapi::assert_told(method.as_str(), &path, parts.status.as_u16());
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn ask(&self, method: &str, uri: &str, headers: Headers<'_>) -> Answer {
        self.send(request(method, uri, headers, Body::empty())).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask("GET", uri, NO_HEADERS).await
    }

    async fn post(&self, form: &str) -> Answer {
        self.send(request("POST", "/", &[("content-type", FORM)], Body::from(form.to_owned()))).await
    }

    async fn put(&self, key: &str, value: &'static [u8], content_type: &str) {
        let write = Write::Put {
            key: Key::new(key).unwrap(),
            value: Bytes::from_static(value),
            content_type: ContentType::new(content_type).unwrap(),
            expires: None,
            modified: None,
        };
        let batch = Batch { expectations: vec![], writes: vec![write] };
        self.store.apply(&Bucket::default(), batch).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        let batch = Batch { expectations: vec![], writes: vec![Write::Delete { key: Key::new(key).unwrap() }] };
        self.store.apply(&Bucket::default(), batch).await.unwrap();
    }
}

fn request(method: &str, uri: &str, headers: Headers<'_>, body: Body) -> Request<Body> {
    let address: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let mut request = Request::builder().method(method).uri(uri).extension(Caller { address: Some(address) });
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}
