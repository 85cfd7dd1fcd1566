//! A request body that is read from the client only when the handler asks for it.
//!
//! So the handler can respond before the body is read if the head is enough: an unknown path, a wrong secret, a length
//! above the limit. A handler that asks gets the whole body; if the body is incomplete, the call is dropped. A handler
//! that asks for [pieces](Body::in_pieces) gets them as they arrive, and an error if the body ends early.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

use crate::web::Body;

/// How many pieces may wait for the handler. A server reads no further meanwhile.
const WAITING_PIECES: usize = 2;

/// The body as the handler sees it.
struct LazyBody {
    request_tx: Option<oneshot::Sender<()>>,
    pieces_rx: mpsc::Receiver<Piece>,
    length: Option<u64>,
    ended: bool,
}

enum Piece {
    Data(Bytes),
    /// The rest of the body.
    Last(Bytes),
}

/// The end through which the server supplies the body.
pub(crate) struct BodySender {
    request_rx: oneshot::Receiver<()>,
    pieces_tx: mpsc::Sender<Piece>,
    in_pieces: Arc<AtomicBool>,
}

/// A body that ends before it is complete.
#[derive(Debug)]
struct EndedEarly;

impl std::fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client has not sent the whole body")
    }
}

impl std::error::Error for EndedEarly {}

/// A body of `length` bytes, if that is known, and the sender that supplies it.
pub(crate) fn lazy_body(length: Option<u64>) -> (Body, BodySender) {
    let (request_tx, request_rx) = oneshot::channel();
    let (pieces_tx, pieces_rx) = mpsc::channel(WAITING_PIECES);
    let in_pieces = Arc::new(AtomicBool::new(false));
    let body = LazyBody { request_tx: Some(request_tx), pieces_rx, length, ended: false };
    (Body::lazy(body, Arc::clone(&in_pieces)), BodySender { request_rx, pieces_tx, in_pieces })
}

impl BodySender {
    /// Resolves when the handler asks for the body; never if it does not.
    pub(crate) async fn requested(&mut self) {
        if (&mut self.request_rx).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the handler, which has asked for the body, wants pieces of it.
    pub(crate) fn is_in_pieces(&self) -> bool {
        self.in_pieces.load(Ordering::Relaxed)
    }

    /// Supplies the next piece. Waits until the handler has taken earlier ones, or is gone.
    pub(crate) async fn send_piece(&self, piece: Bytes) {
        // The handler may be gone.
        let _ = self.pieces_tx.send(Piece::Data(piece)).await;
    }

    /// Ends a body of which all pieces were sent.
    pub(crate) async fn end(self) {
        let _ = self.pieces_tx.send(Piece::Last(Bytes::new())).await;
    }

    /// Supplies the whole body.
    pub(crate) fn send(self, body: Bytes) {
        // There is room, and the handler may be gone.
        let _ = self.pieces_tx.try_send(Piece::Last(body));
    }
}

impl http_body::Body for LazyBody {
    type Data = Bytes;
    type Error = EndedEarly;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EndedEarly>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(request_tx) = self.request_tx.take() {
            // If the server is gone, the other channel reports it.
            let _ = request_tx.send(());
        }
        let piece = ready!(self.pieces_rx.poll_recv(cx));
        self.ended = !matches!(piece, Some(Piece::Data(_)));
        Poll::Ready(match piece {
            Some(Piece::Last(data)) if data.is_empty() => None,
            Some(Piece::Data(data) | Piece::Last(data)) => Some(Ok(Frame::data(data))),
            None => Some(Err(EndedEarly)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if self.request_tx.is_some() => SizeHint::with_exact(length),
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
        assert!(!sender.is_in_pieces());
        sender.send(Bytes::from_static(b"body"));
        assert_eq!(reading.await.unwrap().unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn pieces_are_supplied_as_they_are_taken() {
        let (body, mut sender) = lazy_body(None);
        let mut body = body.in_pieces();
        let supplying = tokio::spawn(async move {
            sender.requested().await;
            assert!(sender.is_in_pieces());
            for _ in 0..10 {
                sender.send_piece(Bytes::from_static(b"piece")).await;
            }
            sender.end().await;
        });
        for _ in 0..10 {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
        }
        assert!(body.frame().await.is_none());
        supplying.await.unwrap();
    }

    #[tokio::test]
    async fn body_that_never_arrives_or_ends_early_is_an_error() {
        let (body, sender) = lazy_body(None);
        drop(sender);
        assert!(body.collect().await.is_err());
        let (body, sender) = lazy_body(None);
        sender.send_piece(Bytes::from_static(b"piece")).await;
        drop(sender);
        assert!(body.in_pieces().collect().await.is_err());
    }
}
