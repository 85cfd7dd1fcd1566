//! Plain HTTP/1 over TCP or a Unix socket, by hyper: keep-alive, time limits, refusal of bodies that are not whole.
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
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::accept::{self, GRACE};
use super::awaited::awaited;
use super::buffer::Buffer;
use super::call::call;
use super::framing::Followed;
use super::limits::Limits;
use super::listen::Listener;
use super::refusal::Refusal;
use super::stream::{Signs, Stream};
use crate::service::{Caller, LITTLE, Share};

/// How long a short body that nobody wants is waited for, so that the connection can be kept.
const SHORTLY: Duration = Duration::from_millis(50);

/// Answers HTTP on `listener` until `stop`, then drains.
pub async fn serve(listener: Listener, app: Router, limits: Limits, stop: CancellationToken) -> io::Result<()> {
    let door = Arc::new(Door { builder: builder(&limits), app, limits: limits.clone(), stop: stop.clone() });
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
        let (peer, signs) = (stream.peer(), Arc::clone(stream.signs()));
        let Some(_share) = self.limits.enter(peer) else { return turn_away(stream).await };
        let service = service_fn(|request| {
            let (door, signs) = (Arc::clone(&self), Arc::clone(&signs));
            async move {
                let response = door.answer(request, peer, &signs).await;
                signs.begin();
                Ok::<_, Infallible>(response)
            }
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

    async fn answer(&self, request: Request<Incoming>, peer: Option<IpAddr>, signs: &Signs) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        // Absolute form names a host that routing does not know of; CONNECT has no path at all.
        let Some(target) = parts.uri.path_and_query().filter(|t| t.path().starts_with('/') || *t == "*") else {
            return closing(signs, Refusal::BadTarget.response(&parts.headers));
        };
        // RFC 9112, section 3.2.
        if parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().count() != 1 {
            return closing(signs, Refusal::BadHost.response(&parts.headers));
        }
        // RFC 9112, section 6.1: what is in the chunks would be taken for the body itself.
        let codings = parts.headers.get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
            return closing(signs, Refusal::BadCoding.response(&parts.headers));
        }
        parts.uri = Uri::from(PathAndQuery::clone(target));
        parts.extensions.insert(Caller { address: peer });
        if body.is_end_stream() {
            return call(&self.app, Request::from_parts(parts, Body::empty())).await;
        }
        self.answer_with_body(parts, body, signs).await
    }

    /// Answers a request whose body is still to come.
    async fn answer_with_body(&self, parts: Parts, mut body: Incoming, signs: &Signs) -> Response<Body> {
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
            None => match whole(&mut body, Buffer::new(&self.limits), deadline).await {
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
fn closing(signs: &Signs, mut response: Response<Body>) -> Response<Body> {
    signs.leave_unread();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
