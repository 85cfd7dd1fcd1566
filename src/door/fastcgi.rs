//! FastCGI over TCP or Unix sockets: spawned by `mod_fcgid`, or serving `mod_proxy_fcgi`, nginx and others.
//!
//! One request at a time on a connection, any number of connections. A request is called only once it is whole. A panic
//! is an answer of its own; a web server that leaves ends its own connection and nothing else.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until};
use tokio_fastcgi::{RequestResult, Requests, Role};
use tokio_util::sync::CancellationToken;

use super::accept::{self, GRACE};
use super::call::call;
use super::limits::Limits;
use super::listen::Listener;
use super::mount::Mount;
use super::print::print;
use super::records::{Begun, MAX_OPEN};
use super::refusal::Refusal;
use super::stream::Stream;
use super::wire::Wire;
use super::{gateway, length};

/// Up to here a piece of a body is copied behind the head, so that both are one record.
const SMALL: usize = 32 << 10;

/// Answers FastCGI on `listener` until `stop`, then drains. `mount` says whether the web server spawned the program.
pub async fn serve(
    listener: Listener,
    app: Router,
    mount: Mount,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    let door = Arc::new(Door { app, mount, limits, stop: stop.clone() });
    accept::run(listener, limits, stop, move |stream| Arc::clone(&door).connection(stream)).await
}

struct Door {
    app: Router,
    mount: Mount,
    limits: Limits,
    stop: CancellationToken,
}

type Machine = Requests<Wire, Wire>;
type Waiting = tokio_fastcgi::Request<Wire>;

impl Door {
    async fn connection(self: Arc<Self>, stream: Stream) {
        let wire = Wire::new(stream, &self.limits);
        let connections = u8::try_from(self.limits.connections).unwrap_or(u8::MAX);
        let mut machine = Requests::new(wire.clone(), wire.clone(), connections, MAX_OPEN);
        while let Some(request) = self.next(&mut machine, &wire).await {
            if let Err(error) = self.answer(request, &wire).await {
                tracing::debug!(%error, "the web server did not take an answer");
                return;
            }
            if self.stop.is_cancelled() && wire.begun().is_none() {
                break;
            }
        }
        // Dropping the connection then says that nothing follows.
        if let Err(error) = wire.flush().await {
            tracing::debug!(%error, "the web server did not take an answer");
        }
    }

    /// The next request of a connection; none if it is to be closed: its end, broken rules, too slow, idle, or the stop.
    async fn next(&self, machine: &mut Machine, wire: &Wire) -> Option<Waiting> {
        let idle = Instant::now() + self.limits.idle_time;
        let mut check = idle.min(Instant::now() + self.limits.body_time);
        let mut stopping = false;
        let mut next = pin!(machine.next());
        loop {
            tokio::select! {
                biased;
                got = &mut next => match got {
                    Ok(request) => return request,
                    Err(error) => {
                        tracing::debug!(%error, "a FastCGI connection is given up");
                        return None;
                    }
                },
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    check = check.min(Instant::now() + GRACE);
                }
                () = sleep_until(check) => {
                    let now = Instant::now();
                    check = match wire.begun() {
                        Some(since) => since + self.limits.body_time,
                        None if stopping => now,
                        None => idle,
                    };
                    if check <= now {
                        return None;
                    }
                }
            }
        }
    }

    /// Answers one request. An error is the connection's.
    async fn answer(&self, request: Waiting, wire: &Wire) -> Result<(), tokio_fastcgi::Error> {
        let id = request.get_request_id();
        let begun = wire.take(id).unwrap_or_default();
        request
            .process(|request| async move {
                if request.role != Role::Responder {
                    return RequestResult::UnknownRole;
                }
                let sent = match self.respond(begun, wire, id).await {
                    Some((method, response)) => send(request.get_stdout(), wire, &method, response).await,
                    None => false,
                };
                if !sent {
                    wire.break_off();
                }
                RequestResult::Complete(0)
            })
            .await
    }

    /// The response; none if nobody waits for it any more.
    async fn respond(&self, begun: Begun, wire: &Wire, id: u16) -> Option<(Method, Response<Body>)> {
        let parts = match gateway::head(&begun.variables, &self.mount) {
            Ok(parts) => parts,
            Err(refusal) => return Some((Method::GET, begun.refusal.unwrap_or(refusal).response(&HeaderMap::new()))),
        };
        let method = parts.method.clone();
        if let Err(refusal) = self.whole(&begun) {
            return Some((method, refusal.response(&parts.headers)));
        }
        let request = Request::from_parts(parts, Body::from(begun.body.freeze()));
        // A read that nobody waits for is given up. A write goes on: it was asked for.
        let watched = method.is_safe();
        let response = tokio::select! {
            biased;
            response = call(&self.app, request) => response,
            () = wire.gone(id), if watched => return None,
        };
        Some((method, response))
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

/// Sends an answer. False if it broke off: then the end of the answer must not be sent either.
async fn send(mut out: tokio_fastcgi::OutStream<Wire>, wire: &Wire, method: &Method, response: Response<Body>) -> bool {
    let (mut head, body) = print(method, response);
    let mut body = body.unwrap_or_default();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let Ok(data) = frame.into_data() else { continue };
        let written = if head.len() + data.len() <= SMALL {
            head.extend_from_slice(&data);
            out.write(&std::mem::take(&mut head)).await
        } else {
            match out.write(&std::mem::take(&mut head)).await {
                Ok(_) => out.write(&data).await,
                failed => failed,
            }
        };
        // A body that comes bit by bit is meant to be seen bit by bit.
        if written.is_err() || (!body.is_end_stream() && wire.flush().await.is_err()) {
            return false;
        }
    }
    head.is_empty() || out.write(&head).await.is_ok()
}
