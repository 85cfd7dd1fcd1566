//! An accepted connection, TCP or Unix, with timeouts for each write and for whole responses. This file does not know
//! the protocol.
//!
//! A Unix connection is registered with the runtime only when it has to wait. A web server on the same machine has
//! usually sent its request by then and takes the response at once, which saves two system calls for each connection.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, Sleep};

use crate::server::limits::ServerLimits;

/// How many bytes one read may return. A usual request fits; a longer one takes several reads.
const DIRECT_READ_BYTES: usize = 4 << 10;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A Unix connection that is not registered with the runtime yet; `None` while it is being registered.
    Direct(Option<OwnedFd>),
}

impl Socket {
    /// The result of `act` if it does not have to wait. Otherwise `None`, and the socket is registered with the
    /// runtime.
    fn try_now<T>(&mut self, act: impl FnOnce(&OwnedFd) -> rustix::io::Result<T>) -> Option<io::Result<T>> {
        let Self::Direct(socket) = self else { return None };
        let outcome = act(socket.as_ref()?);
        if !matches!(outcome, Err(Errno::AGAIN | Errno::INTR)) {
            return Some(outcome.map_err(Into::into));
        }
        let registered = socket.take().map(StdUnixStream::from).map(UnixStream::from_std)?;
        match registered {
            Ok(registered) => *self = Self::Unix(registered),
            Err(error) => return Some(Err(error)),
        }
        None
    }
}

/// A client that reads at least this fast may read a response of any length, and one that sends so fast may send a value
/// of any length. Short pauses do not matter.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;

/// How many bytes from a client are read and dropped after the last response.
const MAX_DRAINED_BYTES: usize = 64 << 20;

/// How long reading them may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the protocol on a connection, set by its server.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// A new response begins.
    begins: AtomicBool,
    /// The client was answered before it had sent everything.
    unread: AtomicBool,
}

impl StreamState {
    /// Notes that a new response begins, with its own time limit.
    pub(crate) fn begin(&self) {
        self.begins.store(true, Ordering::Relaxed);
    }

    /// Notes that the last response is sent before the client has sent everything. Closing the connection at once would
    /// reset it and lose the response, so the rest of the client's data is read and dropped for a while.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}

/// A period in which a response is sent, and the number of bytes that the client has read in it.
struct ResponsePeriod {
    since: Instant,
    taken: u64,
}

/// How many bytes a client must read in this time.
pub(crate) fn min_bytes_in(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_mul(MIN_BYTES_PER_SECOND) / 1000
}

/// An accepted connection.
pub(crate) struct Stream {
    socket: Socket,
    peer: Option<IpAddr>,
    write_timeout: Duration,
    /// When writes began to make no progress.
    stalled: Option<Instant>,
    response_time: Duration,
    period: Option<ResponsePeriod>,
    /// Runs while a write makes no progress, or while the rest of the client's data is dropped at the end.
    timer: Option<Pin<Box<Sleep>>>,
    state: Arc<StreamState>,
    /// How many more bytes may be read and dropped.
    drain_bytes_left: usize,
}

impl Stream {
    pub(crate) fn tcp(socket: TcpStream, peer: IpAddr, limits: &ServerLimits) -> Self {
        // Responses are written in one piece, so waiting for more data only delays them. If this fails, they are only
        // slower.
        let _ = socket.set_nodelay(true);
        // IPv4 clients of an IPv6 socket keep their IPv4 address.
        let peer = Some(peer.to_canonical());
        Self { peer, ..Self::new(Socket::Tcp(socket), limits) }
    }

    /// From a nonblocking Unix socket.
    pub(crate) fn nonblocking(socket: OwnedFd, limits: &ServerLimits) -> Self {
        Self::new(Socket::Direct(Some(socket)), limits)
    }

    fn new(socket: Socket, limits: &ServerLimits) -> Self {
        Self {
            socket,
            peer: None,
            write_timeout: limits.write_timeout,
            stalled: None,
            response_time: limits.response_time,
            period: None,
            timer: None,
            state: Arc::new(StreamState { begins: AtomicBool::new(true), unread: AtomicBool::new(false) }),
            drain_bytes_left: MAX_DRAINED_BYTES,
        }
    }

    pub(crate) fn state(&self) -> &Arc<StreamState> {
        &self.state
    }

    /// The address of the peer; a Unix socket has none.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the outcome of a write. It is an error if writes make no progress for too long, or if the client reads
    /// too slowly.
    fn with_write_timeout(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.state.begins.load(Ordering::Relaxed) {
            self.state.begins.store(false, Ordering::Relaxed);
            self.period = None;
        }
        let period = self.period.get_or_insert_with(|| ResponsePeriod { since: Instant::now(), taken: 0 });
        if let Poll::Ready(outcome) = outcome {
            (self.stalled, self.timer) = (None, None);
            period.taken += outcome.as_ref().map_or(0, |count| u64::try_from(*count).unwrap_or(0));
            return Poll::Ready(outcome);
        }
        let now = Instant::now();
        let stall_deadline = *self.stalled.get_or_insert(now) + self.write_timeout;
        let mut deadline = period.since + self.response_time;
        let is_slow = now >= deadline && period.taken < min_bytes_in(self.response_time);
        if is_slow || now >= stall_deadline {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read the response")));
        }
        if now >= deadline {
            *period = ResponsePeriod { since: now, taken: 0 };
            deadline = now + self.response_time;
        }
        if self.poll_timer(cx, deadline.min(stall_deadline)).is_ready() {
            // The timer has fired, so this function must be called again.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// Reads and drops data until the end, but not too much and not for too long.
    fn poll_drop_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; DIRECT_READ_BYTES];
        loop {
            let mut read = ReadBuf::new(&mut piece);
            match Pin::new(&mut *self).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() && self.drain_bytes_left >= DIRECT_READ_BYTES => {
                    self.drain_bytes_left -= read.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let deadline = *self.stalled.get_or_insert_with(|| Instant::now() + DRAIN_TIMEOUT);
                    return self.poll_timer(cx, deadline);
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A peer that sends without a pause must not occupy the thread. Sockets of the runtime do this themselves.
        let coop = ready!(poll_proceed(cx));
        if let Socket::Direct(_) = self.socket {
            let room = buf.initialize_unfilled_to(buf.remaining().min(DIRECT_READ_BYTES));
            if let Some(read) = self.socket.try_now(|fd| rustix::io::read(fd, room)) {
                coop.made_progress();
                return Poll::Ready(read.map(|count| buf.advance(count)));
            }
        }
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Direct(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.socket.try_now(|fd| rustix::net::send(fd, buf, SendFlags::NOSIGNAL)) {
            return self.with_write_timeout(cx, Poll::Ready(written));
        }
        let outcome = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Direct(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.with_write_timeout(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Direct(_) => {
                let first = bufs.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
                return self.poll_write(cx, first);
            }
        };
        self.with_write_timeout(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Direct(socket) => {
                let end = |fd: &OwnedFd| rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
                Poll::Ready(socket.as_ref().map_or(Ok(()), |fd| end(fd).map_err(Into::into)))
            }
        };
        if !self.state.is_unread() || !matches!(ended, Poll::Ready(Ok(()))) {
            return ended;
        }
        self.poll_drop_rest(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn nonblocking() -> (Stream, UnixStream) {
        let (server_end, peer) = StdUnixStream::pair().unwrap();
        server_end.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let limits = ServerLimits { write_timeout: Duration::from_millis(30), ..ServerLimits::default() };
        (Stream::nonblocking(server_end.into(), &limits), UnixStream::from_std(peer).unwrap())
    }

    #[tokio::test]
    async fn write_fails_when_the_peer_does_not_read() {
        let (mut stream, _peer) = nonblocking();
        let error = stream.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn write_fails_when_the_peer_reads_too_slowly() {
        for (piece, is_enough) in [(64, false), (64 << 10, true)] {
            let (server_end, peer) = StdUnixStream::pair().unwrap();
            server_end.set_nonblocking(true).unwrap();
            peer.set_nonblocking(true).unwrap();
            let limits = ServerLimits { response_time: Duration::from_millis(200), ..ServerLimits::default() };
            let mut stream = Stream::nonblocking(server_end.into(), &limits);
            let mut peer = UnixStream::from_std(peer).unwrap();
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; piece];
                while peer.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            let written = stream.write_all(&vec![0; 4 << 20]).await;
            assert_eq!(written.map_err(|error| error.kind()).is_ok(), is_enough, "{piece}");
            drop(stream);
            reading.abort();
        }
    }

    #[tokio::test]
    async fn socket_is_registered_only_when_a_read_has_to_wait() {
        let (mut stream, mut peer) = nonblocking();
        peer.write_all(b"here").await.unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        assert!(matches!(stream.socket, Socket::Direct(_)), "no wait was needed");
        let later = tokio::spawn(async move {
            stream.read_exact(&mut read).await.unwrap();
            stream.write_all(&read).await.unwrap();
            assert!(matches!(stream.socket, Socket::Unix(_)));
            stream.shutdown().await.unwrap();
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.write_all(b"late").await.unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"late");
        later.await.unwrap();
    }
}
