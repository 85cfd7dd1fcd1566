//! A request body that is read from the client only when the handler asks for it.
//!
//! So the handler can respond to what the head decides (an unknown path, a wrong secret, a length above the limit)
//! before the body is read. A handler that asks gets the whole body; if the body is incomplete, its call is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use crate::web::Body;

/// The side of the handler.
struct LazyBody {
    asks: Option<oneshot::Sender<()>>,
    comes: oneshot::Receiver<Bytes>,
    length: Option<u64>,
    ended: bool,
}

/// The side of the server.
pub(crate) struct BodySender {
    asked: oneshot::Receiver<()>,
    gives: oneshot::Sender<Bytes>,
}

/// A body of `length` bytes, if that is known, and the sender that supplies it.
pub(crate) fn lazy_body(length: Option<u64>) -> (Body, BodySender) {
    let (asks, asked) = oneshot::channel();
    let (gives, comes) = oneshot::channel();
    (Body::stream(LazyBody { asks: Some(asks), comes, length, ended: false }), BodySender { asked, gives })
}

impl BodySender {
    /// Resolves when the handler asks for the body; never if it does not.
    pub(crate) async fn asked(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Supplies the whole body.
    pub(crate) fn give(self, body: Bytes) {
        // The handler may be gone.
        let _ = self.gives.send(body);
    }
}

impl http_body::Body for LazyBody {
    type Data = Bytes;
    type Error = oneshot::error::RecvError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(asks) = self.asks.take() {
            // If the server is gone, the other channel reports it.
            let _ = asks.send(());
        }
        let came = ready!(Pin::new(&mut self.comes).poll(cx));
        self.ended = true;
        Poll::Ready(Some(came.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if !self.ended => SizeHint::with_exact(length),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn body_is_requested_when_it_is_read() {
        let (body, mut source) = lazy_body(Some(4));
        assert_eq!(body.length(), Some(4));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), source.asked()).await;
        assert!(waited.is_err());
        let reading = tokio::spawn(body.collect());
        source.asked().await;
        source.give(Bytes::from_static(b"body"));
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn body_that_never_arrives_is_an_error() {
        let (body, source) = lazy_body(None);
        drop(source);
        assert!(body.collect().await.is_err());
    }
}
