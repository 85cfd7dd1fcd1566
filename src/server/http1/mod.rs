//! The HTTP/1 server over TCP or Unix sockets, on hyper: keep-alive, timeouts, rejection of incomplete bodies.
//!
//! Each head is checked in `head` before hyper reads it, so that hyper never sends an error response itself.
//!
//! A body is read when the handler asks for it, so that errors in the head are reported first. The handler gets all of
//! the body or is dropped, so that no response depends on half a body.

pub(super) mod checked_connection;
pub(super) mod forwarded;
pub(super) mod head;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::checked_connection::{CheckedConnection, HeadBounds, HeadError};
use self::head::MAX_LINE_BYTES;
use super::body_buffer::BodyBuffer;
use super::cgi::base_path::BasePath;
use super::error_response::TransportError;
use super::handler::{Handler, call};
use super::lazy_body::lazy_body;
use super::limits::ServerLimits;
use super::net::accept;
use super::net::listener::Listener;
use super::net::stream::{Stream, StreamState};
use crate::web::{Body, ClientAddr, Response, SMALL_BODY_BYTES, Share};

/// How long to wait for a short body that the handler does not want, so that the connection can be kept.
const SHORT_BODY_TIMEOUT: Duration = Duration::from_millis(50);

/// Answers HTTP on `listener` until `stop`, then drains. `mount` is the base path.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    mount: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    // At most 64 KiB: other servers accept no more, and no client needs more.
    let bounds = HeadBounds { fields: limits.head.clamp(8 << 10, 64 << 10), time: limits.header_timeout };
    let mut builder = http1::Builder::new();
    builder
        // `CheckedConnection` enforces these two limits before hyper sees a head.
        .header_read_timeout(None)
        .max_buf_size(MAX_LINE_BYTES + bounds.fields + 1024)
        // Simple clients close their sending side after the request and then read.
        .half_close(true)
        .title_case_headers(true);
    let server = Arc::new(HttpServer { builder, bounds, handler, mount, limits: limits.clone(), stop: stop.clone() });
    accept::run(listener, limits, stop, move |stream| Arc::clone(&server).connection(stream)).await
}

struct HttpServer<H> {
    builder: http1::Builder,
    bounds: HeadBounds,
    handler: H,
    mount: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
}

impl<H: Handler> HttpServer<H> {
    async fn connection(self: Arc<Self>, stream: Stream) {
        let (peer, state) = (stream.peer(), Arc::clone(stream.state()));
        let Some(_share) = self.limits.enter(peer) else { return turn_away(stream).await };
        let head_error = HeadError::default();
        // At the stop it ends as soon as no request is in progress.
        let checked = CheckedConnection::new(stream, self.bounds, self.stop.clone(), Arc::clone(&head_error));
        let service = service_fn(|request: Request<Incoming>| {
            let (server, state, refusal) = (Arc::clone(&self), Arc::clone(&state), head_error.lock().take());
            async move {
                let response = match refusal {
                    Some(refusal) => closing(&state, refusal.response(request.headers())),
                    None => server.respond(request, peer, &state).await,
                };
                state.begin();
                Ok::<_, Infallible>(response)
            }
        });
        if let Err(error) = self.builder.serve_connection(TokioIo::new(checked), service).await {
            tracing::debug!(%error, "closing an HTTP connection");
        }
    }

    /// The response. It closes the connection if it is the last one.
    async fn respond(&self, request: Request<Incoming>, peer: Option<IpAddr>, state: &StreamState) -> Response {
        // Data after chunks is never taken for a request: another server may see their end elsewhere.
        let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
        let response = self.answer(request, peer, state).await;
        match in_chunks {
            true => closing(state, response),
            false if self.stop.is_cancelled() => last(response),
            false => response,
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Option<IpAddr>, state: &StreamState) -> Response {
        let (mut parts, body) = request.into_parts();
        if !has_host(&parts) {
            return closing(state, TransportError::BadHost.response(&parts.headers));
        }
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = match self.mount.uri(target, b"", b"") {
            Ok(uri) => uri,
            Err(refusal) => return closing(state, refusal.response(&parts.headers)),
        };
        let address = forwarded::client(&self.limits.proxies, peer, &parts.headers);
        let client = ClientAddr(address);
        if body.is_end_stream() {
            return call(&self.handler, Request::from_parts(parts, Body::empty()), client).await;
        }
        self.answer_with_body(parts, (body, address), state).await
    }

    /// Answers a request whose body is still arriving.
    async fn answer_with_body(
        &self,
        parts: Parts,
        (mut body, address): (Incoming, Option<IpAddr>),
        state: &StreamState,
    ) -> Response {
        let deadline = Instant::now() + self.limits.body_timeout;
        let accepted = accepted(&parts.headers);
        // With `Expect` the client has not sent its body yet, and reading the body would ask for it.
        let asks_first = parts.headers.contains_key(EXPECT);
        if body.size_hint().lower() > u64::try_from(self.limits.body).unwrap_or(u64::MAX) {
            return closing(state, TransportError::TooLarge.response(&accepted));
        }
        let (lazy, mut source) = lazy_body(body.size_hint().exact());
        let mut answer = pin!(call(&self.handler, Request::from_parts(parts, lazy), ClientAddr(address)));
        let early = tokio::select! {
            biased;
            response = answer.as_mut() => Some(response),
            () = source.asked() => None,
        };
        let refusal = match early {
            None => match whole(&mut body, BodyBuffer::new(&self.limits, address), deadline).await {
                Ok((whole, _share)) => {
                    source.give(whole);
                    return answer.await;
                }
                Err(refusal) => refusal,
            },
            Some(response) if response.status().is_client_error() || response.status().is_server_error() => {
                let is_short =
                    !asks_first && body.size_hint().upper().is_some_and(|most| most <= SMALL_BODY_BYTES as u64);
                let is_read = is_short
                    && timeout(SHORT_BODY_TIMEOUT, rest(&mut body, SMALL_BODY_BYTES, deadline))
                        .await
                        .is_ok_and(|ended| ended.is_ok());
                return if is_read { response } else { closing(state, response) };
            }
            // The handler ignores the body, but a request that succeeds must be complete.
            Some(response) => match rest(&mut body, self.limits.body, deadline).await {
                Ok(()) => return response,
                Err(refusal) => refusal,
            },
        };
        closing(state, refusal.response(&accepted))
    }
}

/// Whether a request has one valid Host, as it must (RFC 9112, section 3.2). HTTP/1.0 may have none.
fn has_host(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let is_name = |host: &HeaderValue| {
        host.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b))
    };
    match (hosts.next(), hosts.next()) {
        (None, _) => parts.version == Version::HTTP_10,
        (Some(host), None) => is_name(host),
        (Some(_), Some(_)) => false,
    }
}

/// Rejects a client whose address has used up its share, before it has sent a request: the share counts open
/// connections.
async fn turn_away(mut stream: Stream) {
    let text = TransportError::Share.text();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 2\r\n\
                Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{text}\n", text.len() + 1);
    stream.state().leave_unread();
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // The connection is dropped soon, whether the client has read the response or not.
    let _ = timeout(5 * SHORT_BODY_TIMEOUT, told).await;
}

/// The whole body, and its part of the budget.
async fn whole(
    body: &mut Incoming,
    mut buffer: BodyBuffer,
    deadline: Instant,
) -> Result<(Bytes, Share), TransportError> {
    if let Some(length) = body.size_hint().exact() {
        buffer.announce(length)?;
    }
    while let Some(data) = next(body, deadline).await? {
        buffer.add(&data)?;
    }
    Ok(buffer.finish())
}

/// Reads and drops a body of at most `limit` bytes.
async fn rest(body: &mut Incoming, limit: usize, deadline: Instant) -> Result<(), TransportError> {
    let mut left = limit;
    while let Some(data) = next(body, deadline).await? {
        left = left.checked_sub(data.len()).ok_or(TransportError::TooLarge)?;
    }
    Ok(())
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, TransportError> {
    match timeout_at(deadline, body.frame()).await {
        Err(_elapsed) => Err(TransportError::Slow),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(TransportError::Broken),
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

/// The headers on which an error response depends.
fn accepted(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(ACCEPT).iter().map(|value| (ACCEPT, value.clone())).collect()
}

/// The response to a request that was not read to its end. The connection must be closed after it.
fn closing(state: &StreamState, response: Response) -> Response {
    state.leave_unread();
    last(response)
}

/// The last response of a connection.
fn last(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
