//! Answers that hold values among JSON: their length is known before, their bytes are made as the client takes them.
//!
//! A value may take six times its bytes in JSON, and a slow client minutes to take it. So what is held meanwhile is the
//! store's own values and little else; where they are not the store's any more, they are charged to a budget.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::budget::{Budget, LITTLE, Share};
use super::reply::Refusal;

/// About so much is made at a time.
const FRAME: usize = 32 << 10;

/// Of a value so much is taken at a time; base64 can be cut at multiples of three.
const STEP: usize = 3 << 10;

/// Shorter values are made at once.
const SHORT: usize = 256;

/// The bytes of an answer. Clones share them.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// As they are.
    Whole(Bytes),
    /// To be made.
    Composed(Arc<Composed>),
}

/// What an answer is made of.
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
    /// The same, and if it is a value that the store does not hold as well, charged to the budget.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn held(self, budget: &Budget) -> Result<Self, Refusal> {
        match self {
            Self::Whole(value) if value.is_unique() => {
                let charge = value.len();
                Self::charged(value, charge, budget)
            }
            same => Ok(same),
        }
    }

    fn charged(bytes: Bytes, charge: usize, budget: &Budget) -> Result<Self, Refusal> {
        if charge <= LITTLE {
            return Ok(Self::Whole(bytes));
        }
        let share = budget.take(charge).ok_or_else(Refusal::crowded)?;
        Ok(Self::Whole(Bytes::from_owner(Charged { bytes, _share: share })))
    }

    /// How many bytes they are.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Composed(composed) => composed.length,
        }
    }

    /// Shows all of them, piece by piece.
    pub(crate) fn each(&self, mut show: impl FnMut(&[u8])) {
        match self {
            Self::Whole(bytes) => show(bytes),
            Self::Composed(composed) => {
                let (mut place, mut out) = (Place::default(), Vec::with_capacity(2 * FRAME));
                while composed.fill(&mut place, &mut out) {
                    show(&out);
                    out.clear();
                }
            }
        }
    }

    /// The body of a response.
    pub(crate) fn body(self) -> Body {
        match self {
            Self::Whole(bytes) => Body::from(bytes),
            Self::Composed(composed) => {
                let left = composed.length;
                Body::new(Sending { composed, place: Place::default(), left })
            }
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

/// Bytes that are charged to a budget while somebody holds them.
struct Charged {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where the making has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    piece: usize,
    offset: usize,
}

impl Composed {
    /// Makes what comes next; false if that is nothing.
    fn fill(&self, place: &mut Place, out: &mut Vec<u8>) -> bool {
        while out.len() < FRAME
            && let Some(piece) = self.pieces.get(place.piece)
        {
            let source = piece.source();
            let rest = source.get(place.offset..).unwrap_or_default();
            let (part, more) = rest.split_at(rest.len().min(STEP));
            piece.make(part, out);
            *place = match more {
                [] => Place { piece: place.piece + 1, offset: 0 },
                _ => Place { offset: place.offset + part.len(), ..*place },
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

    fn make(&self, part: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text(_) => out.extend_from_slice(part),
            Self::Escaped(_) => escape(part, out),
            Self::Base64(_) => out.extend_from_slice(STANDARD.encode(part).as_bytes()),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::Escaped(bytes) => bytes.iter().map(|byte| width(*byte)).sum(),
            Self::Base64(bytes) => bytes.len().div_ceil(3) as u64 * 4,
        }
    }
}

/// How many bytes a byte takes within a JSON string, as `serde_json` writes them.
fn width(byte: u8) -> u64 {
    match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0x00..0x20 => 6,
        _ => 1,
    }
}

fn escape(mut part: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = part.iter().position(|byte| width(*byte) > 1) {
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

/// How many bytes a value takes as JSON, without quotes and names.
pub(crate) fn length_in_json(value: &Bytes) -> u64 {
    as_json(value).length()
}

fn as_json(value: &Bytes) -> Piece {
    match std::str::from_utf8(value) {
        Ok(_) => Piece::Escaped(value.clone()),
        Err(_) => Piece::Base64(value.clone()),
    }
}

/// Puts an answer together.
#[derive(Default)]
pub(crate) struct Composer {
    /// What was added behind the last piece.
    text: Vec<u8>,
    pieces: Vec<Piece>,
    /// Bytes that are held for this answer alone.
    held: usize,
}

impl Composer {
    /// Adds text as it is.
    pub(crate) fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Adds anything as JSON.
    pub(crate) fn json(&mut self, shown: &impl Serialize) -> Result<(), Refusal> {
        serde_json::to_writer(&mut self.text, shown)
            .map_err(|error| Refusal::internal(&format!("writing JSON: {error}")))
    }

    /// Adds a struct as JSON that goes on: without its last brace.
    pub(crate) fn open(&mut self, shown: &impl Serialize) -> Result<(), Refusal> {
        self.json(shown)?;
        self.text.pop();
        Ok(())
    }

    /// Adds the members of a struct to what was opened, and closes it.
    pub(crate) fn close(&mut self, shown: &impl Serialize) -> Result<(), Refusal> {
        let at = self.text.len();
        self.json(shown)?;
        if let Some(brace) = self.text.get_mut(at) {
            *brace = b',';
        }
        Ok(())
    }

    /// Adds a value as a string: as text if it is text, else as base64.
    pub(crate) fn string(&mut self, value: &Bytes) {
        let piece = as_json(value);
        self.text.push(b'"');
        if value.len() <= SHORT {
            piece.make(value, &mut self.text);
        } else {
            self.cut();
            self.pieces.push(piece);
        }
        self.text.push(b'"');
    }

    /// Adds values that are held for this answer alone to what is charged.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
    }

    fn cut(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.held = self.held.saturating_add(text.len());
        self.pieces.push(Piece::Text(text.into()));
    }

    /// The answer, charged to the budget.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn finish(mut self, budget: &Budget) -> Result<Content, Refusal> {
        if self.pieces.is_empty() {
            let charge = self.held.saturating_add(self.text.len());
            return Content::charged(self.text.into(), charge, budget);
        }
        self.cut();
        let charge = if self.held <= LITTLE { 0 } else { self.held };
        let share = budget.take(charge).ok_or_else(Refusal::crowded)?;
        let length = self.pieces.iter().map(Piece::length).sum();
        Ok(Content::Composed(Arc::new(Composed { pieces: self.pieces, length, _share: share })))
    }
}

/// An answer on its way to one client.
struct Sending {
    composed: Arc<Composed>,
    place: Place,
    left: u64,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut out = Vec::with_capacity(2 * FRAME);
        let Self { composed, place, left } = &mut *self;
        if !composed.fill(place, &mut out) {
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

    async fn made(content: Content) -> (u64, Bytes) {
        (content.length(), content.body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn strings_are_those_of_serde_json_and_as_long_as_told() {
        let all: String = (0..0x2000_u32).filter_map(char::from_u32).collect();
        for text in [all.repeat(20), "\u{1}".repeat(100_000), "plain".repeat(10_000), "\"".repeat(SHORT), String::new()]
        {
            let mut composer = Composer::default();
            composer.string(&text.clone().into());
            let (length, body) = made(composer.finish(&Budget::default()).unwrap()).await;
            assert!(body == serde_json::to_vec(&text).unwrap());
            assert_eq!(length, body.len() as u64);
            assert_eq!(length_in_json(&text.into()) + 2, length);
        }
    }

    #[tokio::test]
    async fn bytes_are_base64_however_they_are_cut() {
        for size in [1, 2, 3, SHORT + 1, STEP, STEP + 1, 3 * STEP + 2, 100_001] {
            let value = Bytes::from(vec![0xff; size]);
            let mut composer = Composer::default();
            composer.open(&serde_json::json!({ "key": "k" })).unwrap();
            composer.text(",\"base64\":");
            composer.string(&value);
            composer.close(&serde_json::json!({ "type": "t" })).unwrap();
            let content = composer.finish(&Budget::default()).unwrap();
            let mut shown = vec![];
            content.each(|part| shown.extend_from_slice(part));
            let (length, body) = made(content).await;
            assert_eq!((length, &body[..]), (body.len() as u64, &shown[..]));
            let found: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected = serde_json::json!({ "key": "k", "base64": STANDARD.encode(&value), "type": "t" });
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_the_store_does_not_hold_is_charged_while_it_is_sent() {
        let budget = Budget::new(1 << 20, 0);
        let value = Bytes::from(vec![b'x'; 600 << 10]);
        let first = Content::from(value.clone()).held(&budget).unwrap();
        assert_eq!((first.length(), budget.taken()), (600 << 10, 0), "the store holds it");
        drop((first, value));
        let copy = || Bytes::from(vec![b'x'; 600 << 10]);
        let sent = Content::from(copy()).held(&budget).unwrap();
        assert_eq!(budget.taken(), 600 << 10);
        assert!(Content::from(copy()).held(&budget).is_err());
        drop(sent);
        assert_eq!(budget.taken(), 0);
    }
}
