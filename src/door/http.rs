//! Plain HTTP/1 over TCP or a Unix socket, by hyper: keep-alive, time limits, refusal of bodies that are not whole.
//!
//! Each head is judged in `head` before hyper reads it, so that hyper answers nothing by itself.
//!
//! A body is read once the Router asks for it, so that what the head decides is said before; and the Router gets all of
//! it or is dropped, so that no answer depends on half of one.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::accept;
use super::awaited::awaited;
use super::buffer::Buffer;
use super::call::call;
use super::forwarded;
use super::head::MOST_LINE;
use super::heads::{Bounds, Heads, Verdict};
use super::limits::Limits;
use super::listen::Listener;
use super::mount::Mount;
use super::refusal::Refusal;
use super::stream::{Signs, Stream};
use crate::service::{Caller, LITTLE, Share};

/// How long a short body that nobody wants is waited for, so that the connection can be kept.
const SHORTLY: Duration = Duration::from_millis(50);

/// Answers HTTP on `listener` until `stop`, then drains. `mount` is the path that a web server has put before ours.
pub async fn serve(
    listener: Listener,
    app: Router,
    mount: Mount,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    // The most that other clients and servers take; no client needs more.
    let bounds = Bounds { fields: limits.head.clamp(8 << 10, 64 << 10), time: limits.head_time };
    let mut builder = http1::Builder::new();
    builder
        // These two bounds are kept before hyper sees a head.
        .header_read_timeout(None)
        .max_buf_size(MOST_LINE + bounds.fields + 1024)
        // Simple clients close their sending side after the request and then read.
        .half_close(true)
        .title_case_headers(true);
    let door = Arc::new(Door { builder, bounds, app, mount, limits: limits.clone(), stop: stop.clone() });
    accept::run(listener, limits, stop, move |stream| Arc::clone(&door).connection(stream)).await
}

struct Door {
    builder: http1::Builder,
    bounds: Bounds,
    app: Router,
    mount: Mount,
    limits: Limits,
    stop: CancellationToken,
}

impl Door {
    async fn connection(self: Arc<Self>, stream: Stream) {
        let (peer, signs) = (stream.peer(), Arc::clone(stream.signs()));
        let Some(_share) = self.limits.enter(peer) else { return turn_away(stream).await };
        let verdict = Verdict::default();
        // It ends at the stop, once nothing has begun on it.
        let heads = Heads::new(stream, self.bounds, self.stop.clone(), Arc::clone(&verdict));
        let service = service_fn(|request: Request<Incoming>| {
            let (door, signs, refusal) = (Arc::clone(&self), Arc::clone(&signs), verdict.lock().take());
            async move {
                let response = match refusal {
                    Some(refusal) => closing(&signs, refusal.response(request.headers())),
                    None => door.respond(request, peer, &signs).await,
                };
                signs.begin();
                Ok::<_, Infallible>(response)
            }
        });
        if let Err(error) = self.builder.serve_connection(TokioIo::new(heads), service).await {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }

    /// The answer, and with it the end of the connection if it is the last one.
    async fn respond(&self, request: Request<Incoming>, peer: Option<IpAddr>, signs: &Signs) -> Response<Body> {
        // What follows chunks is never taken for a request: another server may see their end elsewhere.
        let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
        let response = self.answer(request, peer, signs).await;
        match in_chunks {
            true => closing(signs, response),
            false if self.stop.is_cancelled() => last(response),
            false => response,
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Option<IpAddr>, signs: &Signs) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        if !has_host(&parts) {
            return closing(signs, Refusal::BadHost.response(&parts.headers));
        }
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = match self.mount.uri(target, b"", b"") {
            Ok(uri) => uri,
            Err(refusal) => return closing(signs, refusal.response(&parts.headers)),
        };
        let address = forwarded::client(&self.limits.proxies, peer, &parts.headers);
        parts.extensions.insert(Caller { address });
        if body.is_end_stream() {
            return call(&self.app, Request::from_parts(parts, Body::empty())).await;
        }
        self.answer_with_body(parts, (body, address), signs).await
    }

    /// Answers a request whose body is still to come.
    async fn answer_with_body(
        &self,
        parts: Parts,
        (mut body, address): (Incoming, Option<IpAddr>),
        signs: &Signs,
    ) -> Response<Body> {
        let deadline = Instant::now() + self.limits.body_time;
        let accepted = accepted(&parts.headers);
        // Who asks first has sent nothing yet, and must not be told to.
        let asks_first = parts.headers.contains_key(EXPECT);
        if body.size_hint().lower() > u64::try_from(self.limits.body).unwrap_or(u64::MAX) {
            return closing(signs, Refusal::TooLarge.response(&accepted));
        }
        let (lazy, mut source) = awaited(body.size_hint().exact());
        let mut answer = pin!(call(&self.app, Request::from_parts(parts, lazy)));
        let early = tokio::select! {
            biased;
            response = answer.as_mut() => Some(response),
            () = source.asked() => None,
        };
        let refusal = match early {
            None => match whole(&mut body, Buffer::new(&self.limits, address), deadline).await {
                Ok((whole, _share)) => {
                    source.give(whole);
                    return answer.await;
                }
                Err(refusal) => refusal,
            },
            Some(response) if response.status().is_client_error() || response.status().is_server_error() => {
                let is_short = !asks_first && body.size_hint().upper().is_some_and(|most| most <= LITTLE as u64);
                let is_read = is_short
                    && timeout(SHORTLY, rest(&mut body, LITTLE, deadline)).await.is_ok_and(|ended| ended.is_ok());
                return if is_read { response } else { closing(signs, response) };
            }
            // It means nothing here, but no half request is answered as a whole one.
            Some(response) => match rest(&mut body, self.limits.body, deadline).await {
                Ok(()) => return response,
                Err(refusal) => refusal,
            },
        };
        closing(signs, refusal.response(&accepted))
    }
}

/// Whether a request names one host, as it must (RFC 9112, section 3.2); HTTP/1.0 may name none.
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

/// Tells a client whose address has its share, before it has asked for anything: an open connection is what it may not
/// have.
async fn turn_away(mut stream: Stream) {
    let text = Refusal::Share.text();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 2\r\n\
                Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{text}\n", text.len() + 1);
    stream.signs().leave_unread();
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // It is gone soon, whether it listens or not.
    let _ = timeout(5 * SHORTLY, told).await;
}

/// The whole body, and its part of the budget.
async fn whole(body: &mut Incoming, mut buffer: Buffer, deadline: Instant) -> Result<(Bytes, Share), Refusal> {
    if let Some(length) = body.size_hint().exact() {
        buffer.announce(length)?;
    }
    while let Some(data) = next(body, deadline).await? {
        buffer.add(&data)?;
    }
    Ok(buffer.finish())
}

/// Reads and drops a body of at most so many bytes.
async fn rest(body: &mut Incoming, limit: usize, deadline: Instant) -> Result<(), Refusal> {
    let mut left = limit;
    while let Some(data) = next(body, deadline).await? {
        left = left.checked_sub(data.len()).ok_or(Refusal::TooLarge)?;
    }
    Ok(())
}

/// What of a body comes next; none at its end.
async fn next(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, Refusal> {
    match timeout_at(deadline, body.frame()).await {
        Err(_elapsed) => Err(Refusal::Slow),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(Refusal::Broken),
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

/// The headers on which a refusal depends.
fn accepted(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(ACCEPT).iter().map(|value| (ACCEPT, value.clone())).collect()
}

/// The connection is of no use after an answer to a request that was not read to its end.
fn closing(signs: &Signs, response: Response<Body>) -> Response<Body> {
    signs.leave_unread();
    last(response)
}

/// The last answer of a connection.
fn last(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
