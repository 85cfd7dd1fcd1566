//! The HTTP/1 server over TCP or Unix sockets, on hyper: keep-alive, timeouts, rejection of incomplete bodies.
//!
//! Each head is checked in `head` before hyper reads it, so that hyper never sends an error response itself.
//!
//! A body is read when the handler asks for it, so that errors in the head are reported first. The handler gets the
//! whole body, or its call is dropped. So no response depends on a part of a body. A handler that stores a large value
//! asks for pieces, and drops what it has stored if the body ends early.

pub(super) mod checked_connection;
pub(super) mod forwarded;
pub(super) mod head;
pub(super) mod sent_again;

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

use self::checked_connection::{CheckedConnection, HeadError, HeadLimits};
use self::head::MAX_REQUEST_LINE_BYTES;
use self::sent_again::{Permission, SentAgain, SharedResponses};
use super::body_buffer::BodyBuffer;
use super::cgi::base_path::BasePath;
use super::error_response::TransportError;
use super::handler::{Handler, call};
use super::lazy_body::{BodySender, lazy_body};
use super::limits::ServerLimits;
use super::net::accept;
use super::net::listener::Listener;
use super::net::stream::{Stream, StreamState, min_bytes_in};
use crate::web::{Body, ClientAddr, Response, SMALL_BODY_BYTES, Share};

/// How long to wait for a short body that the handler does not want, so that the connection can be kept.
const SHORT_BODY_TIMEOUT: Duration = Duration::from_millis(50);

/// Answers HTTP on `listener` until `stop`, then drains.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    base_path: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    // At most 64 KiB: other servers accept no more, and no client needs more.
    let head_limits =
        HeadLimits { max_field_bytes: limits.head.clamp(8 << 10, 64 << 10), timeout: limits.header_timeout };
    let mut builder = http1::Builder::new();
    builder
        // `CheckedConnection` enforces these two limits before hyper sees a head.
        .header_read_timeout(None)
        .max_buf_size(MAX_REQUEST_LINE_BYTES + head_limits.max_field_bytes + 1024)
        // Simple clients close their sending side after the request and then read.
        .half_close(true)
        .title_case_headers(true);
    let server = Arc::new(HttpServer {
        builder,
        head_limits,
        handler,
        base_path,
        limits: limits.clone(),
        stop: stop.clone(),
        responses: SharedResponses::default(),
    });
    accept::run(listener, limits, stop, move |stream| Arc::clone(&server).serve_connection(stream)).await
}

struct HttpServer<H> {
    builder: http1::Builder,
    head_limits: HeadLimits,
    handler: H,
    base_path: BasePath,
    limits: ServerLimits,
    stop: CancellationToken,
    responses: SharedResponses,
}

impl<H: Handler> HttpServer<H> {
    /// Serves a connection. It counts from this call on, in the order in which connections were accepted.
    fn serve_connection(self: Arc<Self>, stream: Stream) -> impl Future<Output = ()> + Send + use<H> {
        let share = self.limits.try_acquire(stream.peer());
        async move {
            match share {
                Some(_share) => self.serve_requests(stream).await,
                None => reject_connection(stream).await,
            }
        }
    }

    async fn serve_requests(self: Arc<Self>, stream: Stream) {
        let (peer, state) = (stream.peer(), Arc::clone(stream.state()));
        let (head_error, permission) = (HeadError::default(), Permission::default());
        let sent_again = SentAgain::new(Arc::clone(&self.responses), Arc::clone(&permission), Arc::clone(&state));
        // At the stop the connection ends as soon as no request is in progress.
        let (stop, error_slot) = (self.stop.clone(), Arc::clone(&head_error));
        let checked = CheckedConnection::new(stream, self.head_limits, stop, error_slot, sent_again);
        let service = service_fn(|request: Request<Incoming>| {
            let (server, state, error) = (Arc::clone(&self), Arc::clone(&state), head_error.lock().take());
            let permission = Arc::clone(&permission);
            async move {
                let method = sent_again::may_be_sent_again(&request).then(|| request.method().clone());
                let mut response = match error {
                    Some(error) => closing(&state, error.response(request.headers())),
                    // hyper moves this future, and the boxed part of it is some kilobytes long.
                    None => Box::pin(server.respond(request, peer, &state)).await,
                };
                if let Some(method) = method {
                    sent_again::permit(&permission, &method, &mut response);
                }
                state.begin();
                Ok::<_, Infallible>(response)
            }
        });
        if let Err(error) = self.builder.serve_connection(TokioIo::new(checked), service).await {
            tracing::debug!(%error, "closing an HTTP connection");
        }
    }

    /// The response to a request. The connection is closed after the last one.
    async fn respond(&self, request: Request<Incoming>, peer: Option<IpAddr>, state: &StreamState) -> Response {
        // Data after a chunked body is never read as a request: another server may see the end of the body elsewhere.
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
        parts.uri = match self.base_path.uri(target, b"", b"") {
            Ok(uri) => uri,
            Err(error) => return closing(state, error.response(&parts.headers)),
        };
        let address = forwarded::client(&self.limits.proxies, peer, &parts.headers);
        let client = ClientAddr(address);
        if body.is_end_stream() {
            return call(&self.handler, Request::from_parts(parts, Body::empty()), client).await;
        }
        // Boxed, so that a request without a body, which may wait for long, takes less memory.
        Box::pin(self.answer_with_body(parts, body, address, state)).await
    }

    /// Answers a request whose body is still arriving.
    async fn answer_with_body(
        &self,
        parts: Parts,
        mut body: Incoming,
        address: Option<IpAddr>,
        state: &StreamState,
    ) -> Response {
        let deadline = Instant::now() + self.limits.body_timeout;
        let accept_headers = accept_headers(&parts.headers);
        // With `Expect` the client has not sent its body yet, and reading the body would ask for it.
        let expects_continue = parts.headers.contains_key(EXPECT);
        if body.size_hint().lower() > self.limits.longest_body() {
            return closing(state, TransportError::BodyTooLarge.response(&accept_headers));
        }
        let (lazy, mut body_sender) = lazy_body(body.size_hint().exact());
        let mut response = pin!(call(&self.handler, Request::from_parts(parts, lazy), ClientAddr(address)));
        let early = tokio::select! {
            biased;
            response = response.as_mut() => Some(response),
            () = body_sender.requested() => None,
        };
        let error = match early {
            None if body_sender.is_in_pieces() => {
                let supply = supply_pieces(&mut body, body_sender, self.limits.body_timeout);
                return match first(pin!(supply), response.as_mut()).await {
                    First::Supplied(Ok(())) => response.await,
                    First::Supplied(Err(error)) => closing(state, error.response(&accept_headers)),
                    First::Response(response) => closing(state, response),
                };
            }
            None => match read_body(&mut body, BodyBuffer::new(&self.limits, address), deadline).await {
                Ok((bytes, _share)) => {
                    body_sender.send(bytes);
                    return response.await;
                }
                Err(error) => error,
            },
            Some(response) if response.status().is_client_error() || response.status().is_server_error() => {
                let is_short =
                    !expects_continue && body.size_hint().upper().is_some_and(|max| max <= SMALL_BODY_BYTES as u64);
                let is_read = is_short
                    && timeout(SHORT_BODY_TIMEOUT, drain(&mut body, SMALL_BODY_BYTES, deadline))
                        .await
                        .is_ok_and(|ended| ended.is_ok());
                return if is_read { response } else { closing(state, response) };
            }
            // The handler ignores the body, but a request that succeeds must be complete.
            Some(response) => match drain(&mut body, self.limits.body, deadline).await {
                Ok(()) => return response,
                Err(error) => error,
            },
        };
        closing(state, error.response(&accept_headers))
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

/// Rejects a connection from an address that has used up its share. The share counts open connections, so this does not
/// wait for a request.
async fn reject_connection(mut stream: Stream) {
    let text = TransportError::ShareUsedUp.text();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 2\r\n\
                Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";
    let response = format!("{head}Content-Length: {}\r\n\r\n{text}\n", text.len() + 1);
    stream.state().leave_unread();
    let sending = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await
    };
    // The connection is dropped after this time even if the client has not read the response.
    let _ = timeout(5 * SHORT_BODY_TIMEOUT, sending).await;
}

/// Reads the whole body. Returns it with its part of the budget.
async fn read_body(
    body: &mut Incoming,
    mut buffer: BodyBuffer,
    deadline: Instant,
) -> Result<(Bytes, Share), TransportError> {
    if let Some(length) = body.size_hint().exact() {
        buffer.announce(length)?;
    }
    while let Some(data) = next_piece(body, deadline).await? {
        buffer.add(&data)?;
    }
    Ok(buffer.finish())
}

/// What came first: the end of the body, or the response.
enum First {
    Supplied(Result<(), TransportError>),
    Response(Response),
}

async fn first(
    supply: impl Future<Output = Result<(), TransportError>>,
    response: impl Future<Output = Response>,
) -> First {
    tokio::select! {
        biased;
        supplied = supply => First::Supplied(supplied),
        response = response => First::Response(response),
    }
}

/// Supplies a body to the handler as it arrives. In each period of `timeout` enough of it must arrive, or its end.
async fn supply_pieces(body: &mut Incoming, sender: BodySender, timeout: Duration) -> Result<(), TransportError> {
    let (mut deadline, mut bytes) = (Instant::now() + timeout, 0);
    while let Some(data) = next_piece(body, deadline).await? {
        bytes += data.len() as u64;
        sender.send_piece(data).await;
        if bytes >= min_bytes_in(timeout) {
            (deadline, bytes) = (Instant::now() + timeout, 0);
        }
    }
    sender.end().await;
    Ok(())
}

/// Reads and drops a body of at most `limit` bytes.
async fn drain(body: &mut Incoming, limit: usize, deadline: Instant) -> Result<(), TransportError> {
    let mut left = limit;
    while let Some(data) = next_piece(body, deadline).await? {
        left = left.checked_sub(data.len()).ok_or(TransportError::BodyTooLarge)?;
    }
    Ok(())
}

/// The next piece of a body; `None` at its end.
async fn next_piece(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, TransportError> {
    match timeout_at(deadline, body.frame()).await {
        Err(_elapsed) => Err(TransportError::BodyTimeout),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(TransportError::BrokenBody),
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

/// The headers that decide the format of an error response.
fn accept_headers(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(ACCEPT).iter().map(|value| (ACCEPT, value.clone())).collect()
}

/// Marks the response to a request that was not read to its end. The connection must be closed after it.
fn closing(state: &StreamState, response: Response) -> Response {
    state.leave_unread();
    last(response)
}

/// Marks the last response of a connection.
fn last(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
