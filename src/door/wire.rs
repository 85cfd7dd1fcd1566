//! One FastCGI connection within the runtime: requests come through the sieve, answers are gathered.
//!
//! What is written waits here until the next request is awaited, until it is much, or until `flush`. So a whole answer
//! goes out in one piece, not in one for each record.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::limits::Limits;
use super::output;
use super::records::{Event, Malformed, Sieve};
use super::stream::Stream;

/// From here on, what is written must go out before more is taken.
const HIGH_WATER: usize = 128 << 10;

/// A connection to a web server.
pub(super) struct Wire {
    stream: Stream,
    sieve: Sieve,
    /// What was taken from the sieve already.
    ahead: VecDeque<Event>,
    outgoing: Vec<u8>,
    /// How much of it is out.
    sent: usize,
    /// Since when bytes have waited that are no whole record.
    partial: Option<Instant>,
    ended: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, limits: &Limits) -> Self {
        Self::resumed(stream, Sieve::new(limits), VecDeque::new())
    }

    /// A connection of which something was read elsewhere: `ahead` came first, and the sieve holds what followed.
    pub(super) fn resumed(stream: Stream, sieve: Sieve, ahead: VecDeque<Event>) -> Self {
        let partial = sieve.has_more().then(Instant::now);
        Self { stream, sieve, ahead, outgoing: Vec::new(), sent: 0, partial, ended: false }
    }

    /// Since when a request has been arriving, or the begin of one that cannot be read yet; none between requests.
    pub(super) fn begun(&self) -> Option<Instant> {
        self.sieve.oldest().or(self.partial)
    }

    /// When the connection is to be closed if by then nothing has become whole. Records that are no part of a request
    /// win no time: `idle` is when one without a request would be closed.
    pub(super) fn deadline(&self, idle: Instant, patience: Duration) -> Instant {
        match (self.sieve.oldest_timed(), self.partial) {
            (Some(since), _) => since + patience,
            (None, Some(since)) => since.min(idle) + patience,
            (None, None) => idle,
        }
    }

    /// Does not count this time against requests that are arriving: nothing was received meanwhile.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.sieve.excuse(time);
        self.partial = self.partial.map(|since| since + time);
    }

    /// What has come next, of what was received.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        if let Some(event) = self.ahead.pop_front() {
            return Ok(Some(event));
        }
        let now = Instant::now();
        let event = self.sieve.next(now)?;
        if !self.sieve.has_more() {
            self.partial = None;
        } else if event.is_some() {
            self.partial = Some(now);
        }
        Ok(event)
    }

    /// Receives more, and sends what was gathered meanwhile: the peer may wait for the last answer before it sends anything
    /// further. If it does not take its answers, nothing is received that asks for more of them. Returns 0 at the end. Safe
    /// to give up.
    pub(super) async fn receive(&mut self) -> io::Result<usize> {
        poll_fn(|cx| match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.outgoing.len() >= HIGH_WATER => Poll::Pending,
            _ => self.poll_receive(cx),
        })
        .await
    }

    /// Gives up a request that is answered before it was whole; the rest of it is dropped.
    pub(super) fn forget(&mut self, id: u16) {
        self.sieve.forget(id);
        self.stream.signs().leave_unread();
    }

    /// A new answer begins: its time is its own.
    pub(super) fn begin(&self) {
        self.stream.signs().begin();
    }

    /// Sends what was gathered. Dropping the connection then says that nothing follows, unless something was left unread,
    /// which is dropped first.
    pub(super) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        if self.stream.signs().is_unread() { self.stream.shutdown().await } else { Ok(()) }
    }

    /// Where answers are put.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Puts a part of an answer there, and sends what has become too much to wait.
    pub(super) async fn part(&mut self, id: u16, content: &[u8]) -> io::Result<()> {
        for content in content.chunks(HIGH_WATER) {
            output::part(&mut self.outgoing, id, content);
            if self.outgoing.len() >= HIGH_WATER {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Resolves once the web server gives up the request that is being answered. Requests that it has sent in advance
    /// hide that, and stay.
    pub(super) async fn gone(&mut self, id: u16) {
        poll_fn(|cx| self.poll_gone(id, cx)).await;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, self.sieve.room()))?;
        if count == 0 {
            self.ended = true;
        } else {
            self.partial.get_or_insert_with(Instant::now);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_gone(&mut self, id: u16, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended || self.sieve.aborts(id) {
            return Poll::Ready(());
        }
        if self.sieve.has_more() {
            return Poll::Pending;
        }
        match ready!(self.poll_receive(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) if self.sieve.aborts(id) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    fn wire() -> (Wire, UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let limits = Limits::default();
        (Wire::new(Stream::direct(ours.into(), &limits), &limits), UnixStream::from_std(theirs).unwrap())
    }

    #[tokio::test]
    async fn answer_goes_out_when_the_next_request_is_awaited() {
        let (mut wire, mut peer) = wire();
        wire.part(1, b"an answer").await.unwrap();
        let mut buffer = [0; 32];
        let early = tokio::time::timeout(Duration::from_millis(20), peer.read(&mut buffer)).await;
        assert!(early.is_err(), "gathered, not sent yet");
        let receiving = tokio::spawn(async move { wire.receive().await });
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 17);
        drop(peer);
        assert_eq!(receiving.await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn much_goes_out_at_once() {
        let (mut wire, mut peer) = wire();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.map(|_| all.len())
        });
        wire.part(1, &vec![0; 1 << 20]).await.unwrap();
        assert!(wire.outgoing().len() < HIGH_WATER, "most of it is out");
        wire.flush().await.unwrap();
        drop(wire);
        assert!(reading.await.unwrap().unwrap() > 1 << 20);
    }

    #[tokio::test]
    async fn leaving_is_seen_when_the_peer_closes_or_aborts() {
        let (mut wire, mut peer) = wire();
        peer.write_all(&[1, 2, 0, 5, 0, 0, 0, 0]).await.unwrap();
        wire.gone(5).await;
        let waited = tokio::time::timeout(Duration::from_millis(20), wire.gone(6)).await;
        assert!(waited.is_err(), "the abort is of another request");
        let (mut wire, peer) = self::wire();
        drop(peer);
        wire.gone(1).await;
    }
}
