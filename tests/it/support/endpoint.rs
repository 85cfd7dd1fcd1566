//! The API in this process, with an empty store of any kind, and requests to it.
//!
//! A case is a function that creates its endpoints with the given [`Make`]. [`cases!`] makes a test of it for every
//! kind of store. Rules for all responses are checked for each response. The buckets: `poky` has client timestamps,
//! `secret` can be read only with a secret, everybody may list `listed`, the values of `small` have at most ten bytes,
//! and `default` and all others have the default policy.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use kvs::layers::LargeValues;
use kvs::model::{Batch, Bucket, Clock, Entry, Key, SystemClock, Write};
use kvs::store::suite::TestClock;
use kvs::store::{Limits, Store};
use kvs::web::{
    Api, ApiSettings, Body, ClientAddr, Cors, LongPollLimit, LongPollSettings, Policies, Policy, Reads, SecretList,
    Timestamps,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::Make;

/// Makes tests of cases: for each case a module with one test for every kind of store, so that they run concurrently.
///
/// A case that is not listed is dead code, which the compiler reports. `on threads:` is for concurrent clients.
/// `in paused time:` is for cases that wait for seconds: in memory this takes no time; other stores use real time.
macro_rules! cases {
    (on threads: $($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::endpoint::case;

            case!(#[tokio::test(flavor = "multi_thread", worker_threads = 4)] $case memory);
            case!(#[tokio::test(flavor = "multi_thread", worker_threads = 4)] $case yaml);
            case!(#[tokio::test(flavor = "multi_thread", worker_threads = 4)] $case postgresql);
            case!(#[tokio::test(flavor = "multi_thread", worker_threads = 4)] $case remote_yaml);
            case!(#[tokio::test(flavor = "multi_thread", worker_threads = 4)] $case remote_postgresql);
        }
    )+};
    (in paused time: $($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::endpoint::case;

            case!(#[tokio::test(start_paused = true)] $case memory);
            case!(#[tokio::test] $case yaml);
            case!(#[tokio::test] $case postgresql);
            case!(#[tokio::test] $case remote_yaml);
            case!(#[tokio::test] $case remote_postgresql);
        }
    )+};
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::support::endpoint::case;

            case!(#[tokio::test] $case memory);
            case!(#[tokio::test] $case yaml);
            case!(#[tokio::test] $case postgresql);
            case!(#[tokio::test] $case remote_yaml);
            case!(#[tokio::test] $case remote_postgresql);
        }
    )+};
}

/// A test of one case on the store with this name.
macro_rules! case {
    (#[$test:meta] $case:ident $store:ident) => {
        #[$test]
        async fn $store() {
            super::$case(crate::store::named(stringify!($store))).await;
        }
    };
}

pub(crate) use {case, cases};

const AUTH: &str = "s3cret\nreader read\nwriter write\nelsewhere buckets=other\n";
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
/// The header for [`Endpoint::ask`] without the secret.
pub(crate) const NOBODY: (&str, &str) = ("x-kvs-auth", "");

/// Names and values.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// An API and its store. Clones share the store.
#[derive(Clone)]
pub(crate) struct Endpoint {
    api: Api,
    pub(crate) store: Arc<dyn Store>,
    /// It does not move by itself.
    pub(crate) clock: Arc<TestClock>,
    pub(crate) stop: CancellationToken,
    /// Whether its store fails on purpose.
    fails: bool,
    _folder: Option<Arc<TempDir>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub(crate) fn tag(&self) -> &str {
        self.header("etag")
    }
}

fn policies() -> Policies {
    let policy = |name: &str, policy| (Bucket::new(name).unwrap(), policy);
    let named = [
        policy("poky", Policy { timestamps: Timestamps::Client, ..Policy::default() }),
        policy("secret", Policy { reads: Reads::Secret, ..Policy::default() }),
        policy("listed", Policy { reads: Reads::PublicList, ..Policy::default() }),
        policy("small", Policy { max_value: Some(10), ..Policy::default() }),
    ];
    Policies { by_bucket: BTreeMap::from(named), ..Policies::default() }
}

fn settings(clock: Arc<dyn Clock>) -> ApiSettings {
    ApiSettings {
        stop: CancellationToken::new(),
        clock,
        max_value_bytes: Limits::default().max_value_bytes,
        max_blob_bytes: 1 << 30,
        secrets: SecretList::parse(AUTH).unwrap(),
        policies: policies(),
        cors: Cors::default(),
        metrics: Arc::default(),
        long_polls: LongPollSettings {
            max_wait: Duration::from_secs(25),
            limit: LongPollLimit::new(100),
            short_streams: false,
        },
        responses: kvs::web::Budget::default(),
    }
}

impl Endpoint {
    /// An endpoint with an empty store of this kind.
    pub(crate) fn new(make: Make) -> Self {
        Self::with(make, |settings| settings)
    }

    /// The same with other settings.
    pub(crate) fn with(make: Make, change: impl FnOnce(ApiSettings) -> ApiSettings) -> Self {
        let clock = Arc::<TestClock>::default();
        let (store, folder) = made(make, clock.clone());
        Self { clock: clock.clone(), _folder: Some(folder), ..Self::built(store, change(settings(clock))) }
    }

    /// The same with large values as blobs. Only values of up to `whole` bytes may be written whole, and others in
    /// pieces; `change` may set the limit of those.
    pub(crate) fn with_large_values(make: Make, whole: usize, change: impl FnOnce(ApiSettings) -> ApiSettings) -> Self {
        let clock = Arc::<TestClock>::default();
        let (limits, folder) = (Limits { max_value_bytes: whole }, tempfile::tempdir().unwrap());
        let inner = make(clock.clone(), limits, folder.path());
        let store = Arc::new(LargeValues::new(inner, limits).unwrap().with_clock(clock.clone()));
        let settings = change(ApiSettings { max_value_bytes: whole, ..settings(clock.clone()) });
        Self { clock, _folder: Some(Arc::new(folder)), ..Self::built(store, settings) }
    }

    /// The same with these limits on long polls.
    pub(crate) fn waiting(make: Make, seconds: u64, waiters: LongPollLimit) -> Self {
        let long_polls =
            LongPollSettings { max_wait: Duration::from_secs(seconds), limit: waiters, short_streams: false };
        Self::with(make, |settings| ApiSettings { long_polls, ..settings })
    }

    /// The same with a wrapper around the store.
    pub(crate) fn around(make: Make, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        let clock = Arc::<TestClock>::default();
        let (store, folder) = made(make, clock.clone());
        Self { clock: clock.clone(), _folder: Some(folder), ..Self::built(wrap(store), settings(clock)) }
    }

    /// The same with the clock of the system, for entries that expire during a wait.
    pub(crate) fn in_real_time(make: Make) -> Self {
        let (store, folder) = made(make, Arc::new(SystemClock));
        Self { _folder: Some(folder), ..Self::built(store, settings(Arc::new(SystemClock))) }
    }

    /// An endpoint with a store that fails.
    pub(crate) fn failing(store: Arc<dyn Store>) -> Self {
        Self { fails: true, ..Self::built(store, settings(Arc::new(SystemClock))) }
    }

    fn built(store: Arc<dyn Store>, settings: ApiSettings) -> Self {
        let stop = settings.stop.clone();
        let api = Api::new(Arc::clone(&store), settings);
        Self { api, store, clock: Arc::default(), stop, fails: false, _folder: None }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.respond(request).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(60), body.collect()).await;
        let body = body.unwrap_or_else(|_| panic!("the response to {method} {path} does not end")).unwrap().to_bytes();
        let status = parts.status.as_u16();
        crate::web::openapi::assert_described(method.as_str(), &path, status);
        assert_eq!(parts.headers.get("x-content-type-options").unwrap(), "nosniff");
        for name in parts.headers.keys() {
            assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{method} {path}: {name} has one value");
        }
        assert!(parts.headers.contains_key("cache-control"));
        if status == 304 || status == 204 {
            assert!(body.is_empty() && !parts.headers.contains_key("content-length"), "{status} has no body");
        } else {
            assert!(parts.headers.contains_key("content-type"), "{status} has a type");
        }
        assert!(status != 500 || self.fails, "{body:?}");
        Answer { status, headers: parts.headers, body }
    }

    /// Sends a read with the secret, unless the headers have one. The caller reads the body.
    pub(crate) async fn open(&self, uri: &str, headers: Headers<'_>) -> http::Response<Body> {
        let mut request = request("GET", uri, headers, "");
        if !headers.iter().any(|(name, _)| *name == NOBODY.0) {
            request.headers_mut().insert(NOBODY.0, "s3cret".parse().unwrap());
        }
        self.respond(request).await
    }

    /// The response to a request. The caller reads the body.
    pub(crate) async fn respond(&self, request: Request<Body>) -> http::Response<Body> {
        let client = request.extensions().get::<ClientAddr>().copied().unwrap_or_default();
        Box::pin(self.api.handle(request, client)).await
    }

    /// Sends a request without adding a secret.
    pub(crate) async fn plain(&self, method: &str, uri: &str, headers: Headers<'_>) -> Answer {
        self.send(request(method, uri, headers, "")).await
    }

    /// Sends a request with the secret, unless the headers have one.
    pub(crate) async fn ask(&self, method: &str, uri: &str, headers: Headers<'_>, body: impl Into<Body>) -> Answer {
        let mut request = request(method, uri, headers, body);
        if !headers.iter().any(|(name, _)| *name == NOBODY.0) {
            request.headers_mut().insert(NOBODY.0, "s3cret".parse().unwrap());
        }
        self.send(request).await
    }

    /// Reads without a secret.
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.plain("GET", uri, &[]).await
    }

    /// Posts a form, which contains the secret.
    pub(crate) async fn form(&self, form: &str) -> Answer {
        self.form_to("/", form).await
    }

    pub(crate) async fn form_to(&self, uri: &str, form: &str) -> Answer {
        self.send(request("POST", uri, &[FORM], form.to_owned())).await
    }

    pub(crate) async fn put(&self, uri: &str, value: impl Into<Body>) -> Answer {
        self.ask("PUT", uri, &[], value).await
    }

    pub(crate) async fn post(&self, uri: &str, body: impl Into<Body>) -> Answer {
        self.ask("POST", uri, &[], body).await
    }

    pub(crate) async fn delete(&self, uri: &str) -> Answer {
        self.ask("DELETE", uri, &[], "").await
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn json(&self, method: &str, uri: &str, body: impl ToString) -> Answer {
        self.ask(method, uri, &[JSON], body.to_string()).await
    }

    /// The entry in the store, regardless of what clients may read.
    pub(crate) async fn stored(&self, bucket: &str, key: &str) -> Option<Entry> {
        let keys = [Key::new(key).unwrap()];
        self.store.get(&Bucket::new(bucket).unwrap(), &keys).await.unwrap().entries.pop().unwrap()
    }

    /// Writes to the store directly.
    pub(crate) async fn apply(&self, bucket: &str, write: Write) {
        let batch = Batch::new(vec![write]);
        self.store.apply(&Bucket::new(bucket).unwrap(), batch).await.unwrap();
    }
}

fn made(make: Make, clock: Arc<dyn Clock>) -> (Arc<dyn Store>, Arc<TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    (make(clock, Limits::default(), folder.path()), Arc::new(folder))
}

/// A request from the address that all requests have.
pub(crate) fn request(method: &str, uri: &str, headers: Headers<'_>, body: impl Into<Body>) -> Request<Body> {
    let address: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let mut request = Request::builder().method(method).uri(uri).extension(ClientAddr(Some(address)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

/// Checks that about `seconds` have passed since then; exactly in paused time.
#[track_caller]
pub(crate) fn assert_passed(seconds: u64, since: Instant, what: &str) {
    let passed = since.elapsed();
    assert!(passed >= Duration::from_secs(seconds) && passed < Duration::from_secs(seconds + 3), "{what}: {passed:?}");
}

/// A body that arrives in pieces.
pub(crate) fn streamed<E>(pieces: impl futures_util::Stream<Item = Result<Bytes, E>> + Send + 'static) -> Body
where
    E: Into<kvs::web::BodyError> + 'static,
{
    Body::stream(http_body_util::StreamBody::new(pieces.map_ok(http_body::Frame::data)))
}
