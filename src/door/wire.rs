//! One FastCGI connection as the protocol machine sees it: reads come through the sieve, writes are gathered.
//!
//! What is written waits here until the next read needs an answer to be out, until it is much, or until `flush`. So a
//! whole answer goes out in one piece, not in one for each record. Reader and writer are the same value, cloned; they
//! run in one task, so the lock is never contended and never held across an await.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::limits::Limits;
use super::records::{Begun, Sieve};
use super::stream::Stream;

/// From here on, what is written must go out before more is taken.
const HIGH_WATER: usize = 128 << 10;

/// A connection to a web server.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    stream: Stream,
    sieve: Sieve,
    record: Bytes,
    outgoing: BytesMut,
    begun: Option<Instant>,
    ended: bool,
    broken: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stream,
            sieve: Sieve::new(limits),
            record: Bytes::new(),
            outgoing: BytesMut::new(),
            begun: None,
            ended: false,
            broken: false,
        })))
    }

    /// What was gathered of a request that is complete.
    pub(super) fn take(&self, id: u16) -> Option<Begun> {
        let mut inner = self.0.lock();
        let begun = inner.sieve.take(id);
        // What came behind it has its own time.
        inner.begun = (!inner.sieve.is_idle()).then(Instant::now);
        begun
    }

    /// Since when a request has been arriving; none between requests.
    pub(super) fn begun(&self) -> Option<Instant> {
        let inner = self.0.lock();
        inner.begun.filter(|_| !inner.sieve.is_idle())
    }

    /// Ends the connection without an end of the answer, so that half of one is never taken for all of it.
    pub(super) fn break_off(&self) {
        self.0.lock().broken = true;
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.lock().send(cx)).await
    }

    /// Resolves once the web server gives up the request that is being answered. Requests that it has sent in advance
    /// hide that, and stay.
    pub(super) async fn gone(&self, id: u16) {
        poll_fn(|cx| self.0.lock().watch(id, cx)).await;
    }
}

impl Inner {
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing));
            match sent {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.outgoing.advance(count),
                Err(error) => {
                    self.broken = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket into the sieve; `Ok(0)` at its end.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, self.sieve.room()))?;
        if count == 0 {
            self.ended = true;
        } else {
            self.begun.get_or_insert_with(Instant::now);
        }
        Poll::Ready(Ok(count))
    }

    fn watch(&mut self, id: u16, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended || self.sieve.aborts(id) {
            return Poll::Ready(());
        }
        if !self.record.is_empty() || self.sieve.has_more() {
            return Poll::Pending;
        }
        match ready!(self.receive(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) if self.sieve.aborts(id) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.lock();
        // The peer may wait for the last answer before it sends anything further.
        if let Poll::Ready(Err(error)) = inner.send(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if inner.record.is_empty() {
                let next = inner.sieve.next().map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.0))?;
                inner.record = next.unwrap_or_default();
            }
            if !inner.record.is_empty() {
                let part = inner.record.split_to(inner.record.len().min(buf.remaining()));
                buf.put_slice(&part);
                return Poll::Ready(Ok(()));
            }
            if inner.sieve.is_idle() {
                inner.begun = None;
            }
            if inner.ended || ready!(inner.receive(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock();
        if inner.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if inner.outgoing.len() >= HIGH_WATER {
            ready!(inner.send(cx))?;
        }
        inner.outgoing.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    /// The machine flushes after each stream; that would tear the answer apart, so it is left to [`Wire::flush`].
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        ready!(inner.send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    fn wire() -> (Wire, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let limits = Limits::default();
        (Wire::new(Stream::unix(ours, &limits), &limits), theirs)
    }

    #[tokio::test]
    async fn answer_goes_out_when_the_next_record_is_awaited() {
        let (mut wire, mut peer) = wire();
        wire.write_all(b"an answer").await.unwrap();
        AsyncWriteExt::flush(&mut wire).await.unwrap();
        let mut buffer = [0; 32];
        let early = tokio::time::timeout(Duration::from_millis(20), peer.read(&mut buffer)).await;
        assert!(early.is_err(), "gathered, not sent yet");
        let reading = tokio::spawn(async move { wire.read_u8().await });
        assert_eq!(peer.read(&mut buffer).await.unwrap(), 9);
        drop(peer);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn leaving_is_seen_when_the_peer_closes_or_aborts() {
        let (wire, mut peer) = wire();
        peer.write_all(&[1, 2, 0, 5, 0, 0, 0, 0]).await.unwrap();
        wire.gone(5).await;
        let waited = tokio::time::timeout(Duration::from_millis(20), wire.gone(6)).await;
        assert!(waited.is_err(), "the abort is of another request");
        let (wire, peer) = self::wire();
        drop(peer);
        wire.gone(1).await;
    }

    #[tokio::test]
    async fn nothing_is_sent_when_broken_off() {
        let (mut wire, mut peer) = wire();
        wire.write_all(b"half").await.unwrap();
        wire.break_off();
        assert!(wire.write_all(b"more").await.is_err());
        assert!(wire.flush().await.is_err());
        drop(wire);
        assert_eq!(peer.read(&mut [0; 9]).await.unwrap(), 0);
    }
}
