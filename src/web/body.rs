//! The body of a request or of a response: bytes in one piece, or a stream of bytes.
//!
//! Nearly every body is in one piece, and such a body needs neither a box nor frames. A body of any other kind is a
//! boxed [`http_body::Body`]. This type implements that trait too, so other servers and frameworks can send it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::read::reuse::ReusableResponse;

/// The error of a body that ends early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response of the [`Api`](super::Api).
pub type Response = http::Response<Body>;

type BoxedBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// The body of a request or of a response.
#[derive(Default)]
pub struct Body {
    content: BodyContent,
    reusable: Option<ReusableResponse>,
    /// Set if the body is wanted in pieces.
    in_pieces: Option<Arc<AtomicBool>>,
}

enum BodyContent {
    Whole(Bytes),
    Stream(BoxedBody),
}

impl Default for BodyContent {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body {
    /// An empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that arrives as a stream of frames.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let content = BodyContent::Stream(Box::pin(body.map_err(Into::into)));
        Self { content, ..Self::default() }
    }

    /// A request body that a server supplies when it is polled: whole, or in pieces as it arrives if `in_pieces` is set
    /// by then.
    pub(crate) fn lazy<B>(body: B, in_pieces: Arc<AtomicBool>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Self { in_pieces: Some(in_pieces), ..Self::stream(body) }
    }

    /// Asks the server for pieces of the body as they arrive, which may be longer than the memory.
    pub(crate) fn in_pieces(self) -> Self {
        if let Some(in_pieces) = &self.in_pieces {
            in_pieces.store(true, Ordering::Relaxed);
        }
        self
    }

    /// The length in bytes, if it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.content {
            BodyContent::Whole(bytes) => Some(bytes.len() as u64),
            BodyContent::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// The bytes of a body that is in one piece.
    ///
    /// # Errors
    /// The body itself, if it is a stream.
    pub fn into_whole(mut self) -> Result<Bytes, Self> {
        match std::mem::take(&mut self.content) {
            BodyContent::Whole(bytes) => Ok(bytes),
            stream @ BodyContent::Stream(_) => Err(Self { content: stream, ..self }),
        }
    }

    /// Collects all bytes, at most `limit`.
    ///
    /// # Errors
    /// If there are more, or if the body ends early.
    pub(crate) async fn bytes(self, limit: usize) -> Result<Bytes, CollectError> {
        match self.content {
            BodyContent::Whole(bytes) if bytes.len() <= limit => Ok(bytes),
            BodyContent::Whole(_) => Err(CollectError::TooLarge),
            BodyContent::Stream(mut stream) => {
                let mut all = BytesMut::new();
                while let Some(frame) = stream.frame().await {
                    let Ok(data) = frame.map_err(CollectError::Broken)?.into_data() else { continue };
                    if all.len() + data.len() > limit {
                        return Err(CollectError::TooLarge);
                    }
                    if all.is_empty() && stream.is_end_stream() {
                        return Ok(data);
                    }
                    all.extend_from_slice(&data);
                }
                Ok(all.freeze())
            }
        }
    }

    /// Marks this as the body of a response that a server may send again.
    pub(crate) fn reusable(self, reusable: ReusableResponse) -> Self {
        Self { reusable: Some(reusable), ..self }
    }

    /// Takes the permission to send the response with this body again, if there is one.
    pub fn take_reusable(&mut self) -> Option<ReusableResponse> {
        self.reusable.take()
    }
}

/// The error of collecting a body.
pub(crate) enum CollectError {
    TooLarge,
    Broken(BodyError),
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self { content: BodyContent::Whole(bytes.into()), ..Self::default() }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            BodyContent::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            BodyContent::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            BodyContent::Stream(stream) => Poll::Ready(ready!(stream.as_mut().poll_frame(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            BodyContent::Whole(bytes) => bytes.is_empty(),
            BodyContent::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyContent::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyContent::Stream(stream) => stream.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(text: &'static str) -> Body {
        Body::stream(http_body_util::Full::new(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn both_kinds_of_body_have_the_same_bytes_and_length() {
        for body in [|| Body::from("value"), || streamed("value")] {
            assert_eq!(body().length(), Some(5));
            assert_eq!(body().bytes(5).await.ok().unwrap(), "value");
            assert!(matches!(body().bytes(4).await, Err(CollectError::TooLarge)));
            assert_eq!(http_body_util::BodyExt::collect(body()).await.unwrap().to_bytes(), "value");
        }
    }

    #[test]
    fn only_a_body_in_one_piece_is_whole() {
        assert_eq!(Body::from("value").into_whole().unwrap(), "value");
        assert!(streamed("value").into_whole().is_err());
        assert_eq!(Body::empty().into_whole().unwrap(), "");
    }
}
