//! A request body that is read from the client only when the handler asks for it.
//!
//! So the handler can respond before the body is read if the head is enough: an unknown path, a wrong secret, a length
//! above the limit. A handler that asks gets the whole body; if the body is incomplete, the call is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use crate::web::Body;

/// The body as the handler sees it.
struct LazyBody {
    request_tx: Option<oneshot::Sender<()>>,
    body_rx: oneshot::Receiver<Bytes>,
    length: Option<u64>,
    ended: bool,
}

/// The end through which the server supplies the body.
pub(crate) struct BodySender {
    request_rx: oneshot::Receiver<()>,
    body_tx: oneshot::Sender<Bytes>,
}

/// A body of `length` bytes, if that is known, and the sender that supplies it.
pub(crate) fn lazy_body(length: Option<u64>) -> (Body, BodySender) {
    let (request_tx, request_rx) = oneshot::channel();
    let (body_tx, body_rx) = oneshot::channel();
    (
        Body::stream(LazyBody { request_tx: Some(request_tx), body_rx, length, ended: false }),
        BodySender { request_rx, body_tx },
    )
}

impl BodySender {
    /// Resolves when the handler asks for the body; never if it does not.
    pub(crate) async fn requested(&mut self) {
        if (&mut self.request_rx).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Supplies the whole body.
    pub(crate) fn send(self, body: Bytes) {
        // The handler may be gone.
        let _ = self.body_tx.send(body);
    }
}

impl http_body::Body for LazyBody {
    type Data = Bytes;
    type Error = oneshot::error::RecvError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(request_tx) = self.request_tx.take() {
            // If the server is gone, the other channel reports it.
            let _ = request_tx.send(());
        }
        let received = ready!(Pin::new(&mut self.body_rx).poll(cx));
        self.ended = true;
        Poll::Ready(Some(received.map(Frame::data)))
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
        let (body, mut sender) = lazy_body(Some(4));
        assert_eq!(body.length(), Some(4));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), sender.requested()).await;
        assert!(waited.is_err());
        let reading = tokio::spawn(body.collect());
        sender.requested().await;
        sender.send(Bytes::from_static(b"body"));
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn body_that_never_arrives_is_an_error() {
        let (body, sender) = lazy_body(None);
        drop(sender);
        assert!(body.collect().await.is_err());
    }
}
