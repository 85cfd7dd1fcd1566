//! FastCGI for a program that a web server has spawned: `mod_fcgid` gives such a one a connection at a time, with one
//! request, which has mostly arrived by then and can be answered at once.
//!
//! So a thread of its own does just this: it takes a connection, reads the request, calls, sends the answer, closes. It
//! asks the runtime nothing and waits for nobody but the next client. Whatever does not go that way (a request that comes
//! bit by bit, a kept connection, an answer that has to be waited for, a client that does not take it) goes on as a task of
//! the runtime, with all that has come so far and all its time limits, while the thread takes the next connection.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::accept::{self, Crew, Trouble, of_one_client};
use super::call::App;
use super::fastcgi::{Door, Reply, send, watched};
use super::listen::Listener;
use super::output::{self, End};
use super::records::{Begun, Event, Sieve};
use super::stream::Stream;
use super::wire::Wire;

/// A request is read in pieces of up to this.
const PIECE: usize = 16 << 10;

/// After so many pieces a request goes on as a task: it is long, or it comes bit by bit.
const PIECES: usize = 16;

/// How long the thread waits for the rest of a request, if no other client waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// A longer answer goes on as a task, and is not gathered as a whole.
const LONG: usize = 256 << 10;

/// Answers on `listener` until the stop, then drains. Without a Unix socket, or a thread to be had, all connections are
/// tasks.
pub(super) async fn run<A: App>(listener: Listener, door: Arc<Door<A>>) -> io::Result<()> {
    let (limits, stop) = (door.limits.clone(), door.stop.clone());
    let (shared, crew) = (Arc::clone(&door), Crew::new(&limits));
    let handle = move |stream| {
        let wire = Wire::new(stream, &door.limits);
        Arc::clone(&door).connection(wire)
    };
    let Some(socket) = listener.unix()? else { return accept::run(listener, limits, stop, handle).await };
    socket.set_nonblocking(true)?;
    // The thread sees the end of the one when the other is dropped.
    let (bell, rope) = UnixStream::pair()?;
    let this = Serial { door: shared, socket, bell, crew: crew.clone(), runtime: Handle::current() };
    let (done, mut ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kvs serial".into()).spawn(move || {
        this.run();
        // Nobody listens any more if the runtime has ended.
        let _ = done.send(());
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread can be had, so answering takes a little longer");
        return accept::run(listener, limits, stop, handle).await;
    }
    let early = tokio::select! {
        outcome = &mut ended => Some(outcome),
        () = stop.cancelled() => None,
    };
    let since = Instant::now();
    drop(rope);
    let outcome = match early {
        Some(outcome) => outcome,
        // A store that holds the thread up does not hold up the end.
        None => timeout_at(since + limits.drain_time, ended).await.unwrap_or(Ok(())),
    };
    accept::end(listener.open()?, crew, &limits, since, handle).await;
    outcome.map_err(|_| io::Error::other("the thread that answers has broken down"))
}

/// What the thread works with.
struct Serial<A> {
    door: Arc<Door<A>>,
    socket: UnixListener,
    bell: UnixStream,
    crew: Crew,
    runtime: Handle,
}

impl<A: App> Serial<A> {
    /// Until the stop.
    fn run(&self) {
        // What is called may ask the runtime for timers and tasks.
        let _entered = self.runtime.enter();
        let mut trouble = Trouble::default();
        let mut piece = vec![0; PIECE];
        while !self.door.stop.is_cancelled() && self.awaits_client() {
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(client) => {
                    trouble.is_over();
                    if catch_unwind(AssertUnwindSafe(|| self.serve(client, &mut piece))).is_err() {
                        tracing::error!("a connection panicked");
                    }
                }
                // It only seemed to be there.
                Err(Errno::AGAIN) => {}
                Err(error) if of_one_client(&error.into()) => {}
                Err(error) => {
                    ready([self.bell.as_fd()], Some(trouble.pause(&error.into())));
                }
            }
        }
    }

    /// Waits for the next client; false at the stop.
    fn awaits_client(&self) -> bool {
        loop {
            match ready([self.socket.as_fd(), self.bell.as_fd()], None) {
                [_, true] => return false,
                [true, false] => return true,
                [false, false] => {}
            }
        }
    }

    /// Waits for more of a request that has begun, unless others wait for this thread; whether there is more.
    fn awaits_more(&self, client: &OwnedFd) -> bool {
        let [more, ..] = ready([client.as_fd(), self.socket.as_fd(), self.bell.as_fd()], Some(PATIENCE));
        more
    }

    fn serve(&self, client: OwnedFd, piece: &mut [u8]) {
        let mut sieve = Sieve::new(&self.door.limits);
        let mut head = None;
        for _ in 0..PIECES {
            match rustix::io::read(&client, &mut *piece) {
                // It has left.
                Ok(0) => return,
                Ok(count) => sieve.room().extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN) if self.awaits_more(&client) => continue,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return tracing::debug!(%error, "a FastCGI connection is given up"),
            }
            match sieve.next(Instant::now()) {
                Ok(None) => {}
                // Its body is mostly right behind.
                Ok(Some(event @ Event::Head(_))) if head.is_none() => head = Some(event),
                Ok(Some(Event::Request(begun))) if !begun.keep && sieve.is_idle() => {
                    return self.answer(client, begun);
                }
                Ok(Some(event)) => return self.go_on(client, sieve, head.into_iter().chain([event]).collect()),
                Err(malformed) => return tracing::debug!(?malformed, "a FastCGI connection is given up"),
            }
        }
        self.go_on(client, sieve, head.into_iter().collect());
    }

    /// Answers the one request of a connection.
    fn answer(&self, client: OwnedFd, begun: Begun) {
        let (id, is_safe) = (begun.id, begun.is_safe());
        let door = Arc::clone(&self.door);
        let mut reply = Box::pin(async move { door.reply(begun).await });
        match reply.as_mut().poll(&mut now()) {
            Poll::Ready(Ok(reply)) => self.say(client, id, reply),
            Poll::Ready(Err(error)) => tracing::debug!(%error, "an answer broke off"),
            Poll::Pending => self.task(client, async move |mut wire| {
                let reply = watched(reply, is_safe, (&mut wire, id)).await?;
                send(&mut wire, id, reply).await?;
                wire.flush().await
            }),
        }
    }

    /// Says what is there already, and leaves the rest to a task.
    fn say(&self, client: OwnedFd, id: u16, reply: Reply) {
        let mut out = Vec::new();
        match reply {
            Reply::Known(known) => whole(&mut out, id, &known.text),
            Reply::OtherRole => output::end(&mut out, id, End::UnknownRole),
            Reply::New(mut text, body) => {
                let mut body = body.unwrap_or_default();
                match gather(&mut text, &mut body) {
                    Ok(true) => whole(&mut out, id, &text),
                    // Without its end nobody takes half an answer for a whole one.
                    Err(error) => return tracing::debug!(%error, "an answer broke off"),
                    Ok(false) => {
                        return self.task(client, async move |mut wire| {
                            send(&mut wire, id, Reply::New(text, Some(body))).await?;
                            wire.flush().await
                        });
                    }
                }
            }
        }
        self.send(client, out);
    }

    /// Sends all that is to be said on a connection.
    fn send(&self, client: OwnedFd, mut out: Vec<u8>) {
        match rustix::net::send(&client, &out, SendFlags::NOSIGNAL) {
            Ok(count) if count == out.len() => return,
            Ok(count) => drop(out.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return tracing::debug!(%error, "the web server did not take an answer"),
        }
        self.task(client, async move |mut wire| {
            *wire.outgoing() = out;
            wire.flush().await
        });
    }

    /// A connection as usual, of which this has come so far.
    fn go_on(&self, client: OwnedFd, sieve: Sieve, ahead: VecDeque<Event>) {
        let wire = Wire::resumed(Stream::direct(client, &self.door.limits), sieve, ahead);
        self.start(Arc::clone(&self.door).connection(wire));
    }

    /// A connection of which only this is left to do.
    fn task<F>(&self, client: OwnedFd, work: impl FnOnce(Wire) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let limits = &self.door.limits;
        let work = work(Wire::new(Stream::direct(client, limits), limits));
        self.start(async move {
            if let Err(error) = work.await {
                tracing::debug!(%error, "a FastCGI connection is given up");
            }
        });
    }

    /// Starts a task once there is room for one more connection; at the stop there need not be.
    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let seat = self.runtime.block_on(self.door.stop.run_until_cancelled(self.crew.seat()));
        match seat {
            Some(Ok(seat)) => self.crew.start(work, Some(seat)),
            _ => self.crew.start(work, None),
        }
    }
}

/// The records of an answer that is here as a whole.
fn whole(out: &mut Vec<u8>, id: u16, text: &[u8]) {
    out.reserve(text.len() + 64);
    output::part(out, id, text);
    output::end(out, id, End::Complete);
}

/// Gathers what of a body is there already, if it is short; whether that is all of it.
fn gather(text: &mut Vec<u8>, body: &mut Body) -> Result<bool, axum::Error> {
    while body.size_hint().exact().is_some_and(|length| length <= LONG as u64) {
        match Pin::new(&mut *body).poll_frame(&mut now()) {
            Poll::Ready(Some(frame)) => text.extend_from_slice(&frame?.into_data().unwrap_or_default()),
            Poll::Ready(None) => return Ok(true),
            Poll::Pending => break,
        }
    }
    Ok(false)
}

/// A context for what is to be ready at once: nobody is woken later.
fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Which of these have something to be read, or an end; waits until one has, but no longer than the patience.
fn ready<const N: usize>(descriptors: [BorrowedFd<'_>; N], patience: Option<Duration>) -> [bool; N] {
    let mut asked = descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(&mut asked, patience.as_ref()) {
        Ok(_) => asked.map(|fd| !fd.revents().is_empty()),
        Err(error) => {
            if error != Errno::INTR {
                tracing::warn!(%error, "cannot wait for clients");
                // For want of memory: soon there may be some.
                std::thread::sleep(PATIENCE);
            }
            [false; N]
        }
    }
}
