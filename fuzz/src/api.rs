//! An API over a store in memory, and requests to it as lines of text: method and target, then headers, an empty line,
//! and the body. So a seed is a readable file, and a changed byte usually leaves a valid request.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use kvs::memory::MemoryStore;
use kvs::model::{Batch, Bucket, Clock, Entry, Key, Revision, Scan, Time, Write};
use kvs::store::{Limits, Store};
use kvs::web::{
    Api, ApiSettings, Body, Budget, ClientAddr, Cors, LongPollLimit, LongPollSettings, Policies, Policy, Reads, SecretList,
    Timestamps, Writes,
};
use tokio::runtime::Runtime;

/// A secret with all rights.
pub const SECRET: &str = "correct-horse";

/// The largest value of a bucket.
pub const MAX_VALUE_BYTES: usize = 2_000;

/// The time of the clock: it never moves.
pub const NOW: i64 = 1_795_867_200;

/// The entry that each store has from the start, in the bucket `default`.
pub const KEPT: &str = "kept";

/// All statuses in docs/http-api.md, without those of a failed store.
pub const STATUSES: [u16; 25] = [
    200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 429, 431, 501, 503,
    507,
];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// Runs a future on the runtime of this thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A clock that always shows [`NOW`].
pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Time {
        Time::from_secs(NOW)
    }
}

/// An API and its store.
#[derive(Clone)]
pub struct Endpoint {
    pub api: Api,
    pub store: Arc<dyn Store>,
}

/// A response whose body is complete.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).expect("a name")
}

impl Endpoint {
    /// A new store with some entries. The buckets: `open` may be written by everybody, `secret` is read with a secret only,
    /// `listed` may be listed, and the times of `poky` come from clients.
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock);
        let limits = Limits { max_value_bytes: MAX_VALUE_BYTES };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock), limits));
        let policy = |policy: Policy| Policy { max_age: Some(Duration::from_secs(60)), ..policy };
        let by_bucket = [
            (bucket("open"), policy(Policy { writes: Writes::Open, ..Policy::default() })),
            (bucket("secret"), policy(Policy { reads: Reads::Secret, ..Policy::default() })),
            (bucket("listed"), policy(Policy { reads: Reads::PublicList, ..Policy::default() })),
            (bucket("poky"), policy(Policy { timestamps: Timestamps::Client, ..Policy::default() })),
        ];
        let settings = ApiSettings {
            stop: tokio_util::sync::CancellationToken::new(),
            clock,
            max_value_bytes: MAX_VALUE_BYTES,
            max_blob_bytes: MAX_VALUE_BYTES as u64,
            secrets: SecretList::parse(&format!("{SECRET}\nreader read\nlimited write prefix=k buckets=default\n"))
                .expect("secrets"),
            policies: Policies { by_bucket: by_bucket.into(), ..Policies::default() },
            cors: Cors::Of(vec!["https://app.example".parse().expect("an origin")]),
            long_polls: LongPollSettings {
                max_wait: Duration::ZERO,
                limit: LongPollLimit::new(1),
                short_streams: true,
            },
            responses: Budget::default(),
            metrics: Arc::default(),
        };
        let this = Self { api: Api::new(Arc::clone(&store), settings), store };
        for name in ["default", "secret", "open", "poky"] {
            let put = |key: &str, value: &str| Write::put(Key::new(key).expect("a key"), value.to_owned());
            let writes = vec![put(KEPT, "1"), put("json", r#"{"a":[1,"x",{"b":null}],"c":2.50}"#), put("k2", "two")];
            run(this.store.apply(&bucket(name), Batch::new(writes))).expect("stored");
        }
        this
    }

    /// Sends a request, and checks what holds for every response.
    pub fn send(&self, request: Request<Body>) -> Answer {
        let method = request.method().clone();
        let shown = format!("{method} {}", request.uri());
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        let (parts, body) = run(async {
            let (parts, body) = self.api.handle(request, ClientAddr(Some(address))).await.into_parts();
            (parts, body.collect().await.expect("a complete body").to_bytes())
        });
        let status = parts.status.as_u16();
        assert!(STATUSES.contains(&status), "{status} for {shown}: {body:?}");
        assert_eq!(parts.headers["x-content-type-options"], "nosniff", "{shown}");
        assert!(parts.headers.contains_key("cache-control"), "{shown}");
        for (name, value) in &parts.headers {
            assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{shown}: {name}");
            assert!(value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{shown}: {name}: {value:?}");
        }
        if method == Method::HEAD || matches!(status, 204 | 304) {
            assert!(body.is_empty(), "{shown}: a body of {status}");
        } else if let Some(length) = parts.headers.get("content-length") {
            assert_eq!(length.to_str().ok(), Some(&*body.len().to_string()), "{shown}");
        }
        let of_json = parts.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
        assert!(!of_json || serde_json::from_slice::<serde_json::Value>(&body).is_ok() || body.is_empty(), "{body:?}");
        Answer { status, headers: parts.headers, body }
    }

    /// All entries of a bucket, and its revision.
    pub fn content(&self, name: &str) -> (Revision, Vec<(Key, Entry)>) {
        let page = run(self.store.scan(&bucket(name), Scan { limit: 100_000, ..Scan::default() })).expect("readable");
        assert!(page.cursor.is_none(), "one page");
        (page.revision, page.entries.into_iter().map(|(key, entry)| (key, entry.expect("an entry"))).collect())
    }

    /// All that a request could have changed.
    pub fn contents(&self) -> Vec<(Revision, Vec<(Key, Entry)>)> {
        ["default", "secret", "open", "listed", "poky", "b"].map(|name| self.content(name)).to_vec()
    }

    /// Checks that each entry can be read with its value.
    pub fn assert_readable(&self, name: &str) {
        for (key, entry) in self.content(name).1 {
            let key = percent_encoding::utf8_percent_encode(key.as_str(), percent_encoding::NON_ALPHANUMERIC);
            let request = Request::get(format!("/kv/{name}?key={key}")).header("x-kvs-auth", SECRET);
            let answer = self.send(request.body(Body::empty()).expect("a request"));
            assert_eq!((answer.status, &answer.body), (200, &entry.value), "{key}");
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new()
    }
}

/// The request in a text, with these headers in front of its own. `None` if it is none.
pub fn request(text: &[u8], first: &[(&str, &str)]) -> Option<Request<Body>> {
    let end = text.windows(2).position(|two| two == b"\n\n").unwrap_or(text.len());
    let body = text.get(end + 2..).unwrap_or_default().to_vec();
    let mut lines = text[..end].split(|byte| *byte == b'\n');
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = line.split_once(' ')?;
    if !target.starts_with('/') {
        return None;
    }
    let uri: Uri = target.parse().ok()?;
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).ok()?).uri(uri);
    for (name, value) in first {
        request = request.header(*name, *value);
    }
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    request.body(Body::from(body)).ok()
}
