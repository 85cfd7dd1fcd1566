//! FastCGI over TCP or Unix sockets: spawned by `mod_fcgid`, or serving `mod_proxy_fcgi`, nginx and others.
//!
//! One request at a time on a connection, any number of connections. A request that is not whole is called as far as its
//! head goes, and gets its body once that is whole. A panic is an answer of its own; a web server that leaves ends its
//! own connection and nothing else.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::accept::{self, GRACE};
use super::awaited::{Source, awaited};
use super::call::{App, call};
use super::limits::Limits;
use super::listen::Listener;
use super::mount::Mount;
use super::output::{self, End};
use super::print::print;
use super::recall::{self, Recall, Recalled};
use super::records::{Begun, Event, Head};
use super::refusal::Refusal;
use super::serial;
use super::wire::Wire;
use super::{gateway, length};
use crate::service::{Caller, Repeat, Taken};

/// Up to here a piece of a body is copied behind the head, so that both are one record.
const SMALL: usize = 32 << 10;

/// Answers FastCGI on `listener` until `stop`, then drains. `mount` says whether the web server spawned the program.
pub async fn serve<A: App>(
    listener: Listener,
    app: A,
    mount: Mount,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    let is_spawned = mount.is_spawned();
    let door = Arc::new(Door { app, mount, limits, stop, recall: Recall::default() });
    if is_spawned {
        return serial::run(listener, door).await;
    }
    let (limits, stop) = (door.limits.clone(), door.stop.clone());
    let handle = move |stream| {
        let wire = Wire::new(stream, &door.limits);
        Arc::clone(&door).connection(wire)
    };
    accept::run(listener, limits, stop, handle).await
}

/// What all connections share.
pub(super) struct Door<A> {
    pub(super) app: A,
    pub(super) mount: Mount,
    pub(super) limits: Limits,
    pub(super) stop: CancellationToken,
    recall: Recall,
}

impl<A: App> Door<A> {
    /// Answers a connection until its end.
    pub(super) async fn connection(self: Arc<Self>, mut wire: Wire) {
        let answered = match self.answer_all(&mut wire).await {
            Ok(()) => wire.close().await,
            Err(error) => Err(error),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "a FastCGI connection is given up");
        }
    }

    async fn answer_all(&self, wire: &mut Wire) -> io::Result<()> {
        // Requests whose bodies are asked for.
        let mut calls: Vec<Call> = vec![];
        let mut idle = Instant::now() + self.limits.idle_time;
        let mut last = None;
        while let Some(event) = self.next(wire, idle, &mut last).await {
            let keep = match event {
                Event::Head(head) => {
                    let (since, asked) = (Instant::now(), self.ask(&head).await);
                    wire.excuse(since.elapsed());
                    match asked {
                        Asked::Call(call) => {
                            calls.push(call);
                            true
                        }
                        Asked::Answered(method, response) => {
                            wire.forget(head.id);
                            let (text, body) = print(&method, response);
                            send(wire, head.id, Reply::New(text, body)).await?;
                            head.keep
                        }
                    }
                }
                Event::Request(begun) => {
                    let (id, keep, since) = (begun.id, begun.keep, Instant::now());
                    match taken(&mut calls, id) {
                        Some(call) => send(wire, id, self.finish(begun, call).await).await?,
                        None => self.answer(begun, wire).await?,
                    }
                    wire.excuse(since.elapsed());
                    idle = Instant::now() + self.limits.idle_time;
                    keep
                }
                Event::GivenUp(begun) => {
                    drop(taken(&mut calls, begun.id));
                    output::end(wire.outgoing(), begun.id, End::Complete);
                    begun.keep
                }
                Event::Values(names) => {
                    output::values(wire.outgoing(), &names, self.limits.connections);
                    true
                }
                Event::Unknown(kind) => {
                    output::unknown(wire.outgoing(), kind);
                    true
                }
            };
            if !keep || self.last(&mut last).is_some_and(|last| wire.begun().is_none_or(|since| since > last)) {
                break;
            }
        }
        Ok(())
    }

    /// Calls a request whose body is still to come, until it is answered without it or asks for it.
    async fn ask(&self, head: &Head) -> Asked {
        let parts = match gateway::head(&head.variables, &self.mount) {
            Ok(parts) => parts,
            Err(refusal) => {
                let (method, headers) = gateway::asked(&head.variables);
                return Asked::Answered(method, refusal.response(&headers));
            }
        };
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        let Some(share) = self.share(&parts) else {
            return Asked::Answered(method, Refusal::Share.response(&headers));
        };
        let length = match length::announced(&head.variables, &self.mount, self.limits.body) {
            Ok(_) if head.is_crowded => return Asked::Answered(method, Refusal::Crowded.response(&headers)),
            Ok(length) => u64::try_from(length).ok(),
            Err(refusal) => return Asked::Answered(method, refusal.response(&headers)),
        };
        let (lazy, mut source) = awaited(length);
        let mut answer: Answering = Box::pin(call(&self.app, Request::from_parts(parts, lazy)));
        let early = tokio::select! {
            biased;
            response = answer.as_mut() => Some(response),
            () = source.asked() => None,
        };
        match early {
            Some(response) if response.status().is_client_error() || response.status().is_server_error() => {
                return Asked::Answered(method, response);
            }
            // It means nothing here, but no half request is answered as a whole one.
            Some(response) => answer = Box::pin(std::future::ready(response)),
            None => {}
        }
        Asked::Call(Call { id: head.id, method, headers, answer, source, _share: share })
    }

    /// What is to be said to a request that has asked for its body, now that it has arrived.
    async fn finish(&self, begun: Begun, call: Call) -> Reply {
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

    /// Until when a request must have begun on a connection; none before the stop. However busy a kept connection is, it
    /// ends once those are answered.
    fn last(&self, last: &mut Option<Instant>) -> Option<Instant> {
        if self.stop.is_cancelled() { Some(*last.get_or_insert_with(|| Instant::now() + GRACE)) } else { None }
    }

    /// What comes next on a connection; none if it is to be closed: its end, broken rules, too slow, idle, or the stop.
    async fn next(&self, wire: &mut Wire, idle: Instant, last: &mut Option<Instant>) -> Option<Event> {
        loop {
            let idle = self.last(last).map_or(idle, |last| idle.min(last));
            // Before anything else: a peer that never pauses leaves no time to wait for the deadline.
            let deadline = wire.deadline(idle, self.limits.body_time);
            if Instant::now() >= deadline {
                return None;
            }
            match wire.next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(malformed) => {
                    tracing::debug!(?malformed, "a FastCGI connection is given up");
                    return None;
                }
            }
            let deadline = wire.deadline(idle, self.limits.body_time);
            tokio::select! {
                biased;
                received = wire.receive() => if !received.is_ok_and(|count| count > 0) { return None },
                () = self.stop.cancelled(), if last.is_none() => {}
                () = sleep_until(deadline) => return None,
            }
        }
    }

    /// Answers one request. An error is the connection's.
    async fn answer(&self, begun: Begun, wire: &mut Wire) -> io::Result<()> {
        let (id, is_safe) = (begun.id, begun.is_safe());
        let reply = watched(self.reply(begun), is_safe, (&mut *wire, id)).await?;
        send(wire, id, reply).await
    }

    /// What is to be said to a request that has arrived. An error is the connection's.
    pub(super) async fn reply(&self, mut begun: Begun) -> io::Result<Reply> {
        if !begun.is_responder() {
            return Ok(Reply::OtherRole);
        }
        let is_bodiless = begun.body.is_empty() && begun.refusal.is_none();
        if is_bodiless && let Some(known) = self.recall.answer(&begun.variables).await {
            return Ok(Reply::Known(known));
        }
        let (method, mut response) = self.respond(&mut begun).await;
        let repeat = response.extensions_mut().remove::<Repeat>();
        let (mut text, body) = print(&method, response);
        // A long body is the store's own bytes, and goes out in pieces.
        let length = body.as_ref().map_or(Some(0), |body| body.size_hint().exact());
        let is_kept = is_bodiless && length.is_some_and(|length| length <= recall::LONGEST as u64);
        let Some(repeat) = repeat.filter(|_| is_kept) else { return Ok(Reply::New(text, body)) };
        let body = body.unwrap_or_default().collect().await.map_err(io::Error::other)?;
        text.extend_from_slice(&body.to_bytes());
        Ok(Reply::Known(self.recall.keep(begun.variables, text, repeat)))
    }

    /// The answer to a request that has arrived.
    async fn respond(&self, begun: &mut Begun) -> (Method, Response<Body>) {
        let parts = match gateway::head(&begun.variables, &self.mount) {
            Ok(parts) => parts,
            Err(refusal) => {
                let (method, headers) = gateway::asked(&begun.variables);
                return (method, begun.refusal.unwrap_or(refusal).response(&headers));
            }
        };
        if let Err(refusal) = self.whole(begun) {
            return (parts.method, refusal.response(&parts.headers));
        }
        let Some(_share) = self.share(&parts) else {
            return (parts.method, Refusal::Share.response(&parts.headers));
        };
        let method = parts.method.clone();
        let (body, _memory) = std::mem::take(&mut begun.body).finish();
        (method, call(&self.app, Request::from_parts(parts, Body::from(body))).await)
    }

    /// A part of what the client's address may have; none if it has that already.
    fn share(&self, parts: &Parts) -> Option<Taken> {
        self.limits.shares.enter(parts.extensions.get::<Caller>().and_then(|caller| caller.address))
    }

    fn whole(&self, begun: &Begun) -> Result<(), Refusal> {
        if let Some(Refusal::LongHead) = begun.refusal {
            return Err(Refusal::LongHead);
        }
        let announced = length::announced(&begun.variables, &self.mount, self.limits.body)?;
        begun.refusal.map_or(Ok(()), Err)?;
        length::arrived(&begun.variables, announced, begun.body.len())
    }
}

/// What became of a request whose body is still to come.
enum Asked {
    /// It wants its body.
    Call(Call),
    /// It is answered without.
    Answered(Method, Response<Body>),
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request that was called and waits for its body.
struct Call {
    id: u16,
    method: Method,
    headers: HeaderMap,
    answer: Answering,
    source: Source,
    _share: Taken,
}

/// Takes the request of this number out of those that were called.
fn taken(calls: &mut Vec<Call>, id: u16) -> Option<Call> {
    let at = calls.iter().position(|call| call.id == id)?;
    Some(calls.swap_remove(at))
}

/// What is said to a request.
pub(super) enum Reply {
    /// All of an answer, as it may be given again.
    Known(Arc<Recalled>),
    /// The head of an answer, and its body if it has one.
    New(Vec<u8>, Option<Body>),
    /// Its role is not played here.
    OtherRole,
}

/// A reply that a connection waits for. A read that nobody waits for any more is given up, which is an error of the
/// connection. A write goes on: it was asked for.
pub(super) async fn watched(
    reply: impl Future<Output = io::Result<Reply>>,
    is_safe: bool,
    (wire, id): (&mut Wire, u16),
) -> io::Result<Reply> {
    tokio::select! {
        biased;
        reply = reply => reply,
        () = wire.gone(id), if is_safe => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Gathers a reply, and sends what cannot wait. If a body breaks off that is an error: the end must not be sent then.
pub(super) async fn send(wire: &mut Wire, id: u16, reply: Reply) -> io::Result<()> {
    wire.begin();
    match reply {
        Reply::Known(known) => wire.part(id, &known.text).await?,
        Reply::New(head, body) => send_bit_by_bit(wire, id, (head, body.unwrap_or_default())).await?,
        Reply::OtherRole => {
            output::end(wire.outgoing(), id, End::UnknownRole);
            return Ok(());
        }
    }
    output::end(wire.outgoing(), id, End::Complete);
    Ok(())
}

async fn send_bit_by_bit(wire: &mut Wire, id: u16, (mut head, mut body): (Vec<u8>, Body)) -> io::Result<()> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if head.len() + data.len() <= SMALL {
            head.extend_from_slice(&data);
            wire.part(id, &std::mem::take(&mut head)).await?;
        } else {
            wire.part(id, &std::mem::take(&mut head)).await?;
            wire.part(id, &data).await?;
        }
        // A body that comes bit by bit is meant to be seen bit by bit.
        if !body.is_end_stream() {
            wire.flush().await?;
        }
    }
    wire.part(id, &head).await
}
