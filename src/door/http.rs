//! Plain HTTP/1 over TCP or a Unix socket, by hyper: keep-alive, time limits, refusal of bodies that are not whole.
//!
//! A body is read before the Router is called, so that the answer never depends on half of one. Bodies that announce
//! too much are refused before a byte of them is asked for.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::accept::{self, GRACE};
use super::call::call;
use super::framing::Followed;
use super::limits::Limits;
use super::listen::Listener;
use super::refusal::Refusal;
use super::stream::Stream;
use crate::service::Caller;

/// How much of a body that is too large is read and dropped, so that its sender comes to read why.
const DROPPED: usize = 64 << 20;

/// How long that may take.
const DROP_TIME: Duration = Duration::from_secs(5);

/// Answers HTTP on `listener` until `stop`, then drains.
pub async fn serve(listener: Listener, app: Router, limits: Limits, stop: CancellationToken) -> io::Result<()> {
    let door = Arc::new(Door { builder: builder(&limits), app, limits, stop: stop.clone() });
    accept::run(listener, limits, stop, move |stream| Arc::clone(&door).connection(stream)).await
}

struct Door {
    builder: http1::Builder,
    app: Router,
    limits: Limits,
    stop: CancellationToken,
}

fn builder(limits: &Limits) -> http1::Builder {
    // The parser needs the lower bound; no client needs more than the upper one.
    let head = limits.head.clamp(8 << 10, 64 << 10);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_header_size(head)
        .max_buf_size(head)
        // Simple clients close their sending side after the request and then read.
        .half_close(true)
        .title_case_headers(true);
    builder
}

impl Door {
    async fn connection(self: Arc<Self>, stream: Stream) {
        let peer = stream.peer();
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<_, Infallible>(door.answer(request, peer).await) }
        });
        let io = TokioIo::new(Followed::new(stream));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.begin_of_end() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }

    /// Resolves some time after the stop, so that a request that is on its way is still taken.
    async fn begin_of_end(&self) {
        self.stop.cancelled().await;
        sleep(GRACE).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: Option<IpAddr>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        // Absolute form names a host that routing does not know of; CONNECT has no path at all.
        let Some(target) = parts.uri.path_and_query().filter(|t| t.path().starts_with('/') || *t == "*") else {
            return closing(Refusal::BadTarget.response(&parts.headers));
        };
        // RFC 9112, section 3.2.
        if parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().count() != 1 {
            return closing(Refusal::BadHost.response(&parts.headers));
        }
        // RFC 9112, section 6.1: what is in the chunks would be taken for the body itself.
        let codings = parts.headers.get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
            return closing(Refusal::BadCoding.response(&parts.headers));
        }
        parts.uri = Uri::from(PathAndQuery::clone(target));
        parts.extensions.insert(Caller { address: peer });
        let body = if body.is_end_stream() { Ok(Bytes::new()) } else { self.whole(&parts.headers, body).await };
        match body {
            Ok(body) => call(&self.app, Request::from_parts(parts, Body::from(body))).await,
            Err(refusal) => closing(refusal.response(&parts.headers)),
        }
    }

    /// The whole body.
    async fn whole(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, Refusal> {
        let deadline = Instant::now() + self.limits.body_time;
        let limit = self.limits.body;
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            // Who asks first has sent nothing yet, and must not be told to.
            if !headers.contains_key(EXPECT) {
                drain(body).await;
            }
            return Err(Refusal::TooLarge);
        }
        let mut whole = BytesMut::new();
        loop {
            let data = match timeout_at(deadline, body.frame()).await {
                Err(_elapsed) => return Err(Refusal::Slow),
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(_))) => return Err(Refusal::Broken),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if whole.len() + data.len() > limit {
                drain(body).await;
                return Err(Refusal::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
    }
}

/// Reads and drops what a client is sending. Closing under its hands would reset the connection, and with it the answer.
async fn drain(mut body: Incoming) {
    let deadline = Instant::now() + DROP_TIME;
    let mut left = DROPPED;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The connection is of no use after an answer to a request that was not read to its end.
fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
