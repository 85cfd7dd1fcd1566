//! Responses that are sent again, past hyper: a client that polls gets the bytes that hyper wrote for the same head.
//!
//! A head is compared byte by byte, so nothing of it is parsed. What hyper writes for a head is recorded if the API
//! permits to send it again; its `Date` is up to two seconds old then. Nothing is sent while hyper may have data that it
//! has not written yet.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{Method, Request, Version};
use hyper::body::{Body as _, Incoming};
use memchr::memmem;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use crate::server::net::stream::StreamState;
use crate::server::response_cache::{CachedRequest, CachedResponse, MAX_CACHED_BYTES, ResponseCache};
use crate::web::{Response, ReusableResponse};

/// The responses of a listener that can be sent again, by the heads of their requests.
pub(crate) type SharedResponses = Arc<ResponseCache<Bytes>>;

impl CachedRequest for Bytes {
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn length(&self) -> usize {
        self.len()
    }
}

/// The permission to send the next response again, from the handler of a connection.
pub(crate) type Permission = Arc<Mutex<Option<Permitted>>>;

pub(crate) struct Permitted {
    reusable: ReusableResponse,
    /// The length of the body that is sent.
    body_bytes: u64,
}

/// Whether the response to a request may be sent again on this connection and others: they are kept after it.
pub(crate) fn may_be_sent_again(request: &Request<Incoming>) -> bool {
    let mut options = request.headers().get_all(CONNECTION).iter();
    request.version() == Version::HTTP_11
        && options.all(|option| option.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        && request.body().is_end_stream()
}

/// Permits to send a response again, if the API does.
pub(crate) fn permit(permission: &Permission, method: &Method, response: &mut Response) {
    let Some(reusable) = response.body_mut().take_reusable() else { return };
    let body_bytes = if method == Method::HEAD { Some(0) } else { response.body().length() };
    if let Some(body_bytes) = body_bytes.filter(|_| !response.headers().contains_key(CONNECTION)) {
        *permission.lock() = Some(Permitted { reusable, body_bytes });
    }
}

/// What a connection does with such responses.
pub(crate) struct SentAgain {
    responses: SharedResponses,
    permission: Permission,
    stream: Arc<StreamState>,
    /// The last complete head.
    head: Bytes,
    recording: Option<Recording>,
    /// Whether everything that hyper has written so far is sent.
    is_flushed: bool,
    answering: Answering,
}

/// What hyper writes for a head.
struct Recording {
    head: Bytes,
    permitted: Permitted,
    bytes: Vec<u8>,
}

type Cached = Arc<CachedResponse<Bytes>>;

enum Answering {
    Nothing,
    /// The API is asked whether the response is still valid.
    Checking(BoxFuture<'static, Option<Cached>>),
    /// This many bytes were written.
    Sending(Cached, usize),
}

impl SentAgain {
    pub(crate) fn new(responses: SharedResponses, permission: Permission, stream: Arc<StreamState>) -> Self {
        Self {
            responses,
            permission,
            stream,
            head: Bytes::new(),
            recording: None,
            is_flushed: true,
            answering: Answering::Nothing,
        }
    }

    /// Begins to answer a request, if there is a response that may be valid. Otherwise hyper must answer.
    pub(crate) fn begin(&mut self, head: &Bytes) -> bool {
        self.head = head.clone();
        let Some(found) = self.responses.find(head).filter(|_| self.is_flushed) else { return false };
        self.answering = Answering::Checking(Box::pin(found.if_valid()));
        true
    }

    /// Continues to answer. The result is a head that hyper must answer, because the response has become invalid.
    pub(crate) fn poll_answer<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut S,
    ) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match &mut self.answering {
                Answering::Nothing => return Poll::Ready(Ok(None)),
                Answering::Checking(checking) => {
                    let Some(response) = ready!(checking.as_mut().poll(cx)) else {
                        self.answering = Answering::Nothing;
                        return Poll::Ready(Ok(Some(self.head.clone())));
                    };
                    self.stream.begin();
                    self.answering = Answering::Sending(response, 0);
                }
                Answering::Sending(response, sent) => {
                    let rest = response.bytes.get(*sent..).unwrap_or_default();
                    if rest.is_empty() {
                        self.answering = Answering::Nothing;
                        return Poll::Ready(Ok(None));
                    }
                    match ready!(Pin::new(&mut *inner).poll_write(cx, rest))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => *sent += count,
                    }
                }
            }
        }
    }

    /// Called before hyper writes.
    pub(crate) fn before_write(&mut self) {
        if let Some(permitted) = self.permission.lock().take() {
            let is_short = permitted.body_bytes <= MAX_CACHED_BYTES as u64;
            // hyper reads the next head after it has begun to write.
            let head = self.head.clone();
            self.recording = (is_short && self.is_flushed).then(|| Recording { head, permitted, bytes: vec![] });
        }
        self.is_flushed = false;
    }

    /// Called after hyper has written the beginning of these bytes.
    pub(crate) fn after_write(&mut self, written: &Poll<io::Result<usize>>, bufs: &[IoSlice<'_>]) {
        let (Some(recording), Poll::Ready(Ok(count))) = (&mut self.recording, written) else { return };
        let mut left = *count;
        for buf in bufs {
            let piece = buf.get(..left.min(buf.len())).unwrap_or_default();
            recording.bytes.extend_from_slice(piece);
            left -= piece.len();
        }
        if recording.bytes.len() > MAX_CACHED_BYTES {
            self.recording = None;
        }
    }

    /// Called when everything that hyper has written is sent.
    pub(crate) fn after_flush(&mut self) {
        self.is_flushed = true;
        if let Some(Recording { head, permitted, bytes }) = self.recording.take() {
            let head_bytes = memmem::find(&bytes, b"\r\n\r\n").map(|at| at as u64 + 4);
            if head_bytes.is_some_and(|head_bytes| bytes.len() as u64 == head_bytes + permitted.body_bytes) {
                self.responses.insert(head, bytes, permitted.reusable);
            }
        }
    }
}
