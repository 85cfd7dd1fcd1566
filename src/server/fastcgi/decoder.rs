//! Decodes FastCGI records into whole requests, within limits. No sockets, no responses.
//!
//! Parameters and bodies are collected here from any number of records. If a body is too large, its bytes are dropped,
//! but the request is read to its end, because a web server reads no response before it has sent everything. No memory
//! is allocated for a length field before the data has arrived.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::time::Instant;

use crate::server::body_buffer::BodyBuffer;
use crate::server::cgi::request as cgi_request;
use crate::server::cgi::variables::{ParamBuffer, Variables};
use crate::server::error_response::TransportError;
use crate::server::limits::ServerLimits;
use crate::server::net::stream::min_bytes_in;

/// How many requests may be open on one connection. Web servers send them one after the other.
const MAX_OPEN_REQUESTS: usize = 8;

/// The input buffer grows by this size.
const READ_BUFFER_BYTES: usize = 8 << 10;
/// The input buffer grows when less than this is free.
const MIN_READ_BYTES: usize = 2 << 10;

const HEADER_BYTES: usize = 8;
const BEGIN_REQUEST: u8 = 1;
const ABORT_REQUEST: u8 = 2;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const DATA: u8 = 8;
const GET_VALUES: u8 = 9;

/// The role of a program that answers requests. Other roles are not supported.
const RESPONDER: u16 = 1;
const KEEP_CONNECTION: u8 = 1;

/// The peer does not speak FastCGI or violates the protocol. The connection cannot be used any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// An event in the data of a connection.
#[derive(Debug)]
pub(crate) enum DecodedEvent {
    /// A request is complete except for its body.
    Head(Head),
    /// A piece of the body of a request whose body is taken [piece by piece](Decoder::take_pieces).
    Piece(u16, Bytes),
    /// A request is complete.
    Request(RequestInProgress),
    /// A request was aborted before it was complete. Its end must still be sent.
    Aborted(RequestInProgress),
    /// The web server asks for the values of these names (`FCGI_GET_VALUES`).
    Values(Variables),
    /// A management record has an unknown type.
    Unknown(u8),
}

/// A request whose body is still arriving.
#[derive(Debug)]
pub(crate) struct Head {
    /// The id of the request on its connection.
    pub(crate) id: u16,
    /// Whether to keep the connection after the response.
    pub(crate) keep: bool,
    pub(crate) variables: Variables,
    /// Whether the memory budget has no room for the announced body.
    pub(crate) is_over_budget: bool,
}

/// A request as far as it has arrived.
#[derive(Debug)]
pub(crate) struct RequestInProgress {
    /// The id of the request on its connection.
    pub(crate) id: u16,
    start: Instant,
    /// The start of the body timeout: `start`, plus the time in which the request waited for other responses.
    timeout_start: Instant,
    /// Whether to keep the connection after the response.
    pub(crate) keep: bool,
    role: u16,
    /// The parameters. Empty until all have arrived.
    pub(crate) variables: Variables,
    pub(crate) body: BodyBuffer,
    /// How many bytes of the body were taken as pieces; `None` if it is collected.
    taken_bytes: Option<u64>,
    /// The number of them after which the timeout began.
    timeout_bytes: u64,
    /// The error to answer with, if the request cannot be handled.
    pub(crate) error: Option<TransportError>,
    params: ParamBuffer,
    params_ended: bool,
    body_ended: bool,
}

impl RequestInProgress {
    fn new(id: u16, keep: bool, role: u16, body: BodyBuffer, start: Instant) -> Self {
        Self {
            id,
            start,
            timeout_start: start,
            keep,
            role,
            variables: Variables::default(),
            body,
            taken_bytes: None,
            timeout_bytes: 0,
            error: None,
            params: ParamBuffer::default(),
            params_ended: false,
            body_ended: false,
        }
    }

    /// Whether the role is responder, and not filter or authorizer.
    pub(crate) fn is_responder(&self) -> bool {
        self.role == RESPONDER
    }

    /// Whether the method is safe. Then the request can be dropped when nobody waits for its response any more.
    pub(crate) fn is_safe(&self) -> bool {
        Method::from_bytes(self.variables.get("REQUEST_METHOD")).is_ok_and(|method| method.is_safe())
    }

    /// The length of the body, as far as it has arrived.
    pub(crate) fn body_length(&self) -> u64 {
        self.taken_bytes.unwrap_or(0) + self.body.len() as u64
    }

    /// Takes a piece of a body that is not collected. While enough of it arrives, the request does not time out.
    fn take_piece(&mut self, content: Bytes, limits: &ServerLimits, now: Instant) -> DecodedEvent {
        let taken = self.taken_bytes.get_or_insert_default();
        *taken += content.len() as u64;
        if *taken - self.timeout_bytes >= min_bytes_in(limits.body_timeout) {
            (self.timeout_start, self.timeout_bytes) = (now, *taken);
        }
        DecodedEvent::Piece(self.id, content)
    }

    /// The event for a complete head, if a body is announced.
    fn head_event(&mut self) -> Option<DecodedEvent> {
        let length = std::str::from_utf8(self.variables.get("CONTENT_LENGTH")).ok()?.parse().ok()?;
        if length == 0 || self.error.is_some() || !self.is_responder() {
            return None;
        }
        // Other errors of the length are found later, when all variables are checked.
        let is_over_budget = self.body.announce(length) == Err(TransportError::BodyBudgetUsedUp);
        Some(DecodedEvent::Head(Head {
            id: self.id,
            keep: self.keep,
            variables: self.variables.clone(),
            is_over_budget,
        }))
    }

    fn is_complete(&self) -> bool {
        // A request with another role is rejected without waiting for its body.
        self.params_ended && (self.body_ended || !self.is_responder())
    }
}

/// The decoder of one connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    raw: BytesMut,
    open: Vec<RequestInProgress>,
    /// The event that was found after a head.
    pending: Option<DecodedEvent>,
    limits: ServerLimits,
}

impl Decoder {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        Self { raw: BytesMut::new(), open: Vec::new(), pending: None, limits: limits.clone() }
    }

    /// The input buffer, with free capacity for a usual request.
    pub(crate) fn read_buffer(&mut self) -> &mut BytesMut {
        if self.raw.capacity() - self.raw.len() < MIN_READ_BYTES {
            self.raw.reserve(READ_BUFFER_BYTES);
        }
        &mut self.raw
    }

    /// Whether no request and no record is incomplete.
    pub(crate) fn is_idle(&self) -> bool {
        self.raw.is_empty() && self.open.is_empty() && self.pending.is_none()
    }

    /// Whether there are bytes that are not decoded yet.
    pub(crate) fn has_more(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Whether the next record aborts this request.
    pub(crate) fn aborts(&self, id: u16) -> bool {
        matches!(self.raw.as_ref(), [_, ABORT_REQUEST, high, low, ..] if u16::from_be_bytes([*high, *low]) == id)
    }

    /// When the oldest incomplete request began to arrive.
    pub(crate) fn oldest_start(&self) -> Option<Instant> {
        self.open.iter().map(|request| request.start).min()
    }

    /// The same, plus the time in which nothing was received.
    pub(crate) fn oldest_timeout_start(&self) -> Option<Instant> {
        self.open.iter().map(|request| request.timeout_start).min()
    }

    /// Extends the timeouts of incomplete requests by a time in which nothing was received.
    pub(crate) fn extend_timeouts(&mut self, time: Duration) {
        self.open.iter_mut().for_each(|request| request.timeout_start += time);
    }

    /// The next event, at the time `now`; `None` if more bytes are needed. A request that is already complete has no
    /// [`DecodedEvent::Head`].
    pub(crate) fn next(&mut self, now: Instant) -> Result<Option<DecodedEvent>, Malformed> {
        if self.pending.is_some() {
            return Ok(self.pending.take());
        }
        match self.event(now)? {
            Some(DecodedEvent::Head(head)) => match self.event(now)? {
                Some(DecodedEvent::Request(request)) if request.id == head.id => {
                    Ok(Some(DecodedEvent::Request(request)))
                }
                next => {
                    self.pending = next;
                    Ok(Some(DecodedEvent::Head(head)))
                }
            },
            event => Ok(event),
        }
    }

    /// Takes the body of a request piece by piece from now on. Returns what has arrived of it.
    pub(crate) fn take_pieces(&mut self, id: u16) -> Option<Bytes> {
        let request = self.find_open(id)?;
        let (arrived, _share) = std::mem::take(&mut request.body).finish();
        request.taken_bytes = Some(arrived.len() as u64);
        // What counts is the length of the whole body, which the handler limits.
        request.error = request.error.filter(|error| *error != TransportError::BodyTooLarge);
        Some(arrived)
    }

    /// Forgets a request that was answered before it was complete. The rest of it is dropped.
    pub(crate) fn forget(&mut self, id: u16) {
        self.close(id);
    }

    fn event(&mut self, now: Instant) -> Result<Option<DecodedEvent>, Malformed> {
        while let Some((kind, id, content)) = self.record()? {
            let event = match kind {
                BEGIN_REQUEST => self.begin(id, &content, now)?,
                ABORT_REQUEST => self.close(id).map(DecodedEvent::Aborted),
                PARAMS => self.params(id, content)?,
                STDIN => self.stdin(id, content, now)?,
                GET_VALUES => Some(DecodedEvent::Values(
                    Variables::parse(content).ok_or(Malformed("FCGI_GET_VALUES is cut off"))?,
                )),
                // For a filter, a role that is not supported, or for no open request.
                DATA => None,
                _ => (id == 0).then_some(DecodedEvent::Unknown(kind)),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Takes the next complete record: its type, the id of its request, and its content.
    fn record(&mut self) -> Result<Option<(u8, u16, Bytes)>, Malformed> {
        if self.raw.first().is_some_and(|version| *version != 1) {
            return Err(Malformed("this is not FastCGI version 1"));
        }
        let Some([_, kind, a, b, c, d, padding, _]) = self.raw.first_chunk::<HEADER_BYTES>().copied() else {
            return Ok(None);
        };
        let (length, padding) = (usize::from(u16::from_be_bytes([c, d])), usize::from(padding));
        if self.raw.len() < HEADER_BYTES + length + padding {
            return Ok(None);
        }
        self.raw.advance(HEADER_BYTES);
        let content = if length == 0 { Bytes::new() } else { self.raw.split_to(length).freeze() };
        self.raw.advance(padding);
        Ok(Some((kind, u16::from_be_bytes([a, b]), content)))
    }

    fn begin(&mut self, id: u16, content: &Bytes, now: Instant) -> Result<Option<DecodedEvent>, Malformed> {
        let &[high, low, flags, ..] = content.as_ref() else {
            return Err(Malformed("FCGI_BEGIN_REQUEST is malformed"));
        };
        if content.len() != HEADER_BYTES || id == 0 {
            return Err(Malformed("FCGI_BEGIN_REQUEST is malformed"));
        }
        if self.open.len() >= MAX_OPEN_REQUESTS {
            return Err(Malformed("too many open requests on one connection"));
        }
        if self.find_open(id).is_some() {
            return Err(Malformed("the id of an open request is used again"));
        }
        let (keep, role) = (flags & KEEP_CONNECTION != 0, u16::from_be_bytes([high, low]));
        self.open.push(RequestInProgress::new(id, keep, role, BodyBuffer::new(&self.limits, None), now));
        Ok(None)
    }

    fn find_open(&mut self, id: u16) -> Option<&mut RequestInProgress> {
        self.open.iter_mut().find(|request| request.id == id)
    }

    fn close(&mut self, id: u16) -> Option<RequestInProgress> {
        let at = self.open.iter().position(|request| request.id == id)?;
        Some(self.open.swap_remove(at))
    }

    fn close_if_complete(&mut self, id: u16) -> Option<DecodedEvent> {
        if self.find_open(id)?.is_complete() { self.close(id).map(DecodedEvent::Request) } else { None }
    }

    /// Records of a request that is not open are dropped, as the specification requires.
    fn params(&mut self, id: u16, content: Bytes) -> Result<Option<DecodedEvent>, Malformed> {
        let limit = self.limits.head;
        let Some(request) = self.find_open(id) else { return Ok(None) };
        if request.params_ended {
            return Err(Malformed("FCGI_PARAMS after the end of the parameters"));
        }
        if content.is_empty() {
            request.params_ended = true;
            request.variables = Variables::parse(request.params.take()).ok_or(Malformed("a parameter is cut off"))?;
            if let Err(error) = request.body.set_client(cgi_request::client(&request.variables).0) {
                request.error = Some(error);
            }
            let head = request.head_event();
            return Ok(self.close_if_complete(id).or(head));
        }
        if request.params.len() + content.len() > limit || request.error == Some(TransportError::HeadTooLong) {
            request.error = Some(TransportError::HeadTooLong);
            request.params = ParamBuffer::default();
        } else {
            request.params.add(content);
        }
        Ok(None)
    }

    fn stdin(&mut self, id: u16, content: Bytes, now: Instant) -> Result<Option<DecodedEvent>, Malformed> {
        let Some(request) = self.open.iter_mut().find(|request| request.id == id) else { return Ok(None) };
        if request.body_ended {
            return Err(Malformed("FCGI_STDIN after the end of the body"));
        }
        if content.is_empty() {
            request.body_ended = true;
            return Ok(self.close_if_complete(id));
        }
        if request.taken_bytes.is_some() {
            return Ok(Some(request.take_piece(content, &self.limits, now)));
        }
        if request.error.is_none() {
            request.error = request.body.add(&content).err();
        }
        if request.error.is_some() {
            request.body.clear();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
