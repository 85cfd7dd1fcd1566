//! Cached responses of the FastCGI and HTTP servers: always those that the API would give, however the data changes.

mod cached_changes;
mod cached_requests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kvs::model::{Batch, Bucket, Key, SystemClock, Write};
use kvs::server::{BasePath, Handler, ServerLimits};
use kvs::store::{self, Store};
use kvs::web::{
    Api, ApiSettings, Body, ClientAddr, Cors, LongPollLimit, LongPollSettings, Policies, Policy, Reads, Response,
    SecretList,
};
use kvs::yaml::{YamlOptions, YamlStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::echo::listener;
use super::fastcgi_client::{answer, params, whole};

type Headers<'a> = &'a [(&'a str, &'a str)];

fn a_second_before(date: &str) -> String {
    httpdate::fmt_http_date(httpdate::parse_http_date(date).unwrap() - Duration::from_secs(1))
}

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

/// How requests arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    /// FastCGI to a program that `mod_fcgid` has started.
    Spawned,
    /// FastCGI from `mod_proxy_fcgi`.
    Proxied,
    Http,
}

const TRANSPORTS: [Transport; 3] = [Transport::Spawned, Transport::Proxied, Transport::Http];

/// The API over a YAML file, behind a server.
struct Endpoint {
    transport: Transport,
    folder: TempDir,
    store: Arc<YamlStore>,
    api: Api,
    calls: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Endpoint {
    fn new(transport: Transport) -> Self {
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
            policies: Policies { by_bucket: BTreeMap::from(named), ..Policies::default() },
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
        let (limits, token) = (ServerLimits::default(), stop.clone());
        match transport {
            Transport::Spawned => {
                tokio::spawn(kvs::server::fastcgi::serve(socket, app, BasePath::spawned(), limits, token))
            }
            Transport::Proxied => {
                tokio::spawn(kvs::server::fastcgi::serve(socket, app, BasePath::served(), limits, token))
            }
            Transport::Http => tokio::spawn(kvs::server::http1::serve(socket, app, BasePath::served(), limits, token)),
        };
        Self { transport, folder, store, api, calls, stop }
    }

    async fn put(&self, bucket: &str, key: &str, value: &str) {
        apply(&self.store, bucket, Write::put(Key::new(key).unwrap(), value.to_owned())).await;
    }

    /// The response of the server.
    async fn server_response(&self, (method, uri): (&str, &str), headers: Headers<'_>) -> String {
        if self.transport == Transport::Http {
            return self.http_response((method, uri), headers).await;
        }
        let named: Vec<_> = headers.iter().map(|(n, v)| (variable(n), v.as_bytes())).collect();
        let mut list = vec![("REMOTE_ADDR", b"192.0.2.1".as_slice())];
        list.extend(named.iter().map(|(n, v)| (n.as_str(), *v)));
        list.extend([("REQUEST_METHOD", method.as_bytes()), ("REQUEST_URI", uri.as_bytes())]);
        self.sent(&params(&list), b"").await
    }

    /// The response over HTTP as text, in the form of FastCGI and without its date.
    async fn http_response(&self, (method, uri): (&str, &str), headers: Headers<'_>) -> String {
        let mut request = format!("{method} {uri} HTTP/1.1\r\nHost: kvs.test\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        request.push_str("\r\n");
        let mut socket = UnixStream::connect(self.folder.path().join("s")).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut received = vec![];
        loop {
            let text = String::from_utf8_lossy(&received);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let length = length.filter(|_| method != "HEAD").map_or(0, |length| length.parse().unwrap());
                assert!(body.len() <= length, "{text}");
                if body.len() == length {
                    let lines = head.split("\r\n").filter(|line| !line.starts_with("Date: "));
                    let head = lines.collect::<Vec<_>>().join("\r\n").replace("HTTP/1.1", "Status:");
                    return format!("{head}\r\n\r\n{body}");
                }
            }
            assert!(
                socket.read_buf(&mut received).await.unwrap() > 0,
                "broken off: {}",
                String::from_utf8_lossy(&received)
            );
        }
    }

    async fn sent(&self, list: &[u8], body: &[u8]) -> String {
        let mut socket = UnixStream::connect(self.folder.path().join("s")).await.unwrap();
        socket.write_all(&whole(1, false, list, body)).await.unwrap();
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
            let value = value.to_str().unwrap();
            let is_same =
                |value: &str| text.to_lowercase().contains(&format!("\r\n{name}: {value}\r\n").to_lowercase());
            // The time of a hand edit may be a little after the clock. Until then its date is that of the response.
            let is_earlier = || name == "last-modified" && is_same(&a_second_before(value));
            assert!(
                is_same(value) || is_earlier() || name == "content-length",
                "{request:?}: {name}: {value} in {text}"
            );
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
