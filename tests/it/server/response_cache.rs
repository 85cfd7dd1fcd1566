//! Cached responses of the FastCGI server: always those that the API would give, however the data changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kvs::model::{Batch, Bucket, Key, SystemClock, Time, Write};
use kvs::server::{BasePath, Handler, ServerLimits};
use kvs::store::{self, Store};
use kvs::web::{
    Api, ApiSettings, Body, ClientAddr, Cors, LongPollLimit, LongPollSettings, Policies, Policy, Reads, Response,
    SecretList,
};
use kvs::yaml::{YamlOptions, YamlStore};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::echo::{listener, random};
use super::fastcgi_client::{answer, params, whole};

type Headers<'a> = &'a [(&'a str, &'a str)];

/// A little longer than the second for which a response is cached.
const LONG: Duration = Duration::from_millis(1100);

/// Counts the requests that reach the API.
#[derive(Clone)]
struct Counting {
    inner: Api,
    calls: Arc<AtomicUsize>,
}

impl Handler for Counting {
    async fn handle(&self, request: Request<Body>, client: ClientAddr) -> Response {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.handle(request, client).await
    }
}

/// The API over a YAML file, behind the FastCGI server of a spawned program or of one behind `mod_proxy_fcgi`.
struct Endpoint {
    folder: TempDir,
    store: Arc<YamlStore>,
    api: Api,
    calls: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Endpoint {
    fn new(mount: BasePath) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(folder.path()));
        let secret = Policy { reads: Reads::Secret, ..Policy::default() };
        let listed = Policy { reads: Reads::PublicList, max_age: Some(Duration::from_secs(60)), ..Policy::default() };
        let named = [("secret", secret), ("listed", listed)].map(|(name, policy)| (Bucket::new(name).unwrap(), policy));
        let settings = ApiSettings {
            stop: CancellationToken::new(),
            clock: Arc::new(SystemClock),
            max_value_bytes: store::Limits::default().max_value_bytes,
            max_blob_bytes: 1 << 30,
            secrets: SecretList::parse("s3cret\n").unwrap(),
            policies: Policies { default: Policy::default(), by_bucket: BTreeMap::from(named) },
            cors: Cors::Any,
            metrics: Arc::default(),
            long_polls: LongPollSettings {
                max_wait: Duration::from_secs(1),
                limit: LongPollLimit::new(10),
                short_streams: false,
            },
            responses: kvs::web::Budget::default(),
        };
        let api = Api::new(Arc::clone(&store) as Arc<dyn Store>, settings);
        let (calls, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let app = Counting { inner: api.clone(), calls: Arc::clone(&calls) };
        let socket = listener(&format!("unix:{}", folder.path().join("s").display()));
        tokio::spawn(kvs::server::fastcgi::serve(socket, app, mount, ServerLimits::default(), stop.clone()));
        Self { folder, store, api, calls, stop }
    }

    async fn put(&self, bucket: &str, key: &str, value: &str) {
        apply(&self.store, bucket, Write::put(Key::new(key).unwrap(), value.to_owned())).await;
    }

    /// The response of the server.
    async fn server_response(&self, (method, uri): (&str, &str), headers: Headers<'_>) -> String {
        let named: Vec<_> = headers.iter().map(|(n, v)| (variable(n), v.as_bytes())).collect();
        let mut list = vec![("REMOTE_ADDR", b"192.0.2.1".as_slice())];
        list.extend(named.iter().map(|(n, v)| (n.as_str(), *v)));
        list.extend([("REQUEST_METHOD", method.as_bytes()), ("REQUEST_URI", uri.as_bytes())]);
        self.sent(&params(&list), b"").await
    }

    async fn sent(&self, list: &[u8], body: &[u8]) -> String {
        let mut socket = UnixStream::connect(self.folder.path().join("s")).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, &whole(1, false, list, body)).await.unwrap();
        answer(&mut socket, 1).await.text
    }

    /// The response of the API.
    async fn service(&self, (method, uri): (&str, &str), headers: Headers<'_>) -> Response {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.api.handle(request.body(Body::empty()).unwrap(), ClientAddr::default()).await
    }

    /// The response of the server, which must be that of the API, and whether the API was called for it.
    async fn ask(&self, request: (&str, &str), headers: Headers<'_>) -> (String, bool) {
        let before = self.calls.load(Ordering::SeqCst);
        let text = self.server_response(request, headers).await;
        let called = self.calls.load(Ordering::SeqCst) - before;
        assert!(called <= 1);
        let mut plain = String::new();
        let response = self.service(request, headers).await;
        write!(plain, "Status: {} ", response.status().as_u16()).unwrap();
        assert!(text.starts_with(&plain), "{request:?}: {text}\n{plain}");
        for (name, value) in response.headers() {
            let line = format!("\r\n{name}: {}\r\n", value.to_str().unwrap()).to_lowercase();
            assert!(text.to_lowercase().contains(&line) || name == "content-length", "{request:?}: {line} in {text}");
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.as_bytes(), body, "{request:?}");
        (text, called == 1)
    }

    /// The response of the server to the usual read, for which it must have called the API.
    async fn fresh_response(&self) -> String {
        let (text, called) = self.ask(("GET", "/?k=a"), &[]).await;
        assert!(called, "{text}");
        text
    }

    /// Waits until the usual read is answered from the cache. The time of a hand edit may be a little after the clock,
    /// and a response from the future is not reused.
    async fn settled(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        self.server_response(("GET", "/?k=a"), &[]).await;
        while self.ask(("GET", "/?k=a"), &[]).await.1 {
            assert!(tokio::time::Instant::now() < deadline, "the response is never reused");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn open(folder: &Path) -> YamlStore {
    YamlStore::open(folder.join("data"), YamlOptions::default()).unwrap()
}

fn variable(header: &str) -> String {
    format!("HTTP_{}", header.to_uppercase().replace('-', "_"))
}

async fn apply(store: &YamlStore, bucket: &str, write: Write) {
    store.apply(&Bucket::new(bucket).unwrap(), Batch::new(vec![write])).await.unwrap();
}

fn with_expiry(value: &'static str, expiry: Time) -> Write {
    let Write::Put { key, value, content_type, modified, .. } = Write::put(Key::new("a").unwrap(), value) else {
        panic!()
    };
    Write::Put { key, value, content_type, expires: Some(expiry), modified }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_request_is_answered_from_the_cache_for_one_second() {
    for mount in [BasePath::spawned(), BasePath::served()] {
        let endpoint = Endpoint::new(mount);
        endpoint.put("default", "a", "1").await;
        let first = endpoint.fresh_response().await;
        assert!(first.ends_with("\r\n\r\n1"), "{first}");
        for _ in 0..3 {
            let (again, called) = endpoint.ask(("GET", "/?k=a"), &[]).await;
            assert_eq!((again.as_str(), called), (first.as_str(), false));
        }
        sleep(LONG).await;
        assert_eq!(endpoint.fresh_response().await, first);
        endpoint.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_response_depends_on_the_request_and_not_on_the_client() {
    let endpoint = Endpoint::new(BasePath::spawned());
    endpoint.put("default", "a", "1").await;
    let asked = |pairs: &[(&str, &str)]| {
        let usual =
            [("REMOTE_ADDR", "192.0.2.1"), ("REMOTE_PORT", "4000"), ("HTTP_USER_AGENT", "Roku"), ("UNIQUE_ID", "x")];
        let address = [("HTTP_ACCEPT", "*/*"), ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/?k=a")];
        let all = usual.into_iter().chain(address).map(|(name, value)| {
            let changed = pairs.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, value)| value);
            (name, changed.as_bytes())
        });
        params(&all.collect::<Vec<_>>())
    };
    let first = endpoint.sent(&asked(&[]), b"").await;
    let others =
        [("REMOTE_ADDR", "2001:db8::7"), ("REMOTE_PORT", "50000"), ("HTTP_USER_AGENT", "ESP32"), ("UNIQUE_ID", "y")];
    assert_eq!(endpoint.sent(&asked(&others), b"").await, first);
    assert_eq!(endpoint.calls.load(Ordering::SeqCst), 1);
    for (n, (name, value)) in [
        ("REQUEST_METHOD", "HEAD"),
        ("REQUEST_URI", "/?k=b"),
        ("REQUEST_URI", "/kv/default/a"),
        ("REQUEST_URI", "/?k=a&"),
        ("HTTP_ACCEPT", "application/json"),
    ]
    .into_iter()
    .enumerate()
    {
        endpoint.sent(&asked(&[(name, value)]), b"").await;
        assert_eq!(endpoint.calls.load(Ordering::SeqCst), n + 2, "{name}: {value}");
    }
    // A body that was not announced.
    let refused = endpoint.sent(&asked(&[]), b"x").await;
    assert!(refused.starts_with("Status: 411 "), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_the_request_are_respected_each_time() {
    let endpoint = Endpoint::new(BasePath::spawned());
    endpoint.put("default", "a", "1").await;
    let (first, _) = endpoint.ask(("GET", "/?k=a"), &[]).await;
    let tag = first.split("\r\nEtag: ").nth(1).unwrap().split('\r').next().unwrap();
    let requests: [(Headers<'_>, &str); 6] = [
        (&[], "200"),
        (&[("if-none-match", tag)], "304"),
        (&[("if-none-match", "\"other\"")], "200"),
        (&[("if-match", "\"other\"")], "412"),
        (&[("origin", "https://app.example")], "200"),
        (&[("x-kvs-auth", "wrong")], "200"),
    ];
    for round in 0..3 {
        for (headers, status) in requests {
            let (text, called) = endpoint.ask(("GET", "/?k=a"), headers).await;
            assert!(text.starts_with(&format!("Status: {status} ")), "{headers:?}: {text}");
            assert!(!called || round == 0 || status == "412", "{headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_visible_at_once() {
    for mount in [BasePath::spawned(), BasePath::served()] {
        let endpoint = Endpoint::new(mount);
        let file = endpoint.folder.path().join("data/default.yaml");
        endpoint.settled().await;
        assert!(endpoint.server_response(("GET", "/?k=a"), &[]).await.starts_with("Status: 404 "));
        endpoint.put("default", "a", "1").await;
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n1"));
        endpoint.settled().await;
        // By another process.
        apply(&open(endpoint.folder.path()), "default", Write::put(Key::new("a").unwrap(), "2")).await;
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        // A person changes the value but not its time, removes the line, and restores it.
        let text = std::fs::read_to_string(&file).unwrap();
        let edit = |text: String| File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        edit(text.replace("value: \"2\"", "value: \"3\""));
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n3"));
        endpoint.settled().await;
        edit("b: 1\n...\n".to_owned());
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
        endpoint.settled().await;
        edit(text.clone());
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        // A missing file is not an empty one.
        std::fs::remove_file(&file).unwrap();
        assert!(endpoint.ask(("GET", "/?k=a"), &[]).await.0.ends_with("\r\n\r\n2"));
        edit("---\n".to_owned());
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
        endpoint.settled().await;
        edit(text);
        assert!(endpoint.fresh_response().await.ends_with("\r\n\r\n2"));
        endpoint.settled().await;
        let key = Key::new("a").unwrap();
        apply(&endpoint.store, "default", Write::Delete { key }).await;
        assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_expire_in_time() {
    let endpoint = Endpoint::new(BasePath::spawned());
    endpoint.put("default", "a", "1").await;
    endpoint.settled().await;
    let now = || kvs::model::Clock::now(&SystemClock);
    let expiry = now().plus(Duration::from_millis(400));
    apply(&endpoint.store, "default", Write::Touch { key: Key::new("a").unwrap(), expires: Some(expiry) }).await;
    endpoint.fresh_response().await;
    endpoint.fresh_response().await;
    sleep(Duration::from_millis(450)).await;
    assert!(endpoint.fresh_response().await.starts_with("Status: 404 "));
    // An older entry becomes visible when the newer one expires.
    endpoint.put("default", "b", "behind").await;
    apply(&endpoint.store, "default", with_expiry("before", now().plus(Duration::from_millis(1900)))).await;
    let newest = async || endpoint.ask(("GET", "/?k=a,b"), &[]).await.0;
    assert!(newest().await.ends_with("before") && newest().await.ends_with("before"));
    sleep(Duration::from_secs(2)).await;
    assert!(newest().await.ends_with("behind"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_long_polls_go_to_the_api_each_time() {
    let endpoint = Endpoint::new(BasePath::spawned());
    endpoint.put("secret", "a", "hidden").await;
    let right: Headers<'_> = &[("x-kvs-auth", "s3cret")];
    for (uri, headers, status) in [
        ("/kv/secret/a", right, "200"),
        ("/kv/secret/a", &[][..], "401"),
        ("/kv/secret", right, "200"),
        ("/kv/default?limit=3", right, "200"),
        ("/?k=a&seen=none&wait=1", &[], "404"),
        ("/metrics", &[], "200"),
        ("/status", &[], "200"),
    ] {
        for _ in 0..2 {
            let before = endpoint.calls.load(Ordering::SeqCst);
            let text = endpoint.server_response(("GET", uri), headers).await;
            assert!(text.starts_with(&format!("Status: {status} ")), "{uri}: {text}");
            assert_eq!(endpoint.calls.load(Ordering::SeqCst) - before, 1, "{uri}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_response_is_counted() {
    let endpoint = Endpoint::new(BasePath::spawned());
    endpoint.put("default", "a", "four").await;
    for _ in 0..10 {
        endpoint.server_response(("GET", "/?k=a"), &[]).await;
    }
    assert_eq!(endpoint.calls.load(Ordering::SeqCst), 1);
    let text = endpoint.server_response(("GET", "/metrics"), &[]).await;
    let number = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().rsplit(' ').next().unwrap();
    assert_eq!(number("kvs_requests_total{route=\"root\",method=\"GET\",status=\"200\"}"), "10", "{text}");
    assert_eq!(number("kvs_response_body_bytes_total"), "40", "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_are_those_of_the_api_under_random_changes() {
    for (mount, seed) in [(BasePath::spawned(), 0x5eed), (BasePath::served(), 0xbeef)] {
        let endpoint = Endpoint::new(mount);
        let other = open(endpoint.folder.path());
        let mut state = seed;
        let mut spared = 0;
        for n in 0..3000 {
            let name = |number: u64| format!("k{}", number % 50);
            let key = Key::new(&name(random(&mut state))).unwrap();
            let bucket = ["default", "listed"][usize::from(random(&mut state).is_multiple_of(3))];
            let store = if random(&mut state).is_multiple_of(2) { &other } else { &endpoint.store };
            match random(&mut state) % 30 {
                0 => apply(store, bucket, Write::put(key, format!("v{n}"))).await,
                1 => apply(store, bucket, Write::Delete { key }).await,
                2 => apply(store, bucket, Write::Touch { key, expires: None }).await,
                _ => {}
            }
            let (one, two) = (name(random(&mut state) % 4), name(random(&mut state)));
            let uri = match random(&mut state) % 5 {
                0 => format!("/?k={one},{two}"),
                1 => format!("/kv/listed/{one}"),
                2 => "/kv/listed?prefix=k1".to_owned(),
                3 => format!("/kv/default/{one}?meta"),
                _ => format!("/?k={one}"),
            };
            let method = if random(&mut state).is_multiple_of(4) { "HEAD" } else { "GET" };
            spared += usize::from(!endpoint.ask((method, &uri), &[]).await.1);
        }
        assert!(spared > 500, "only {spared} of 3000 without the service");
    }
}
