//! JSON responses that contain values. Their length is computed first; their bytes are generated while they are sent.
//!
//! In JSON a value may be six times as long, and a slow client may take minutes to read it. So a response keeps little
//! more than references to the values of the store. A value that the store has dropped is charged to a budget.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use serde::Serialize;

use super::api_error::ApiError;
use super::blob_content::BlobContent;
use crate::web::body::Body;
use crate::web::budget::{Budget, SMALL_BODY_BYTES, Share};

/// How many bytes are generated at a time, approximately.
const FRAME_BYTES: usize = 32 << 10;

/// How many bytes of a value are encoded in one step: a multiple of three, so that the base64 has no padding in the
/// middle.
const STEP_BYTES: usize = 3 << 10;

/// Values up to this size are encoded immediately.
const MAX_INLINE_BYTES: usize = 256;

/// The content of a response. Clones share it.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The bytes themselves.
    Whole(Bytes),
    /// Parts from which the bytes are generated.
    Composed(Arc<Composed>),
    /// A blob. Only values are blobs.
    Blob(BlobContent),
}

/// The parts of a response.
#[derive(Debug)]
pub(crate) struct Composed {
    pieces: Vec<Piece>,
    length: u64,
    _share: Share,
}

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    /// The inner part of a JSON string.
    Escaped(Bytes),
    Base64(Bytes),
}

impl Content {
    /// Charges a value to the budget if nothing else refers to its memory.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn charge_if_unique(self, budget: &Budget) -> Result<Self, ApiError> {
        match self {
            Self::Whole(value) if value.is_unique() => {
                let charge = value.len();
                Self::charged(value, charge, budget)
            }
            same => Ok(same),
        }
    }

    fn charged(bytes: Bytes, charge: usize, budget: &Budget) -> Result<Self, ApiError> {
        if charge <= SMALL_BODY_BYTES {
            return Ok(Self::Whole(bytes));
        }
        let share = budget.take(charge).ok_or_else(ApiError::response_budget_used_up)?;
        Ok(Self::Whole(Bytes::from_owner(Charged { bytes, _share: share })))
    }

    #[cfg(test)]
    fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Composed(composed) => composed.length,
            Self::Blob(blob) => blob.length(),
        }
    }

    /// Calls `visit` with all bytes, part by part, except those of a blob.
    pub(crate) fn for_each_part(&self, mut visit: impl FnMut(&[u8])) {
        match self {
            Self::Whole(bytes) => visit(bytes),
            Self::Composed(composed) => {
                let (mut position, mut out) = (Position::default(), Vec::with_capacity(2 * FRAME_BYTES));
                while composed.fill(&mut position, &mut out) {
                    visit(&out);
                    out.clear();
                }
            }
            Self::Blob(_) => {}
        }
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        match content {
            Content::Whole(bytes) => Self::from(bytes),
            Content::Composed(composed) => {
                let left = composed.length;
                Self::stream(ComposedBody { composed, position: Position::default(), left })
            }
            Content::Blob(blob) => Self::stream(blob.into_body()),
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

/// Bytes that are charged to a budget until they are dropped.
struct Charged {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The position of the next byte to generate.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    piece: usize,
    offset: usize,
}

impl Composed {
    /// Generates the next bytes; false at the end.
    fn fill(&self, position: &mut Position, out: &mut Vec<u8>) -> bool {
        while out.len() < FRAME_BYTES
            && let Some(piece) = self.pieces.get(position.piece)
        {
            let source = piece.source();
            let rest = source.get(position.offset..).unwrap_or_default();
            let (part, more) = rest.split_at(rest.len().min(STEP_BYTES));
            piece.encode(part, out);
            *position = match more {
                [] => Position { piece: position.piece + 1, offset: 0 },
                _ => Position { offset: position.offset + part.len(), ..*position },
            };
        }
        !out.is_empty()
    }
}

impl Piece {
    fn source(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Escaped(bytes) | Self::Base64(bytes) => bytes,
        }
    }

    fn encode(&self, part: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text(_) => out.extend_from_slice(part),
            Self::Escaped(_) => escape(part, out),
            Self::Base64(_) => out.extend_from_slice(STANDARD.encode(part).as_bytes()),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::Escaped(bytes) => bytes.iter().map(|byte| escaped_length(*byte)).sum(),
            Self::Base64(bytes) => bytes.len().div_ceil(3) as u64 * 4,
        }
    }
}

/// The length of a byte in a JSON string, escaped as `serde_json` does.
fn escaped_length(byte: u8) -> u64 {
    match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..0x20 => 6,
        _ => 1,
    }
}

fn escape(mut part: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = part.iter().position(|byte| escaped_length(*byte) > 1) {
        let (plain, rest) = part.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, rest)) = rest.split_first() else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        part = rest;
    }
    out.extend_from_slice(part);
}

/// The length of a value in JSON, without the quotes.
pub(crate) fn length_in_json(value: &Bytes) -> u64 {
    json_piece(value).length()
}

fn json_piece(value: &Bytes) -> Piece {
    match std::str::from_utf8(value) {
        Ok(_) => Piece::Escaped(value.clone()),
        Err(_) => Piece::Base64(value.clone()),
    }
}

/// Builds a response from text and values.
#[derive(Default)]
pub(crate) struct Composer {
    /// The text after the last piece.
    text: Vec<u8>,
    pieces: Vec<Piece>,
    /// How many bytes are in memory only for this response.
    unique_bytes: usize,
}

impl Composer {
    /// Adds text unchanged.
    pub(crate) fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Adds a value as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        serde_json::to_writer(&mut self.text, value)
            .map_err(|error| ApiError::internal(&format!("cannot write JSON: {error}")))
    }

    /// Adds a struct as JSON without its closing brace, so that more members can follow.
    pub(crate) fn open_object(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        self.json(value)?;
        self.text.pop();
        Ok(())
    }

    /// Adds the members of a struct to the open object, and closes it.
    pub(crate) fn close_object(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        let at = self.text.len();
        self.json(value)?;
        if let Some(brace) = self.text.get_mut(at) {
            *brace = b',';
        }
        Ok(())
    }

    /// Adds a value as a JSON string: as text if it is UTF-8, else as base64.
    pub(crate) fn string(&mut self, value: &Bytes) {
        let piece = json_piece(value);
        self.text.push(b'"');
        if value.len() <= MAX_INLINE_BYTES {
            piece.encode(value, &mut self.text);
        } else {
            self.end_text();
            self.pieces.push(piece);
        }
        self.text.push(b'"');
    }

    /// Charges bytes that are in memory only for this response.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.unique_bytes = self.unique_bytes.saturating_add(bytes);
    }

    fn end_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.unique_bytes = self.unique_bytes.saturating_add(text.len());
        self.pieces.push(Piece::Text(text.into()));
    }

    /// The finished response, charged to the budget.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn finish(mut self, budget: &Budget) -> Result<Content, ApiError> {
        if self.pieces.is_empty() {
            let charge = self.unique_bytes.saturating_add(self.text.len());
            return Content::charged(self.text.into(), charge, budget);
        }
        self.end_text();
        let charge = if self.unique_bytes <= SMALL_BODY_BYTES { 0 } else { self.unique_bytes };
        let share = budget.take(charge).ok_or_else(ApiError::response_budget_used_up)?;
        let length = self.pieces.iter().map(Piece::length).sum();
        Ok(Content::Composed(Arc::new(Composed { pieces: self.pieces, length, _share: share })))
    }
}

/// A response that is being sent to one client.
struct ComposedBody {
    composed: Arc<Composed>,
    position: Position,
    left: u64,
}

impl http_body::Body for ComposedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut out = Vec::with_capacity(2 * FRAME_BYTES);
        let Self { composed, position, left } = &mut *self;
        if !composed.fill(position, &mut out) {
            return Poll::Ready(None);
        }
        *left = left.saturating_sub(out.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn collect_body(content: Content) -> (u64, Bytes) {
        (content.length(), Body::from(content).collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn strings_equal_serde_json_and_have_the_computed_length() {
        let all: String = (0..0x2000_u32).filter_map(char::from_u32).collect();
        for text in [
            all.repeat(20),
            "\u{1}".repeat(100_000),
            "plain".repeat(10_000),
            "\"".repeat(MAX_INLINE_BYTES),
            String::new(),
        ] {
            let mut composer = Composer::default();
            composer.string(&text.clone().into());
            let (length, body) = collect_body(composer.finish(&Budget::default()).unwrap()).await;
            assert!(body == serde_json::to_vec(&text).unwrap());
            assert_eq!(length, body.len() as u64);
            assert_eq!(length_in_json(&text.into()) + 2, length);
        }
    }

    #[tokio::test]
    async fn bytes_become_base64_in_one_step_or_several() {
        for size in [1, 2, 3, MAX_INLINE_BYTES + 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES + 2, 100_001] {
            let value = Bytes::from(vec![0xff; size]);
            let mut composer = Composer::default();
            composer.open_object(&serde_json::json!({ "key": "k" })).unwrap();
            composer.text(",\"base64\":");
            composer.string(&value);
            composer.close_object(&serde_json::json!({ "type": "t" })).unwrap();
            let content = composer.finish(&Budget::default()).unwrap();
            let mut parts = vec![];
            content.for_each_part(|part| parts.extend_from_slice(part));
            let (length, body) = collect_body(content).await;
            assert_eq!((length, &body[..]), (body.len() as u64, &parts[..]));
            let found: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected = serde_json::json!({ "key": "k", "base64": STANDARD.encode(&value), "type": "t" });
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn value_is_charged_while_it_is_sent_unless_the_store_has_it() {
        let budget = Budget::new(1 << 20, 0);
        let value = Bytes::from(vec![b'x'; 600 << 10]);
        let first = Content::from(value.clone()).charge_if_unique(&budget).unwrap();
        assert_eq!((first.length(), budget.taken()), (600 << 10, 0), "the store has it");
        drop((first, value));
        let copy = || Bytes::from(vec![b'x'; 600 << 10]);
        let sent = Content::from(copy()).charge_if_unique(&budget).unwrap();
        assert_eq!(budget.taken(), 600 << 10);
        assert!(Content::from(copy()).charge_if_unique(&budget).is_err());
        drop(sent);
        assert_eq!(budget.taken(), 0);
    }
}
