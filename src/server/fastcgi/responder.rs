//! Answers the requests of FastCGI connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::decoder::{DecodedEvent, Head, RequestInProgress};
use super::encoder;
use super::encoder::RequestEnd;
use super::reply::{Reply, answer_early, send};
use crate::server::cgi::base_path::BasePath;
use crate::server::cgi::response::print;
use crate::server::cgi::variables::Variables;
use crate::server::cgi::{body_length, request as cgi_request};
use crate::server::error_response::TransportError;
use crate::server::handler::{Handler, call};
use crate::server::lazy_body::{BodySender, lazy_body};
use crate::server::limits::ServerLimits;
use crate::server::net::accept::STOP_GRACE;
use crate::server::net::stream::Stream;
use crate::server::response_cache;
use crate::server::response_cache::{CachedRequest, ResponseCache};
use crate::web::{Body, ClientAddr, Response, SharePermit};

/// The variables that describe the client. A reusable response does not depend on them.
const CLIENT_VARIABLES: [&[u8]; 4] = [b"REMOTE_PORT", b"REMOTE_ADDR", b"UNIQUE_ID", b"HTTP_USER_AGENT"];

impl CachedRequest for Variables {
    fn is_same(&self, other: &Self) -> bool {
        self.equals_except(other, &CLIENT_VARIABLES)
    }

    fn length(&self) -> usize {
        self.size()
    }
}

/// The state that all connections share.
pub(crate) struct Responder<H> {
    handler: H,
    pub(crate) base_path: BasePath,
    pub(crate) limits: ServerLimits,
    pub(crate) stop: CancellationToken,
    cache: ResponseCache<Variables>,
}

impl<H: Handler> Responder<H> {
    pub(crate) fn new(handler: H, base_path: BasePath, limits: ServerLimits, stop: CancellationToken) -> Self {
        Self { handler, base_path, limits, stop, cache: ResponseCache::default() }
    }

    /// Serves a connection that the runtime has accepted.
    pub(crate) fn serve_stream(self: Arc<Self>, stream: Stream) -> impl Future<Output = ()> + Send + 'static {
        let connection = Connection::new(stream, &self.limits);
        self.serve_connection(connection)
    }

    /// Answers the requests of a connection until it ends.
    pub(crate) async fn serve_connection(self: Arc<Self>, mut connection: Connection) {
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
        let mut idle_deadline = Instant::now() + self.limits.idle_timeout;
        let mut start_deadline = None;
        while let Some(event) = self.next(connection, idle_deadline, &mut start_deadline).await {
            let keep = match event {
                DecodedEvent::Head(head) => {
                    let start = Instant::now();
                    let outcome = self.begin(connection, &head).await;
                    connection.extend_timeouts(start.elapsed());
                    let is_answered = settle(connection, &mut calls, head.id, outcome).await?;
                    !is_answered || head.keep
                }
                DecodedEvent::Piece(id, piece) => match take_call(&mut calls, id) {
                    Some(call) => {
                        let (start, keep) = (Instant::now(), call.keep);
                        let outcome = supply(call, piece).await;
                        connection.extend_timeouts(start.elapsed());
                        let is_answered = settle(connection, &mut calls, id, outcome).await?;
                        !is_answered || keep
                    }
                    None => true,
                },
                DecodedEvent::Request(request) => {
                    let (id, keep, start) = (request.id, request.keep, Instant::now());
                    match take_call(&mut calls, id) {
                        Some(call) => send(connection, id, self.finish(request, call).await).await?,
                        None => self.answer(request, connection).await?,
                    }
                    connection.extend_timeouts(start.elapsed());
                    idle_deadline = Instant::now() + self.limits.idle_timeout;
                    keep
                }
                DecodedEvent::Aborted(request) => {
                    drop(take_call(&mut calls, request.id));
                    encoder::end_request(connection.outgoing(), request.id, RequestEnd::Complete);
                    request.keep
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
            let is_after_stop = self
                .start_deadline(&mut start_deadline)
                .is_some_and(|deadline| connection.arriving_since().is_none_or(|start| start > deadline));
            if !keep || is_after_stop {
                break;
            }
        }
        Ok(())
    }

    /// Calls the handler for a request whose body is still arriving, and supplies what of it has arrived.
    async fn begin(&self, connection: &mut Connection, head: &Head) -> HeadOutcome {
        match self.call_early(head).await {
            HeadOutcome::Call(call) if call.body_sender.is_in_pieces() => {
                let arrived = connection.take_pieces(head.id).unwrap_or_default();
                supply(call, arrived).await
            }
            outcome => outcome,
        }
    }

    /// Calls the handler for a request whose body is still arriving. Returns when the handler responds or asks for the
    /// body.
    async fn call_early(&self, head: &Head) -> HeadOutcome {
        let parts = match cgi_request::head(&head.variables, &self.base_path) {
            Ok(parts) => parts,
            Err(error) => {
                let (method, headers) = cgi_request::method_and_headers(&head.variables);
                return HeadOutcome::Answered(method, error.response(&headers));
            }
        };
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let client = cgi_request::client(&head.variables);
        let Some(share) = self.share(client) else {
            return HeadOutcome::Answered(method, TransportError::ShareUsedUp.response(&headers));
        };
        let length = match body_length::announced(&head.variables, &self.base_path, self.limits.longest_body()) {
            Ok(_) if head.is_over_budget => {
                return HeadOutcome::Answered(method, TransportError::BodyBudgetUsedUp.response(&headers));
            }
            Ok(length) => Some(length),
            Err(error) => return HeadOutcome::Answered(method, error.response(&headers)),
        };
        let (body, mut body_sender) = lazy_body(length);
        let mut response: PendingResponse = Box::pin(call(&self.handler, Request::from_parts(parts, body), client));
        let early = tokio::select! {
            biased;
            response = response.as_mut() => Some(response),
            () = body_sender.requested() => None,
        };
        match early {
            Some(early) if early.status().is_client_error() || early.status().is_server_error() => {
                return HeadOutcome::Answered(method, early);
            }
            // The handler ignores the body, but a request that succeeds must be complete.
            Some(early) => response = Box::pin(std::future::ready(early)),
            None => {}
        }
        HeadOutcome::Call(Call { id: head.id, keep: head.keep, method, headers, response, body_sender, _share: share })
    }

    /// The reply to a request that has arrived and whose handler waits for the body.
    async fn finish(&self, request: RequestInProgress, call: Call) -> Reply {
        let response = match self.check_complete(&request) {
            // The handler takes the last pieces meanwhile.
            Ok(()) if call.body_sender.is_in_pieces() => tokio::join!(call.response, call.body_sender.end()).0,
            Ok(()) => {
                let (body, _memory) = request.body.finish();
                call.body_sender.send(body);
                call.response.await
            }
            Err(error) => error.response(&call.headers),
        };
        let (head, body) = print(&call.method, response);
        Reply::New(head, body)
    }

    /// The time until which a connection accepts new requests after the stop; `None` before the stop. The connection
    /// ends when these requests are answered, even if it is never idle.
    fn start_deadline(&self, deadline: &mut Option<Instant>) -> Option<Instant> {
        if self.stop.is_cancelled() { Some(*deadline.get_or_insert_with(|| Instant::now() + STOP_GRACE)) } else { None }
    }

    /// The next event of a connection. `None` closes the connection: at its end, at the stop, after a timeout or after
    /// a protocol violation.
    async fn next(
        &self,
        connection: &mut Connection,
        idle_deadline: Instant,
        start_deadline: &mut Option<Instant>,
    ) -> Option<DecodedEvent> {
        loop {
            let idle_deadline =
                self.start_deadline(start_deadline).map_or(idle_deadline, |deadline| idle_deadline.min(deadline));
            // Checked here too, because with a peer that never pauses the wait below is never reached.
            let deadline = connection.deadline(idle_deadline, self.limits.body_timeout);
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
            let deadline = connection.deadline(idle_deadline, self.limits.body_timeout);
            tokio::select! {
                biased;
                received = connection.receive() => if !received.is_ok_and(|count| count > 0) { return None },
                () = self.stop.cancelled(), if start_deadline.is_none() => {}
                () = sleep_until(deadline) => return None,
            }
        }
    }

    /// Answers one request. An error ends the connection.
    async fn answer(self: &Arc<Self>, request: RequestInProgress, connection: &mut Connection) -> io::Result<()> {
        let (id, is_safe) = (request.id, request.is_safe());
        let reply = abortable(Arc::clone(self).reply(request), is_safe, connection, id).await?;
        send(connection, id, reply).await
    }

    /// The reply to a request that has arrived. An error ends the connection.
    pub(crate) async fn reply(self: Arc<Self>, mut request: RequestInProgress) -> io::Result<Reply> {
        if !request.is_responder() {
            return Ok(Reply::OtherRole);
        }
        let is_bodiless = request.body.is_empty() && request.error.is_none();
        if is_bodiless && let Some(cached) = self.cache.get(&request.variables).await {
            return Ok(Reply::Cached(cached));
        }
        let (method, mut response) = self.respond(&mut request).await;
        let reusable = response.body_mut().take_reusable();
        let (mut head, body) = print(&method, response);
        // A longer body is sent in pieces, without a copy.
        let length = body.as_ref().map_or(Some(0), Body::length);
        let is_cacheable =
            is_bodiless && length.is_some_and(|length| length <= response_cache::MAX_CACHED_BYTES as u64);
        let Some(reusable) = reusable.filter(|_| is_cacheable) else { return Ok(Reply::New(head, body)) };
        match body.unwrap_or_default().into_whole() {
            Ok(bytes) => head.extend_from_slice(&bytes),
            Err(stream) => head.extend_from_slice(&stream.collect().await.map_err(io::Error::other)?.to_bytes()),
        }
        Ok(Reply::Cached(self.cache.insert(request.variables, head, reusable)))
    }

    /// The response to a request that has arrived.
    async fn respond(&self, request: &mut RequestInProgress) -> (Method, Response) {
        let parts = match cgi_request::head(&request.variables, &self.base_path) {
            Ok(parts) => parts,
            Err(error) => {
                let (method, headers) = cgi_request::method_and_headers(&request.variables);
                return (method, request.error.unwrap_or(error).response(&headers));
            }
        };
        if let Err(error) = self.check_complete(request) {
            return (parts.method, error.response(&parts.headers));
        }
        let client = cgi_request::client(&request.variables);
        let Some(_share) = self.share(client) else {
            return (parts.method, TransportError::ShareUsedUp.response(&parts.headers));
        };
        let method = parts.method.clone();
        let (body, _memory) = std::mem::take(&mut request.body).finish();
        (method, call(&self.handler, Request::from_parts(parts, body.into()), client).await)
    }

    /// A permit from the share of the client's address; `None` if the share is used up.
    fn share(&self, client: ClientAddr) -> Option<SharePermit> {
        self.limits.shares.try_acquire(client.0)
    }

    /// Checks that the head and the body are complete and within the limits.
    fn check_complete(&self, request: &RequestInProgress) -> Result<(), TransportError> {
        if let Some(TransportError::HeadTooLong) = request.error {
            return Err(TransportError::HeadTooLong);
        }
        let announced = body_length::announced(&request.variables, &self.base_path, self.limits.longest_body())?;
        request.error.map_or(Ok(()), Err)?;
        body_length::arrived(&request.variables, announced, request.body_length())
    }
}

/// The result of calling the handler before the body has arrived.
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
    keep: bool,
    method: Method,
    headers: HeaderMap,
    response: PendingResponse,
    body_sender: BodySender,
    _share: SharePermit,
}

/// Supplies a piece of its body to a call, which may respond before the end.
async fn supply(mut call: Call, piece: Bytes) -> HeadOutcome {
    let early = tokio::select! {
        biased;
        () = call.body_sender.send_piece(piece) => None,
        response = call.response.as_mut() => Some(response),
    };
    match early {
        None => HeadOutcome::Call(call),
        Some(response) => HeadOutcome::Answered(call.method, response),
    }
}

/// Keeps a call that waits for more of its body, or sends the response. Returns whether the request was answered.
async fn settle(connection: &mut Connection, calls: &mut Vec<Call>, id: u16, outcome: HeadOutcome) -> io::Result<bool> {
    match outcome {
        HeadOutcome::Call(call) => {
            calls.push(call);
            Ok(false)
        }
        HeadOutcome::Answered(method, response) => {
            answer_early(connection, id, &method, response).await?;
            Ok(true)
        }
    }
}

/// Removes the request with this id from `calls`.
fn take_call(calls: &mut Vec<Call>, id: u16) -> Option<Call> {
    let at = calls.iter().position(|call| call.id == id)?;
    Some(calls.swap_remove(at))
}

/// Waits for a reply. If the web server aborts a safe request, the request is dropped and the result is an error, which
/// ends the connection. A write continues, because the client has sent it.
pub(crate) async fn abortable(
    reply: impl Future<Output = io::Result<Reply>>,
    is_safe: bool,
    connection: &mut Connection,
    id: u16,
) -> io::Result<Reply> {
    tokio::select! {
        biased;
        reply = reply => reply,
        () = connection.aborted(id), if is_safe => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
