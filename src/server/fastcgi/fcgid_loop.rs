//! The FastCGI loop of a program that `mod_fcgid` has started: one blocking thread, without the runtime.
//!
//! `mod_fcgid` gives such a program one connection at a time, with one request that has usually arrived and can be
//! answered at once. So the thread accepts a connection, reads the request, calls the handler, sends the response and
//! closes. A GET takes six system calls (`poll`, `accept`, `read`, `statx`, `send`, `close`); the C program on libfcgi
//! in the benchmark takes eight. `docs/performance.md` compares the two (`apache`).
//!
//! Everything else continues as a task of the runtime, with all data that has arrived and with all time limits: a
//! request that arrives piece by piece, a kept connection, a response that has to wait, a client that does not read.
//! The thread accepts the next connection meanwhile.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::decoder::{DecodedEvent, Decoder, RequestInProgress};
use super::encoder;
use super::encoder::RequestEnd;
use super::reply::{Reply, send};
use super::responder::{Responder, abortable};
use crate::server::handler::Handler;
use crate::server::net::accept;
use crate::server::net::accept::{AcceptBackoff, ConnectionSet, is_client_error};
use crate::server::net::listener::Listener;
use crate::server::net::stream::Stream;
use crate::web::{Body, BodyError};

/// How many bytes one read may return.
const READ_BYTES: usize = 16 << 10;

/// After this many reads a request continues as a task: it is long, or it arrives piece by piece.
const MAX_READS: usize = 16;

/// How long the thread waits for the rest of a request if no other client waits.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// The longest body, in bytes, that is copied and sent by the thread. A longer response continues as a task.
const MAX_INLINE_RESPONSE_BYTES: usize = 256 << 10;

/// Answers on `listener` until the stop, then drains. If it is not a Unix socket, or if no thread can be started, all
/// connections are tasks.
pub(crate) async fn run<H: Handler>(listener: Listener, responder: Arc<Responder<H>>) -> io::Result<()> {
    let (limits, stop) = (responder.limits.clone(), responder.stop.clone());
    let (shared, connections) = (Arc::clone(&responder), ConnectionSet::new(&limits));
    let handle = move |stream| Arc::clone(&responder).serve_stream(stream);
    let Some(socket) = listener.unix()? else { return accept::run(listener, limits, stop, handle).await };
    socket.set_nonblocking(true)?;
    // Dropping `stop_tx` wakes the thread: `stop_rx` is at its end then.
    let (stop_rx, stop_tx) = UnixStream::pair()?;
    let this = BlockingLoop {
        responder: shared,
        socket,
        stop_rx,
        connections: connections.clone(),
        runtime: Handle::current(),
    };
    let (done, mut ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kvs serial".into()).spawn(move || {
        this.run();
        // The receiver is gone if the runtime has ended.
        let _ = done.send(());
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "cannot start a thread for FastCGI; falling back to async");
        return accept::run(listener, limits, stop, handle).await;
    }
    let early = tokio::select! {
        outcome = &mut ended => Some(outcome),
        () = stop.cancelled() => None,
    };
    let since = Instant::now();
    drop(stop_tx);
    let outcome = match early {
        Some(outcome) => outcome,
        // A store that blocks the thread must not block the shutdown.
        None => timeout_at(since + limits.drain_timeout, ended).await.unwrap_or(Ok(())),
    };
    accept::shut_down(listener.register()?, connections, &limits, since, handle).await;
    outcome.map_err(|_| io::Error::other("worker thread panicked"))
}

/// The state of the thread.
struct BlockingLoop<H> {
    responder: Arc<Responder<H>>,
    socket: UnixListener,
    stop_rx: UnixStream,
    connections: ConnectionSet,
    runtime: Handle,
}

impl<H: Handler> BlockingLoop<H> {
    /// Answers connections until the stop.
    fn run(&self) {
        // The handler may use timers and tasks of the runtime.
        let _entered = self.runtime.enter();
        let mut backoff = AcceptBackoff::default();
        let mut piece = vec![0; READ_BYTES];
        while !self.responder.stop.is_cancelled() && self.awaits_client() {
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(client) => {
                    backoff.reset();
                    if catch_unwind(AssertUnwindSafe(|| self.serve(client, &mut piece))).is_err() {
                        tracing::error!("panic while answering a FastCGI connection");
                    }
                }
                // The client has gone, or another process has accepted it.
                Err(Errno::AGAIN) => {}
                Err(error) if is_client_error(&error.into()) => {}
                Err(error) => {
                    poll_readable([self.stop_rx.as_fd()], Some(backoff.pause(&error.into())));
                }
            }
        }
    }

    /// Waits for the next client. Returns `false` at the stop.
    fn awaits_client(&self) -> bool {
        loop {
            match poll_readable([self.socket.as_fd(), self.stop_rx.as_fd()], None) {
                [_, true] => return false,
                [true, false] => return true,
                [false, false] => {}
            }
        }
    }

    /// Waits for more data of a request, unless another client connects. Returns whether there is more data.
    fn awaits_more(&self, client: &OwnedFd) -> bool {
        let [more, ..] = poll_readable([client.as_fd(), self.socket.as_fd(), self.stop_rx.as_fd()], Some(READ_TIMEOUT));
        more
    }

    fn serve(&self, client: OwnedFd, piece: &mut [u8]) {
        let mut decoder = Decoder::new(&self.responder.limits);
        let mut head = None;
        for _ in 0..MAX_READS {
            match rustix::io::read(&client, &mut *piece) {
                // The web server has closed the connection.
                Ok(0) => return,
                Ok(count) => decoder.read_buffer().extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN) if self.awaits_more(&client) => continue,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return tracing::debug!(%error, "closing a FastCGI connection"),
            }
            match decoder.next(Instant::now()) {
                Ok(None) => {}
                // The body usually follows at once.
                Ok(Some(event @ DecodedEvent::Head(_))) if head.is_none() => head = Some(event),
                Ok(Some(DecodedEvent::Request(request))) if !request.keep && decoder.is_idle() => {
                    return self.answer(client, request);
                }
                Ok(Some(event)) => {
                    return self.continue_as_task(client, decoder, head.into_iter().chain([event]).collect());
                }
                Err(malformed) => return tracing::debug!(?malformed, "closing a FastCGI connection"),
            }
        }
        self.continue_as_task(client, decoder, head.into_iter().collect());
    }

    /// Answers a request that is the only one of its connection.
    fn answer(&self, client: OwnedFd, request: RequestInProgress) {
        let (id, is_safe) = (request.id, request.is_safe());
        let mut reply = Box::pin(Arc::clone(&self.responder).reply(request));
        match reply.as_mut().now_or_never() {
            Some(Ok(reply)) => self.send_reply(client, id, reply),
            Some(Err(error)) => tracing::debug!(%error, "the body of a response failed"),
            None => self.finish_as_task(client, async move |mut connection| {
                let reply = abortable(reply, is_safe, &mut connection, id).await?;
                send(&mut connection, id, reply).await?;
                connection.flush().await
            }),
        }
    }

    /// Sends a reply. If its body is not ready or is too long, a task sends it.
    fn send_reply(&self, client: OwnedFd, id: u16, reply: Reply) {
        let mut out = Vec::new();
        match reply {
            Reply::Cached(response) => write_response(&mut out, id, &response.bytes),
            Reply::OtherRole => encoder::end_request(&mut out, id, RequestEnd::UnknownRole),
            Reply::New(mut response, body) => {
                match append_ready(&mut response, body.unwrap_or_default()) {
                    Ok(None) => write_response(&mut out, id, &response),
                    // The end is not sent, so the web server sees that the response is incomplete.
                    Err(error) => return tracing::debug!(%error, "the body of a response failed"),
                    Ok(Some(body)) => {
                        return self.finish_as_task(client, async move |mut connection| {
                            send(&mut connection, id, Reply::New(response, Some(body))).await?;
                            connection.flush().await
                        });
                    }
                }
            }
        }
        self.send(client, out);
    }

    /// Sends all output of a connection. If the socket does not take it at once, a task sends the rest.
    fn send(&self, client: OwnedFd, mut out: Vec<u8>) {
        match rustix::net::send(&client, &out, SendFlags::NOSIGNAL) {
            Ok(count) if count == out.len() => return,
            Ok(count) => drop(out.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return tracing::debug!(%error, "cannot send a response to the web server"),
        }
        self.finish_as_task(client, async move |mut connection| {
            *connection.outgoing() = out;
            connection.flush().await
        });
    }

    /// Continues a connection as a task, with the data that has arrived.
    fn continue_as_task(&self, client: OwnedFd, decoder: Decoder, pending: VecDeque<DecodedEvent>) {
        let connection = Connection::resumed(Stream::nonblocking(client, &self.responder.limits), decoder, pending);
        self.start(Arc::clone(&self.responder).serve_connection(connection));
    }

    /// Finishes the work on a connection in a task.
    fn finish_as_task<F>(&self, client: OwnedFd, work: impl FnOnce(Connection) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let limits = &self.responder.limits;
        let work = work(Connection::new(Stream::nonblocking(client, limits), limits));
        self.start(async move {
            if let Err(error) = work.await {
                tracing::debug!(%error, "closing a FastCGI connection");
            }
        });
    }

    /// Starts a task when one more connection is allowed, or when the server stops.
    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let permit = self.runtime.block_on(self.responder.stop.run_until_cancelled(self.connections.permit()));
        match permit {
            Some(Ok(permit)) => self.connections.start(work, Some(permit)),
            _ => self.connections.start(work, None),
        }
    }
}

/// Writes the records of a complete response.
fn write_response(out: &mut Vec<u8>, id: u16, bytes: &[u8]) {
    out.reserve(bytes.len() + 64);
    encoder::stdout(out, id, bytes);
    encoder::end_request(out, id, RequestEnd::Complete);
}

/// Appends to `response` the part of a short body that is ready. Returns the rest, if there is one.
fn append_ready(response: &mut Vec<u8>, body: Body) -> Result<Option<Body>, BodyError> {
    let mut stream = match body.into_whole() {
        Ok(bytes) if bytes.len() <= MAX_INLINE_RESPONSE_BYTES => {
            response.extend_from_slice(&bytes);
            return Ok(None);
        }
        Ok(bytes) => return Ok(Some(bytes.into())),
        Err(stream) => stream,
    };
    while stream.length().is_some_and(|length| length <= MAX_INLINE_RESPONSE_BYTES as u64) {
        match stream.frame().now_or_never() {
            Some(Some(frame)) => response.extend_from_slice(&frame?.into_data().unwrap_or_default()),
            Some(None) => return Ok(None),
            None => break,
        }
    }
    Ok(Some(stream))
}

/// Waits until one of these descriptors can be read or is at its end, at most for `timeout`. Returns which ones are.
fn poll_readable<const N: usize>(descriptors: [BorrowedFd<'_>; N], timeout: Option<Duration>) -> [bool; N] {
    let mut poll_fds = descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut poll_fds, timeout.as_ref()) {
        Ok(_) => poll_fds.map(|fd| !fd.revents().is_empty()),
        Err(error) => {
            if error != Errno::INTR {
                tracing::warn!(%error, "cannot poll for clients; retrying");
                // The system is out of memory, so wait before the next try.
                std::thread::sleep(READ_TIMEOUT);
            }
            [false; N]
        }
    }
}
