//! The bytes of a blob, which are read while they are sent.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::model::{BlobId, Result};
use crate::store::BlobReader;
use crate::web::body::BodyError;

/// How many bytes are read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A blob, or a part of one. Clones share the open blob.
#[derive(Clone)]
pub(crate) struct BlobContent {
    pub(crate) id: BlobId,
    reader: Arc<dyn BlobReader>,
    /// The length of the whole blob.
    bytes: u64,
    part: Range<u64>,
}

impl BlobContent {
    /// The whole blob.
    pub(crate) fn new(id: BlobId, reader: Arc<dyn BlobReader>, bytes: u64) -> Self {
        Self { id, reader, bytes, part: 0..bytes }
    }

    /// A part of the blob.
    pub(crate) fn part(self, part: Range<u64>) -> Self {
        Self { part, ..self }
    }

    /// The length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.part.end - self.part.start
    }

    /// Whether it is not a part.
    pub(crate) fn is_whole(&self) -> bool {
        self.part == (0..self.bytes)
    }

    pub(crate) fn into_body(self) -> BlobBody {
        BlobBody { content: self, reading: None }
    }
}

impl fmt::Debug for BlobContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobContent").field("id", &self.id).field("part", &self.part).finish_non_exhaustive()
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes>> + Send>>;

/// A blob that is being sent to one client.
pub(crate) struct BlobBody {
    /// What is not read yet.
    content: BlobContent,
    reading: Option<Reading>,
}

impl http_body::Body for BlobBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { content, reading } = &mut *self;
        if content.part.is_empty() {
            return Poll::Ready(None);
        }
        let max_bytes = usize::try_from(content.length()).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = reading.get_or_insert_with(|| {
            let (reader, offset) = (Arc::clone(&content.reader), content.part.start);
            Box::pin(async move { reader.read(offset, max_bytes).await })
        });
        let piece = ready!(piece.as_mut().poll(cx));
        *reading = None;
        let read = piece.map_err(BodyError::from).and_then(|piece| match piece.len() {
            0 => Err(BodyError::from(format!("blob {} is shorter than its entry says", content.id))),
            _ => Ok(piece),
        });
        match read {
            Ok(piece) => {
                content.part.start += piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(error) => {
                // The client sees that the response ends early.
                tracing::error!("{error}");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.part.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.length())
    }
}
