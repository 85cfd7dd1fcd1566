//! A handler that echoes its requests, to see what a server passes on, and servers that run it.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http_body_util::BodyExt;
use kvs::server::{Address, BasePath, Handler, Listener, SOCKET_MODE, ServerLimits};
use kvs::web::ClientAddr;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// An axum router as the handler of a server.
#[derive(Clone)]
pub(crate) struct Routed(pub(crate) Router);

impl Handler for Routed {
    async fn handle(&self, request: http::Request<kvs::web::Body>, client: ClientAddr) -> kvs::web::Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        // As in the API, a body of known length is in one piece.
        let body = match http_body::Body::size_hint(&body).exact() {
            Some(_) => body.collect().await.unwrap().to_bytes().into(),
            None => kvs::web::Body::stream(body),
        };
        http::Response::from_parts(parts, body)
    }
}

/// Counters of the handler.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicUsize>,
}

/// Counts requests that are dropped before their response.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn echo(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let caller = parts.extensions.get::<ClientAddr>().unwrap().0;
    let mut text = format!("{} {}\ncaller: {caller:?}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        writeln!(text, "{name}: {}", value.as_bytes().escape_ascii()).unwrap();
    }
    text + "\n" + &body.escape_ascii().to_string()
}

async fn panics() -> &'static str {
    panic!("as the test wants it")
}

/// The handler: `/panic`, `/large` (3,000,000 bytes), `/late` (after 300 ms), `/never`, `/broken` (a body that fails
/// half-way), `/thread` (the name of the thread that calls it), and the echo everywhere else.
pub(crate) fn app(seen: &Seen) -> Routed {
    let (calls, dropped) = (seen.calls.clone(), seen.dropped.clone());
    // A request is counted when its whole body has arrived.
    let count = move |request: Request, next: axum::middleware::Next| {
        let calls = calls.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            calls.fetch_add(1, Ordering::SeqCst);
            next.run(Request::from_parts(parts, body.into())).await
        }
    };
    let never = move || {
        let guard = Guard(dropped.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let broken = || async {
        let pieces = [Ok(bytes::Bytes::from_static(b"half")), Err(io::Error::other("as the test wants it"))];
        Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
    };
    let router = Router::new()
        .route("/panic", any(panics))
        .route("/large", any(|| async { "x".repeat(3_000_000) }))
        .route("/late", any(|| async { tokio::time::sleep(Duration::from_millis(300)).await }))
        .route("/thread", any(|| async { std::thread::current().name().unwrap_or("").to_owned() }))
        .route("/never", any(never))
        .route("/broken", any(broken))
        .fallback(echo)
        .layer(axum::middleware::from_fn(count));
    Routed(router)
}

/// Limits that a test can reach.
pub(crate) fn limits() -> ServerLimits {
    ServerLimits {
        body: 100_000,
        head: 400_000,
        connections: 50,
        header_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(400),
        write_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(2),
        ..ServerLimits::default()
    }
}

/// The same, with longer timeouts for clients on a busy machine.
pub(crate) fn patient() -> ServerLimits {
    ServerLimits { body_timeout: Duration::from_secs(5), drain_timeout: Duration::from_secs(10), ..limits() }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) seen: Seen,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<io::Result<()>>,
}

pub(crate) fn listener(address: &str) -> Listener {
    Listener::bind(&address.parse::<Address>().unwrap(), SOCKET_MODE).unwrap()
}

pub(crate) fn http(limits: ServerLimits) -> Running {
    http_at(BasePath::served(), limits)
}

pub(crate) fn http_at(mount: BasePath, limits: ServerLimits) -> Running {
    running(|listener, app, stop| tokio::spawn(kvs::server::http1::serve(listener, app, mount, limits, stop)))
}

pub(crate) fn fastcgi(mount: BasePath, limits: ServerLimits) -> Running {
    running(|listener, app, stop| tokio::spawn(kvs::server::fastcgi::serve(listener, app, mount, limits, stop)))
}

fn running(start: impl FnOnce(Listener, Routed, CancellationToken) -> JoinHandle<io::Result<()>>) -> Running {
    let listener = listener("127.0.0.1:0");
    let address = listener.tcp_address().unwrap();
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let task = start(listener, app(&seen), stop.clone());
    Running { address, seen, stop, task }
}

impl Running {
    /// Stops it and waits for its end. Returns how long that took.
    pub(crate) async fn end(self) -> Duration {
        let started = std::time::Instant::now();
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("it drains").unwrap().unwrap();
        started.elapsed()
    }
}

/// Pseudorandom numbers, the same in each run.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
