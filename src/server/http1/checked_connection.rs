//! An HTTP/1 connection that checks every head (see `head`) before hyper reads it.
//!
//! Only this file knows where a message ends: the head says how long its body is, and after a chunked body the
//! connection ends with the response, so that no later data is read as a request. So hyper reads one message at a time,
//! and cannot disagree about where the next one begins.

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

use super::head;
use super::head::{CheckedHead, Framing};
use super::sent_again::SentAgain;
use crate::server::error_response::TransportError;
use crate::server::net::accept::STOP_GRACE;

/// How many bytes of a head one read may return.
const READ_BYTES: usize = 4 << 10;

/// How many bytes of empty lines may come before a head. Some clients send one such line by mistake.
const MAX_EMPTY_LINE_BYTES: usize = 1 << 10;

/// How many bytes of a body one read may return. The buffer of hyper does not grow beyond this.
const BODY_READ_BYTES: usize = 32 << 10;

/// The error of the next request from hyper, if its head was rejected.
pub(crate) type HeadError = Arc<Mutex<Option<TransportError>>>;

/// The position of the next byte in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HeadPosition {
    /// In a head.
    Head,
    /// In a body. This many bytes of it are left.
    Body(u64),
    /// In the body of the last request. All further data belongs to it.
    Last,
    /// At the end. Nothing more is read.
    Ended,
}

/// The limits of a head.
#[derive(Clone, Copy)]
pub(crate) struct HeadLimits {
    /// The maximum size of all headers together, in bytes.
    pub(crate) max_field_bytes: usize,
    /// How long a head may take. An idle connection is closed after the same time.
    pub(crate) timeout: Duration,
}

/// A connection that passes on only checked heads and their bodies.
pub(crate) struct CheckedConnection<S> {
    inner: S,
    limits: HeadLimits,
    position: HeadPosition,
    /// Data that has arrived and is not passed on yet.
    raw: BytesMut,
    /// How many bytes of `raw` were searched for the end of a head.
    searched: usize,
    /// How many bytes of empty lines came before the next head.
    dropped: usize,
    /// Data that is passed on next.
    ready: Bytes,
    head_error: HeadError,
    /// Answers requests that were answered before.
    sent_again: SentAgain,
    timer: Pin<Box<Sleep>>,
    is_timer_set: bool,
    stop: CancellationToken,
    /// Resolves a short time after the stop, so that a request that is already on its way is accepted.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> CheckedConnection<S> {
    pub(crate) fn new(
        inner: S,
        limits: HeadLimits,
        stop: CancellationToken,
        head_error: HeadError,
        sent_again: SentAgain,
    ) -> Self {
        let stopping = stop.clone();
        let stopped = async move {
            stopping.cancelled_owned().await;
            sleep(STOP_GRACE).await;
        };
        Self {
            inner,
            limits,
            position: HeadPosition::Head,
            raw: BytesMut::new(),
            searched: 0,
            dropped: 0,
            ready: Bytes::new(),
            head_error,
            sent_again,
            stop,
            timer: Box::pin(sleep(limits.timeout)),
            is_timer_set: false,
            stopped: Box::pin(stopped),
        }
    }

    /// Reads until there is a head to pass on, or the connection ends.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(raw) = ready!(self.sent_again.poll_answer(cx, &mut self.inner))? {
                self.take(head::check(raw));
                return Poll::Ready(Ok(()));
            }
            self.drop_empty_lines();
            if self.dropped > MAX_EMPTY_LINE_BYTES {
                self.reject(TransportError::MalformedHead);
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.end_of_head() {
                let raw = self.raw.split_to(end).freeze();
                if !self.stop.is_cancelled() && self.sent_again.begin(&raw) {
                    self.expect_head();
                    continue;
                }
                let head = match head::check_size(&raw, self.limits.max_field_bytes) {
                    Ok(()) => head::check(raw),
                    Err(error) => head::rejected_head(&raw, error),
                };
                self.take(head);
                return Poll::Ready(Ok(()));
            }
            // The line feed may still follow.
            let may_be_empty_line = *self.raw == *b"\r";
            if let Err(error) = head::check_size(&self.raw, self.limits.max_field_bytes)
                && !may_be_empty_line
            {
                self.reject(error);
                return Poll::Ready(Ok(()));
            }
            let mut piece = [std::mem::MaybeUninit::uninit(); READ_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.inner).poll_read(cx, &mut piece) {
                Poll::Pending => return self.poll_late(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                    self.end(TransportError::IncompleteHead);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {
                    // Each head has its own timeout, which starts with its first bytes.
                    let begins = self.raw.is_empty() && !piece.filled().iter().all(|b| b"\r\n".contains(b));
                    self.is_timer_set &= !begins;
                    self.raw.extend_from_slice(piece.filled());
                }
            }
        }
    }

    /// Checks the timeouts when no data has arrived.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_timer_set {
            self.is_timer_set = true;
            self.timer.as_mut().set(sleep_until(Instant::now() + self.limits.timeout));
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.end(TransportError::HeadTimeout);
            return Poll::Ready(Ok(()));
        }
        if self.raw.is_empty() {
            ready!(self.stopped.as_mut().poll(cx));
            self.position = HeadPosition::Ended;
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

    /// The position after a complete head, as the parser sees it: after an empty line.
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

    /// Passes on a head, and expects its body.
    fn take(&mut self, head: CheckedHead) {
        self.ready = head.text;
        self.expect_head();
        self.position = match head.body {
            Ok(Framing::Length(0)) => HeadPosition::Head,
            Ok(Framing::Length(length)) => HeadPosition::Body(length),
            Ok(Framing::Chunked) => HeadPosition::Last,
            Err(error) => {
                *self.head_error.lock() = Some(error);
                HeadPosition::Ended
            }
        };
    }

    /// Forgets how much of the last head was seen.
    fn expect_head(&mut self) {
        self.searched = 0;
        self.dropped = 0;
        self.is_timer_set = false;
    }

    fn reject(&mut self, error: TransportError) {
        let head = head::rejected_head(&self.raw, error);
        self.raw = BytesMut::new();
        self.take(head);
    }

    /// Ends the connection, because the data has ended or is late. If a part of a head has arrived, the client gets an
    /// error response.
    fn end(&mut self, error: TransportError) {
        self.position = HeadPosition::Ended;
        if !self.raw.is_empty() {
            self.reject(error);
        }
    }

    /// Reads a part of a body into `buf`, which is not empty.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = if let HeadPosition::Body(left) = self.position { left } else { u64::MAX };
        let max_bytes = usize::try_from(left).unwrap_or(usize::MAX).min(BODY_READ_BYTES).min(buf.remaining());
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(max_bytes));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let count = piece.filled().len();
        buf.advance(count);
        self.count_body(count);
        Poll::Ready(Ok(()))
    }

    /// Counts bytes of a body that are passed on.
    fn count_body(&mut self, count: usize) {
        if let HeadPosition::Body(left) = self.position {
            let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
            self.position = if left == 0 { HeadPosition::Head } else { HeadPosition::Body(left) };
        }
    }

    /// The part of a body that has arrived together with its head.
    fn take_buffered_body(&mut self) -> Bytes {
        let max_bytes = match self.position {
            HeadPosition::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
            HeadPosition::Last => usize::MAX,
            HeadPosition::Head | HeadPosition::Ended => 0,
        };
        let body = self.raw.split_to(max_bytes.min(self.raw.len())).freeze();
        self.count_body(body.len());
        body
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CheckedConnection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let count = self.ready.len().min(buf.remaining());
                buf.put_slice(&self.ready.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match self.position {
                HeadPosition::Ended => return Poll::Ready(Ok(())),
                HeadPosition::Head => ready!(self.poll_head(cx))?,
                HeadPosition::Body(_) | HeadPosition::Last => {
                    self.ready = self.take_buffered_body();
                    if self.ready.is_empty() {
                        return self.poll_body(cx, buf);
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CheckedConnection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.sent_again.before_write();
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.sent_again.after_write(&written, &[io::IoSlice::new(buf)]);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sent_again.before_write();
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.sent_again.after_write(&written, bufs);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.sent_again.after_flush();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
