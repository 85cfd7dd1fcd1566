//! A body that is read only once it is asked for. So the Router says what the head of a request decides (no such path, a
//! wrong secret, too much) before anybody has read the body; and who asks for it gets all of it or is never heard again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// The end of the Router.
struct Awaited {
    asks: Option<oneshot::Sender<()>>,
    comes: oneshot::Receiver<Bytes>,
    length: Option<u64>,
    ended: bool,
}

/// The end of the door.
pub(super) struct Source {
    asked: oneshot::Receiver<()>,
    gives: oneshot::Sender<Bytes>,
}

/// A body of that length, if it is known, and where it is to come from.
pub(super) fn awaited(length: Option<u64>) -> (Body, Source) {
    let (asks, asked) = oneshot::channel();
    let (gives, comes) = oneshot::channel();
    (Body::new(Awaited { asks: Some(asks), comes, length, ended: false }), Source { asked, gives })
}

impl Source {
    /// Resolves once the body is asked for; never if it is not wanted.
    pub(super) async fn asked(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the body, all of it.
    pub(super) fn give(self, body: Bytes) {
        // Nobody may want it any more.
        let _ = self.gives.send(body);
    }
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = oneshot::error::RecvError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(asks) = self.asks.take() {
            // If the door has gone, its other channel says so.
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
    async fn body_is_asked_for_when_it_is_read() {
        let (body, mut source) = awaited(Some(4));
        assert_eq!(body.size_hint().exact(), Some(4));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), source.asked()).await;
        assert!(waited.is_err());
        let reading = tokio::spawn(body.collect());
        source.asked().await;
        source.give(Bytes::from_static(b"body"));
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn body_that_never_comes_is_an_error() {
        let (body, source) = awaited(None);
        drop(source);
        assert!(body.collect().await.is_err());
    }
}
