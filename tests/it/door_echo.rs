//! A Router that says what it was asked, to see what a door hands on; and a door that runs it.

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
use kvs::door::{Address, Limits, Listener, Mount, SOCKET_MODE};
use kvs::service::Caller;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the Router has seen.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) given_up: Arc<AtomicUsize>,
}

/// Counts when a request is dropped before its answer.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn echo(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let caller = parts.extensions.get::<Caller>().unwrap().address;
    let mut text = format!("{} {}\ncaller: {caller:?}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        writeln!(text, "{name}: {}", value.as_bytes().escape_ascii()).unwrap();
    }
    text + "\n" + &body.escape_ascii().to_string()
}

async fn panics() -> &'static str {
    panic!("as the test wants it")
}

/// The Router: `/panic`, `/large` (3,000,000 bytes), `/late` (after 300 ms), `/never`, `/broken` (a body that fails
/// half-way), `/thread` (the name of the thread that was called), and the echo everywhere else.
pub(crate) fn app(seen: &Seen) -> Router {
    let (calls, given_up) = (seen.calls.clone(), seen.given_up.clone());
    // Whoever is called without the whole of a body never hears of its end.
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
        let guard = Guard(given_up.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let broken = || async {
        let pieces = [Ok(bytes::Bytes::from_static(b"half")), Err(io::Error::other("as the test wants it"))];
        Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
    };
    Router::new()
        .route("/panic", any(panics))
        .route("/large", any(|| async { "x".repeat(3_000_000) }))
        .route("/late", any(|| async { tokio::time::sleep(Duration::from_millis(300)).await }))
        .route("/thread", any(|| async { std::thread::current().name().unwrap_or("").to_owned() }))
        .route("/never", any(never))
        .route("/broken", any(broken))
        .fallback(echo)
        .layer(axum::middleware::from_fn(count))
}

/// Limits that a test can reach.
pub(crate) fn limits() -> Limits {
    Limits {
        body: 100_000,
        head: 400_000,
        connections: 50,
        head_time: Duration::from_millis(400),
        body_time: Duration::from_millis(400),
        write_time: Duration::from_secs(2),
        idle_time: Duration::from_secs(5),
        drain_time: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// The same with time enough for clients that a busy machine holds up.
pub(crate) fn patient() -> Limits {
    Limits { body_time: Duration::from_secs(5), drain_time: Duration::from_secs(10), ..limits() }
}

/// A running door.
pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) seen: Seen,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<io::Result<()>>,
}

pub(crate) fn listener(address: &str) -> Listener {
    Listener::bind(&address.parse::<Address>().unwrap(), SOCKET_MODE).unwrap()
}

pub(crate) fn http(limits: Limits) -> Running {
    http_at(Mount::served(), limits)
}

pub(crate) fn http_at(mount: Mount, limits: Limits) -> Running {
    running(|listener, app, stop| tokio::spawn(kvs::door::http::serve(listener, app, mount, limits, stop)))
}

pub(crate) fn fastcgi(mount: Mount, limits: Limits) -> Running {
    running(|listener, app, stop| tokio::spawn(kvs::door::fastcgi::serve(listener, app, mount, limits, stop)))
}

fn running(start: impl FnOnce(Listener, Router, CancellationToken) -> JoinHandle<io::Result<()>>) -> Running {
    let listener = listener("127.0.0.1:0");
    let address = listener.tcp_address().unwrap();
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let task = start(listener, app(&seen), stop.clone());
    Running { address, seen, stop, task }
}

impl Running {
    /// Stops it, and waits for its end; how long that took.
    pub(crate) async fn end(self) -> Duration {
        let started = std::time::Instant::now();
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("it drains").unwrap().unwrap();
        started.elapsed()
    }
}

/// Numbers that look random and are the same in each run.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
