//! One FastCGI connection within the runtime: it decodes requests and buffers responses.
//!
//! Output is buffered until the connection waits for the next request, until there is much of it, or until `flush`. So
//! a whole response is sent in one piece, and not record by record.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::decoder::{DecodedEvent, Decoder, Malformed};
use super::encoder;
use crate::server::limits::ServerLimits;
use crate::server::net::stream::Stream;

/// When this many bytes are buffered, they must be sent before more are added.
const HIGH_WATER_BYTES: usize = 128 << 10;

/// A connection to a web server.
pub(crate) struct Connection {
    stream: Stream,
    decoder: Decoder,
    /// Events that were already taken from the decoder.
    pending: VecDeque<DecodedEvent>,
    outgoing: Vec<u8>,
    /// How many bytes of `outgoing` are already sent.
    sent: usize,
    /// When the incomplete record in the decoder began to arrive.
    partial_since: Option<Instant>,
    ended: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream, limits: &ServerLimits) -> Self {
        Self::resumed(stream, Decoder::new(limits), VecDeque::new())
    }

    /// A connection from which data was already read: first the events in `pending`, then the bytes in `decoder`.
    pub(crate) fn resumed(stream: Stream, decoder: Decoder, pending: VecDeque<DecodedEvent>) -> Self {
        let partial_since = decoder.has_more().then(Instant::now);
        Self { stream, decoder, pending, outgoing: Vec::new(), sent: 0, partial_since, ended: false }
    }

    /// When the incomplete request or record began to arrive; `None` between requests.
    pub(crate) fn arriving_since(&self) -> Option<Instant> {
        self.decoder.oldest_start().or(self.partial_since)
    }

    /// When to close the connection if no event comes before. Records that are not part of a request do not extend
    /// this: without a request, `idle` is the deadline.
    pub(crate) fn deadline(&self, idle: Instant, timeout: Duration) -> Instant {
        match (self.decoder.oldest_timeout_start(), self.partial_since) {
            (Some(since), _) => since + timeout,
            (None, Some(since)) => since.min(idle) + timeout,
            (None, None) => idle,
        }
    }

    /// Extends the timeouts of an incomplete request or record by a time in which nothing was received.
    pub(crate) fn extend_timeouts(&mut self, time: Duration) {
        self.decoder.extend_timeouts(time);
        self.partial_since = self.partial_since.map(|since| since + time);
    }

    /// The next event in the data that was received.
    pub(crate) fn next(&mut self) -> Result<Option<DecodedEvent>, Malformed> {
        if let Some(event) = self.pending.pop_front() {
            return Ok(Some(event));
        }
        let now = Instant::now();
        let event = self.decoder.next(now)?;
        if !self.decoder.has_more() {
            self.partial_since = None;
        } else if event.is_some() {
            self.partial_since = Some(now);
        }
        Ok(event)
    }

    /// Receives more data, and sends buffered output meanwhile: the peer may wait for the last response before it sends
    /// anything else. If the peer does not take its responses, no further requests are received. Returns 0 at the end
    /// of the connection. Cancel safe.
    pub(crate) async fn receive(&mut self) -> io::Result<usize> {
        poll_fn(|cx| match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.outgoing.len() >= HIGH_WATER_BYTES => Poll::Pending,
            _ => self.poll_receive(cx),
        })
        .await
    }

    /// Forgets a request that is answered before it is complete. The rest of it is dropped.
    pub(crate) fn forget(&mut self, id: u16) {
        self.decoder.forget(id);
        self.stream.state().leave_unread();
    }

    /// Takes the body of a request piece by piece from now on. Returns what has arrived of it.
    pub(crate) fn take_pieces(&mut self, id: u16) -> Option<Bytes> {
        self.decoder.take_pieces(id)
    }

    /// Notes that a new response begins, with its own time limit.
    pub(crate) fn begin(&self) {
        self.stream.state().begin();
    }

    /// Sends the buffered output. Then dropping the connection closes it. If data is left unread, it is read and
    /// dropped first.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        if self.stream.state().is_unread() { self.stream.shutdown().await } else { Ok(()) }
    }

    /// The buffer for responses.
    pub(crate) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Adds a part of a response, and sends the buffer when it is full.
    pub(crate) async fn part(&mut self, id: u16, content: &[u8]) -> io::Result<()> {
        for content in content.chunks(HIGH_WATER_BYTES) {
            encoder::stdout(&mut self.outgoing, id, content);
            if self.outgoing.len() >= HIGH_WATER_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends the buffered output.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Resolves when the web server aborts the request that is being answered. If the web server has already sent
    /// further requests, the abort is not seen; the requests are kept.
    pub(crate) async fn aborted(&mut self, id: u16) {
        poll_fn(|cx| self.poll_aborted(id, cx)).await;
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
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, self.decoder.read_buffer()))?;
        if count == 0 {
            self.ended = true;
        } else {
            self.partial_since.get_or_insert_with(Instant::now);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_aborted(&mut self, id: u16, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended || self.decoder.aborts(id) {
            return Poll::Ready(());
        }
        if self.decoder.has_more() {
            return Poll::Pending;
        }
        match ready!(self.poll_receive(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) if self.decoder.aborts(id) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    fn connection() -> (Connection, UnixStream) {
        let (server_end, peer_end) = std::os::unix::net::UnixStream::pair().unwrap();
        server_end.set_nonblocking(true).unwrap();
        peer_end.set_nonblocking(true).unwrap();
        let limits = ServerLimits::default();
        (
            Connection::new(Stream::nonblocking(server_end.into(), &limits), &limits),
            UnixStream::from_std(peer_end).unwrap(),
        )
    }

    #[tokio::test]
    async fn response_is_sent_when_the_next_request_is_awaited() {
        let (mut connection, mut peer) = connection();
        connection.part(1, b"an answer").await.unwrap();
        let mut buffer = [0; 32];
        let early = tokio::time::timeout(Duration::from_millis(20), peer.read(&mut buffer)).await;
        assert!(early.is_err(), "buffered, not sent yet");
        let receiving = tokio::spawn(async move { connection.receive().await });
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 17);
        drop(peer);
        assert_eq!(receiving.await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn large_response_is_sent_before_the_flush() {
        let (mut connection, mut peer) = connection();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.map(|_| all.len())
        });
        connection.part(1, &vec![0; 1 << 20]).await.unwrap();
        assert!(connection.outgoing().len() < HIGH_WATER_BYTES, "most of it is sent");
        connection.flush().await.unwrap();
        drop(connection);
        assert!(reading.await.unwrap().unwrap() > 1 << 20);
    }

    #[tokio::test]
    async fn abort_is_seen_when_the_peer_closes_or_aborts() {
        let (mut connection, mut peer) = connection();
        peer.write_all(&[1, 2, 0, 5, 0, 0, 0, 0]).await.unwrap();
        connection.aborted(5).await;
        let waited = tokio::time::timeout(Duration::from_millis(20), connection.aborted(6)).await;
        assert!(waited.is_err(), "the abort is of another request");
        let (mut connection, peer) = self::connection();
        drop(peer);
        connection.aborted(1).await;
    }
}
