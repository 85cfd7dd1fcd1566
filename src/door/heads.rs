//! An HTTP/1 connection on which every head is judged (`head`) before hyper reads it.
//!
//! This is the one place that knows where a message ends: the head says how long its body is, and after a body in chunks
//! nothing is taken for a request any more, since the connection ends after its answer. So hyper reads one message at a
//! time, and cannot be of another mind about where the next one begins.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr_iter;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::accept::GRACE;
use super::head::{Framing, Judged, bounded, judged, refused};
use super::refusal::Refusal;

/// A head is read in pieces of up to this.
const PIECE: usize = 4 << 10;

/// The most bytes of empty lines before a head. Clients send one such line by mistake, if any.
const MOST_EMPTY: usize = 1 << 10;

/// A body is read in pieces of up to this, so that the buffer behind stays as small.
const BODY_PIECE: usize = 32 << 10;

/// Why the request is refused that hyper hands on next.
pub(super) type Verdict = Arc<Mutex<Option<Refusal>>>;

/// What is known before the next byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A head is awaited, or has come in part.
    Head,
    /// So much of a body is still to come.
    Body(u64),
    /// Whatever comes belongs to the last request of the connection.
    Last,
    /// Nothing more is read.
    Ended,
}

/// Bounds of a head.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The most bytes of headers.
    pub(super) fields: usize,
    /// How long a head may take; a connection without one is closed after the same time.
    pub(super) time: Duration,
}

/// The connection.
pub(super) struct Heads<S> {
    inner: S,
    bounds: Bounds,
    place: Place,
    /// What has come and was not handed on.
    raw: BytesMut,
    /// How much of that was searched for its end.
    searched: usize,
    /// How many bytes of empty lines came before the head that is awaited.
    dropped: usize,
    /// What is to be handed on now.
    ready: Bytes,
    verdict: Verdict,
    time: Pin<Box<Sleep>>,
    is_timed: bool,
    /// Resolves some time after the stop, so that a request that is on its way is still taken.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Heads<S> {
    pub(super) fn new(inner: S, bounds: Bounds, stop: CancellationToken, verdict: Verdict) -> Self {
        let stopped = async move {
            stop.cancelled_owned().await;
            sleep(GRACE).await;
        };
        Self {
            inner,
            bounds,
            place: Place::Head,
            raw: BytesMut::new(),
            searched: 0,
            dropped: 0,
            ready: Bytes::new(),
            verdict,
            time: Box::pin(sleep(bounds.time)),
            is_timed: false,
            stopped: Box::pin(stopped),
        }
    }

    /// Reads until there is a head to hand on, or an end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.drop_empty_lines();
            if self.dropped > MOST_EMPTY {
                self.refuse(Refusal::Malformed);
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.end_of_head() {
                let raw = self.raw.split_to(end).freeze();
                let head = match bounded(&raw, self.bounds.fields) {
                    Ok(()) => judged(raw),
                    Err(refusal) => refused(&raw, refusal),
                };
                self.take(head);
                return Poll::Ready(Ok(()));
            }
            // The line feed of an empty line may follow.
            let is_half_a_line = *self.raw == *b"\r";
            if let Err(refusal) = bounded(&self.raw, self.bounds.fields)
                && !is_half_a_line
            {
                self.refuse(refusal);
                return Poll::Ready(Ok(()));
            }
            let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.inner).poll_read(cx, &mut piece) {
                Poll::Pending => return self.poll_late(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                    self.end(Refusal::CutHead);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {
                    // A head has its own time, however long the connection was without one.
                    let begins = self.raw.is_empty() && !piece.filled().iter().all(|b| b"\r\n".contains(b));
                    self.is_timed &= !begins;
                    self.raw.extend_from_slice(piece.filled());
                }
            }
        }
    }

    /// Nothing has come: whether it is too late for more.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_timed {
            self.is_timed = true;
            self.time.as_mut().set(sleep_until(Instant::now() + self.bounds.time));
        }
        if self.time.as_mut().poll(cx).is_ready() {
            self.end(Refusal::SlowHead);
            return Poll::Ready(Ok(()));
        }
        if self.raw.is_empty() {
            ready!(self.stopped.as_mut().poll(cx));
            self.place = Place::Ended;
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Empty lines may precede a head (RFC 9112, section 2.2).
    fn drop_empty_lines(&mut self) {
        while let [b'\n', ..] | [b'\r', b'\n', ..] = *self.raw {
            let length = if self.raw.first() == Some(&b'\n') { 1 } else { 2 };
            self.raw.advance(length);
            self.dropped += length;
            self.searched = 0;
        }
    }

    /// Where the head ends that has come, as the parser sees it: behind an empty line.
    fn end_of_head(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(2);
        self.searched = self.raw.len();
        let new = self.raw.get(from..)?;
        memchr_iter(b'\n', new).find_map(|at| match new.get(at + 1..) {
            Some([b'\n', ..]) => Some(from + at + 2),
            Some([b'\r', b'\n', ..]) => Some(from + at + 3),
            _ => None,
        })
    }

    /// Hands a head on, and awaits its body.
    fn take(&mut self, head: Judged) {
        self.ready = head.text;
        self.searched = 0;
        self.dropped = 0;
        self.is_timed = false;
        self.place = match head.body {
            Ok(Framing::Length(0)) => Place::Head,
            Ok(Framing::Length(length)) => Place::Body(length),
            Ok(Framing::Chunked) => Place::Last,
            Err(refusal) => {
                *self.verdict.lock() = Some(refusal);
                Place::Ended
            }
        };
    }

    fn refuse(&mut self, refusal: Refusal) {
        let head = refused(&self.raw, refusal);
        self.raw = BytesMut::new();
        self.take(head);
    }

    /// Nothing more comes, or not in time: that is the end, and if a head has begun it is told.
    fn end(&mut self, refusal: Refusal) {
        self.place = Place::Ended;
        if !self.raw.is_empty() {
            self.refuse(refusal);
        }
    }

    /// Reads some of a body into `buf`, which is not empty.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = if let Place::Body(left) = self.place { left } else { u64::MAX };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(BODY_PIECE).min(buf.remaining());
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let count = piece.filled().len();
        buf.advance(count);
        self.passed(count);
        Poll::Ready(Ok(()))
    }

    /// So much of a body was handed on.
    fn passed(&mut self, count: usize) {
        if let Place::Body(left) = self.place {
            let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
            self.place = if left == 0 { Place::Head } else { Place::Body(left) };
        }
    }

    /// What of a body has come together with its head.
    fn body_at_hand(&mut self) -> Bytes {
        let most = match self.place {
            Place::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Place::Last => usize::MAX,
            Place::Head | Place::Ended => 0,
        };
        let at_hand = self.raw.split_to(most.min(self.raw.len())).freeze();
        self.passed(at_hand.len());
        at_hand
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heads<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let count = self.ready.len().min(buf.remaining());
                buf.put_slice(&self.ready.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match self.place {
                Place::Ended => return Poll::Ready(Ok(())),
                Place::Head => ready!(self.poll_head(cx))?,
                Place::Body(_) | Place::Last => {
                    self.ready = self.body_at_hand();
                    if self.ready.is_empty() {
                        return self.poll_body(cx, buf);
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
