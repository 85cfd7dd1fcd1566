//! A connection, TCP or Unix, with bounds on how long a write may stand still and how long an answer may take. What is
//! said on it is not known here.
//!
//! A Unix connection is made known to the runtime only once it has to be waited for: a web server on the same machine has
//! mostly sent its request by then and takes the answer at once, so that two calls of the system are saved for each.

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

use super::limits::Limits;

/// A usual request fits into this; what is longer takes further reads.
const DIRECT_READ: usize = 4 << 10;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A Unix connection that the runtime does not know yet; none while it is being made known.
    Direct(Option<OwnedFd>),
}

impl Socket {
    /// What `act` comes to without waiting; none if it has to wait, which it does as a socket of the runtime.
    fn directly<T>(&mut self, act: impl FnOnce(&OwnedFd) -> rustix::io::Result<T>) -> Option<io::Result<T>> {
        let Self::Direct(socket) = self else { return None };
        let outcome = act(socket.as_ref()?);
        if !matches!(outcome, Err(Errno::AGAIN | Errno::INTR)) {
            return Some(outcome.map_err(Into::into));
        }
        let known = socket.take().map(StdUnixStream::from).map(UnixStream::from_std)?;
        match known {
            Ok(known) => *self = Self::Unix(known),
            Err(error) => return Some(Err(error)),
        }
        None
    }
}

/// Who takes so many bytes in each second may take an answer of any length. Short spells are no matter.
const LEAST_RATE: u64 = 16 << 10;

/// How much of what a client goes on sending is read and dropped after the last answer,
const DROPPED: usize = 64 << 20;

/// and for how long.
const DROP_TIME: Duration = Duration::from_secs(5);

/// What is to be known of the talk on a connection, told by whoever leads it.
#[derive(Debug)]
pub(super) struct Signs {
    /// A new answer begins.
    begins: AtomicBool,
    /// The client was answered before it had sent all.
    unread: AtomicBool,
}

impl Signs {
    /// A new answer begins: its time is its own.
    pub(super) fn begin(&self) {
        self.begins.store(true, Ordering::Relaxed);
    }

    /// The last answer is given before the client has sent all. Closing under its hands would reset the connection, and
    /// with it the answer; so what it still sends is read and dropped, for a while.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}

/// A span of time in which an answer is sent, and how much of it was taken since it began.
struct Span {
    since: Instant,
    taken: u64,
}

/// How much must be taken in so long a time.
fn least_within(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_mul(LEAST_RATE) / 1000
}

/// An accepted connection.
pub(super) struct Stream {
    socket: Socket,
    peer: Option<IpAddr>,
    patience: Duration,
    /// Since when a write stands still.
    stalled: Option<Instant>,
    answer_time: Duration,
    span: Option<Span>,
    /// Runs while a write stands still, or while at the end is dropped what is left unread.
    timer: Option<Pin<Box<Sleep>>>,
    signs: Arc<Signs>,
    /// How much more is read and dropped.
    dropping: usize,
}

impl Stream {
    pub(super) fn tcp(socket: TcpStream, peer: IpAddr, limits: &Limits) -> Self {
        // Answers are written in one piece; waiting for more would only delay them. Without it things are slower,
        // nothing else.
        let _ = socket.set_nodelay(true);
        // IPv4 clients of an IPv6 socket keep the address that people know.
        let peer = Some(peer.to_canonical());
        Self { peer, ..Self::over(Socket::Tcp(socket), limits) }
    }

    /// A Unix connection that does not block.
    pub(super) fn direct(socket: OwnedFd, limits: &Limits) -> Self {
        Self::over(Socket::Direct(Some(socket)), limits)
    }

    fn over(socket: Socket, limits: &Limits) -> Self {
        Self {
            socket,
            peer: None,
            patience: limits.write_time,
            stalled: None,
            answer_time: limits.response_time,
            span: None,
            timer: None,
            signs: Arc::new(Signs { begins: AtomicBool::new(true), unread: AtomicBool::new(false) }),
            dropping: DROPPED,
        }
    }

    /// Where to tell what is said on it.
    pub(super) fn signs(&self) -> &Arc<Signs> {
        &self.signs
    }

    /// The address of the other side; a Unix socket has none.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// What a write came to; an error once it has stood still too long, or once too little was taken for too long.
    fn bounded(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.signs.begins.load(Ordering::Relaxed) {
            self.signs.begins.store(false, Ordering::Relaxed);
            self.span = None;
        }
        let span = self.span.get_or_insert_with(|| Span { since: Instant::now(), taken: 0 });
        if let Poll::Ready(outcome) = outcome {
            (self.stalled, self.timer) = (None, None);
            span.taken += outcome.as_ref().map_or(0, |count| u64::try_from(*count).unwrap_or(0));
            return Poll::Ready(outcome);
        }
        let now = Instant::now();
        let patient_until = *self.stalled.get_or_insert(now) + self.patience;
        let mut until = span.since + self.answer_time;
        let is_slow = now >= until && span.taken < least_within(self.answer_time);
        if is_slow || now >= patient_until {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody takes the answer")));
        }
        if now >= until {
            *span = Span { since: now, taken: 0 };
            until = now + self.answer_time;
        }
        if self.poll_timer(cx, until.min(patient_until)).is_ready() {
            // To be judged again.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    /// Reads and drops what comes until the end, or until it is much or takes long.
    fn poll_drop_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; DIRECT_READ];
        loop {
            let mut read = ReadBuf::new(&mut piece);
            match Pin::new(&mut *self).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() && self.dropping >= DIRECT_READ => {
                    self.dropping -= read.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let until = *self.stalled.get_or_insert_with(|| Instant::now() + DROP_TIME);
                    return self.poll_timer(cx, until);
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Sockets of the runtime see to this themselves: a peer that sends without a pause must not keep the thread.
        let turn = ready!(poll_proceed(cx));
        let room = buf.initialize_unfilled_to(buf.remaining().min(DIRECT_READ));
        if let Some(read) = self.socket.directly(|fd| rustix::io::read(fd, room)) {
            turn.made_progress();
            return Poll::Ready(read.map(|count| buf.advance(count)));
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
        if let Some(written) = self.socket.directly(|fd| rustix::net::send(fd, buf, SendFlags::NOSIGNAL)) {
            return self.bounded(cx, Poll::Ready(written));
        }
        let outcome = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Direct(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.bounded(cx, outcome)
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
        self.bounded(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets hold nothing back.
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
        if !self.signs.is_unread() || !matches!(ended, Poll::Ready(Ok(()))) {
            return ended;
        }
        self.poll_drop_rest(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn direct() -> (Stream, UnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let limits = Limits { write_time: Duration::from_millis(30), ..Limits::default() };
        (Stream::direct(ours.into(), &limits), UnixStream::from_std(theirs).unwrap())
    }

    #[tokio::test]
    async fn write_fails_when_nobody_reads() {
        let (mut stream, _theirs) = direct();
        let error = stream.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn write_fails_when_too_little_is_read_for_too_long() {
        for (piece, is_enough) in [(64, false), (64 << 10, true)] {
            let (ours, theirs) = StdUnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
            let limits = Limits { response_time: Duration::from_millis(200), ..Limits::default() };
            let mut stream = Stream::direct(ours.into(), &limits);
            let mut theirs = UnixStream::from_std(theirs).unwrap();
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; piece];
                while theirs.read(&mut buffer).await.is_ok_and(|count| count > 0) {
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
    async fn what_has_arrived_is_read_at_once_and_the_rest_waited_for() {
        let (mut stream, mut theirs) = direct();
        theirs.write_all(b"here").await.unwrap();
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.unwrap();
        assert!(matches!(stream.socket, Socket::Direct(_)), "it need not be waited for");
        let later = tokio::spawn(async move {
            stream.read_exact(&mut read).await.unwrap();
            stream.write_all(&read).await.unwrap();
            assert!(matches!(stream.socket, Socket::Unix(_)));
            stream.shutdown().await.unwrap();
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        theirs.write_all(b"late").await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"late");
        later.await.unwrap();
    }
}
