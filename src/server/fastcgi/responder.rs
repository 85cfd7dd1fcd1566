//! Answers the requests of FastCGI connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::decoder::{DecodedEvent, Head, RequestInProgress};
use super::encoder;
use super::encoder::RequestEnd;
use super::response_cache;
use super::response_cache::{CachedResponse, ResponseCache};
use crate::server::cgi::base_path::BasePath;
use crate::server::cgi::response::print;
use crate::server::cgi::{body_length, request};
use crate::server::error_response::TransportError;
use crate::server::handler::{Handler, call};
use crate::server::lazy_body::{BodySender, lazy_body};
use crate::server::limits::ServerLimits;
use crate::server::net::accept::STOP_GRACE;
use crate::web::{Body, ClientAddr, Response, SharePermit};

/// Up to this size, a head and a piece of a body are copied together, so that both are one record.
const MAX_COPIED_BYTES: usize = 32 << 10;

/// The state that all connections share.
pub(crate) struct Responder<H> {
    handler: H,
    pub(crate) mount: BasePath,
    pub(crate) limits: ServerLimits,
    pub(crate) stop: CancellationToken,
    cache: ResponseCache,
}

impl<H: Handler> Responder<H> {
    pub(crate) fn new(handler: H, mount: BasePath, limits: ServerLimits, stop: CancellationToken) -> Self {
        Self { handler, mount, limits, stop, cache: ResponseCache::default() }
    }

    /// Answers the requests of a connection until it ends.
    pub(crate) async fn connection(self: Arc<Self>, mut connection: Connection) {
        let answered = match self.answer_all(&mut connection).await {
            Ok(()) => connection.close().await,
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "closing a FastCGI connection");
        }
    }

    async fn answer_all(self: &Arc<Self>, connection: &mut Connection) -> io::Result<()> {
        // Requests whose handlers wait for the body.
        let mut calls: Vec<Call> = vec![];
        let mut idle = Instant::now() + self.limits.idle_timeout;
        let mut last = None;
        while let Some(event) = self.next(connection, idle, &mut last).await {
            let keep = match event {
                DecodedEvent::Head(head) => {
                    let (since, asked) = (Instant::now(), self.ask(&head).await);
                    connection.excuse(since.elapsed());
                    match asked {
                        HeadOutcome::Call(call) => {
                            calls.push(call);
                            true
                        }
                        HeadOutcome::Answered(method, response) => {
                            connection.forget(head.id);
                            let (text, body) = print(&method, response);
                            send(connection, head.id, Reply::New(text, body)).await?;
                            head.keep
                        }
                    }
                }
                DecodedEvent::Request(begun) => {
                    let (id, keep, since) = (begun.id, begun.keep, Instant::now());
                    match taken(&mut calls, id) {
                        Some(call) => send(connection, id, self.finish(begun, call).await).await?,
                        None => self.answer(begun, connection).await?,
                    }
                    connection.excuse(since.elapsed());
                    idle = Instant::now() + self.limits.idle_timeout;
                    keep
                }
                DecodedEvent::Aborted(begun) => {
                    drop(taken(&mut calls, begun.id));
                    encoder::end_request(connection.outgoing(), begun.id, RequestEnd::Complete);
                    begun.keep
                }
                DecodedEvent::Values(names) => {
                    encoder::get_values_result(connection.outgoing(), &names, self.limits.connections);
                    true
                }
                DecodedEvent::Unknown(kind) => {
                    encoder::unknown_type(connection.outgoing(), kind);
                    true
                }
            };
            if !keep || self.last(&mut last).is_some_and(|last| connection.begun().is_none_or(|since| since > last)) {
                break;
            }
        }
        Ok(())
    }

    /// Calls the handler for a request whose body is still arriving, until it responds without the body or asks for it.
    async fn ask(&self, head: &Head) -> HeadOutcome {
        let parts = match request::head(&head.variables, &self.mount) {
            Ok(parts) => parts,
            Err(refusal) => {
                let (method, headers) = request::asked(&head.variables);
                return HeadOutcome::Answered(method, refusal.response(&headers));
            }
        };
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let client = request::client(&head.variables);
        let Some(share) = self.share(client) else {
            return HeadOutcome::Answered(method, TransportError::Share.response(&headers));
        };
        let length = match body_length::announced(&head.variables, &self.mount, self.limits.body) {
            Ok(_) if head.is_crowded => {
                return HeadOutcome::Answered(method, TransportError::Crowded.response(&headers));
            }
            Ok(length) => u64::try_from(length).ok(),
            Err(refusal) => return HeadOutcome::Answered(method, refusal.response(&headers)),
        };
        let (lazy, mut source) = lazy_body(length);
        let mut answer: PendingResponse = Box::pin(call(&self.handler, Request::from_parts(parts, lazy), client));
        let early = tokio::select! {
            biased;
            response = answer.as_mut() => Some(response),
            () = source.asked() => None,
        };
        match early {
            Some(response) if response.status().is_client_error() || response.status().is_server_error() => {
                return HeadOutcome::Answered(method, response);
            }
            // The handler ignores the body, but a request that succeeds must be complete.
            Some(response) => answer = Box::pin(std::future::ready(response)),
            None => {}
        }
        HeadOutcome::Call(Call { id: head.id, method, headers, answer, source, _share: share })
    }

    /// The reply to a request whose handler waits for the body, once the request has arrived.
    async fn finish(&self, begun: RequestInProgress, call: Call) -> Reply {
        let response = match self.whole(&begun) {
            Ok(()) => {
                let (body, _memory) = begun.body.finish();
                call.source.give(body);
                call.answer.await
            }
            Err(refusal) => refusal.response(&call.headers),
        };
        let (text, body) = print(&call.method, response);
        Reply::New(text, body)
    }

    /// When the last request of a connection must have begun; `None` before the stop. However busy a kept connection
    /// is, it ends when these requests are answered.
    fn last(&self, last: &mut Option<Instant>) -> Option<Instant> {
        if self.stop.is_cancelled() { Some(*last.get_or_insert_with(|| Instant::now() + STOP_GRACE)) } else { None }
    }

    /// The next event of a connection; `None` to close it: at its end or the stop, after a timeout or a protocol
    /// violation.
    async fn next(
        &self,
        connection: &mut Connection,
        idle: Instant,
        last: &mut Option<Instant>,
    ) -> Option<DecodedEvent> {
        loop {
            let idle = self.last(last).map_or(idle, |last| idle.min(last));
            // Checked here too, because with a peer that never pauses the wait below is never reached.
            let deadline = connection.deadline(idle, self.limits.body_timeout);
            if Instant::now() >= deadline {
                return None;
            }
            match connection.next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(malformed) => {
                    tracing::debug!(?malformed, "closing a FastCGI connection");
                    return None;
                }
            }
            let deadline = connection.deadline(idle, self.limits.body_timeout);
            tokio::select! {
                biased;
                received = connection.receive() => if !received.is_ok_and(|count| count > 0) { return None },
                () = self.stop.cancelled(), if last.is_none() => {}
                () = sleep_until(deadline) => return None,
            }
        }
    }

    /// Answers one request. An error ends the connection.
    async fn answer(self: &Arc<Self>, begun: RequestInProgress, connection: &mut Connection) -> io::Result<()> {
        let (id, is_safe) = (begun.id, begun.is_safe());
        let reply = watched(Arc::clone(self).reply(begun), is_safe, (&mut *connection, id)).await?;
        send(connection, id, reply).await
    }

    /// The reply to a request that has arrived. An error ends the connection.
    pub(crate) async fn reply(self: Arc<Self>, mut begun: RequestInProgress) -> io::Result<Reply> {
        if !begun.is_responder() {
            return Ok(Reply::OtherRole);
        }
        let is_bodiless = begun.body.is_empty() && begun.refusal.is_none();
        if is_bodiless && let Some(known) = self.cache.answer(&begun.variables).await {
            return Ok(Reply::Known(known));
        }
        let (method, mut response) = self.respond(&mut begun).await;
        let reusable = response.body_mut().take_reusable();
        let (mut text, body) = print(&method, response);
        // A long body consists of bytes of the store, and is sent in pieces.
        let length = body.as_ref().map_or(Some(0), Body::length);
        let is_kept = is_bodiless && length.is_some_and(|length| length <= response_cache::MAX_BODY_BYTES as u64);
        let Some(reusable) = reusable.filter(|_| is_kept) else { return Ok(Reply::New(text, body)) };
        match body.unwrap_or_default().into_whole() {
            Ok(bytes) => text.extend_from_slice(&bytes),
            Err(stream) => text.extend_from_slice(&stream.collect().await.map_err(io::Error::other)?.to_bytes()),
        }
        Ok(Reply::Known(self.cache.keep(begun.variables, text, reusable)))
    }

    /// The response to a request that has arrived.
    async fn respond(&self, begun: &mut RequestInProgress) -> (Method, Response) {
        let parts = match request::head(&begun.variables, &self.mount) {
            Ok(parts) => parts,
            Err(refusal) => {
                let (method, headers) = request::asked(&begun.variables);
                return (method, begun.refusal.unwrap_or(refusal).response(&headers));
            }
        };
        if let Err(refusal) = self.whole(begun) {
            return (parts.method, refusal.response(&parts.headers));
        }
        let client = request::client(&begun.variables);
        let Some(_share) = self.share(client) else {
            return (parts.method, TransportError::Share.response(&parts.headers));
        };
        let method = parts.method.clone();
        let (body, _memory) = std::mem::take(&mut begun.body).finish();
        (method, call(&self.handler, Request::from_parts(parts, body.into()), client).await)
    }

    /// A part of the share of the client's address; `None` if the share is used up.
    fn share(&self, client: ClientAddr) -> Option<SharePermit> {
        self.limits.shares.enter(client.0)
    }

    fn whole(&self, begun: &RequestInProgress) -> Result<(), TransportError> {
        if let Some(TransportError::LongHead) = begun.refusal {
            return Err(TransportError::LongHead);
        }
        let announced = body_length::announced(&begun.variables, &self.mount, self.limits.body)?;
        begun.refusal.map_or(Ok(()), Err)?;
        body_length::arrived(&begun.variables, announced, begun.body.len())
    }
}

/// The state of a request whose body is still arriving.
enum HeadOutcome {
    /// The handler waits for the body.
    Call(Call),
    /// The response does not need the body.
    Answered(Method, Response),
}

type PendingResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A request whose handler waits for the body.
struct Call {
    id: u16,
    method: Method,
    headers: HeaderMap,
    answer: PendingResponse,
    source: BodySender,
    _share: SharePermit,
}

/// Removes the request with this id from `calls`.
fn taken(calls: &mut Vec<Call>, id: u16) -> Option<Call> {
    let at = calls.iter().position(|call| call.id == id)?;
    Some(calls.swap_remove(at))
}

/// The reply to a request.
pub(crate) enum Reply {
    /// A whole response, which may be sent again.
    Known(Arc<CachedResponse>),
    /// The head of a response, and its body if it has one.
    New(Vec<u8>, Option<Body>),
    /// The role of the request is not supported.
    OtherRole,
}

/// Waits for a reply. If the web server aborts a read, the read is dropped and the result is an error, which ends the
/// connection. A write continues, because the client has asked for it.
pub(crate) async fn watched(
    reply: impl Future<Output = io::Result<Reply>>,
    is_safe: bool,
    (connection, id): (&mut Connection, u16),
) -> io::Result<Reply> {
    tokio::select! {
        biased;
        reply = reply => reply,
        () = connection.aborted(id), if is_safe => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Buffers a reply, and sends what does not fit. If the body fails, this is an error, because the end must not be sent
/// then.
pub(crate) async fn send(connection: &mut Connection, id: u16, reply: Reply) -> io::Result<()> {
    connection.begin();
    match reply {
        Reply::Known(known) => connection.part(id, &known.text).await?,
        Reply::New(head, body) => send_bit_by_bit(connection, id, (head, body.unwrap_or_default())).await?,
        Reply::OtherRole => {
            encoder::end_request(connection.outgoing(), id, RequestEnd::UnknownRole);
            return Ok(());
        }
    }
    encoder::end_request(connection.outgoing(), id, RequestEnd::Complete);
    Ok(())
}

async fn send_bit_by_bit(connection: &mut Connection, id: u16, (mut head, body): (Vec<u8>, Body)) -> io::Result<()> {
    let mut body = match body.into_whole() {
        Ok(bytes) => return send_piece(connection, id, (&mut head, &bytes)).await,
        Err(stream) => stream,
    };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        send_piece(connection, id, (&mut head, &data)).await?;
        // The client should get a streamed body piece by piece.
        if !body.is_end_stream() {
            connection.flush().await?;
        }
    }
    connection.part(id, &head).await
}

/// Sends a piece of a body, in one record with the head if both are small.
async fn send_piece(connection: &mut Connection, id: u16, (head, piece): (&mut Vec<u8>, &[u8])) -> io::Result<()> {
    let mut head = std::mem::take(head);
    if head.len() + piece.len() <= MAX_COPIED_BYTES {
        head.extend_from_slice(piece);
        return connection.part(id, &head).await;
    }
    connection.part(id, &head).await?;
    connection.part(id, piece).await
}
