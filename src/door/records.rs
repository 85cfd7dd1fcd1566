//! The records of a FastCGI connection on their way in: bytes to whole requests, within limits. No sockets, no answers.
//!
//! Parameters and bodies are gathered here, however they were cut into records. A request whose body is too large runs on
//! to its end, since a web server reads no answer before it has sent all; its bytes are dropped meanwhile. What a length
//! field claims is never allocated before it has come.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::time::Instant;

use super::buffer::Buffer;
use super::gateway;
use super::limits::Limits;
use super::refusal::Refusal;
use super::variables::{List, Variables};

/// The most requests that may be open on one connection. Web servers send them one after the other.
const MAX_OPEN: usize = 8;

/// New room is made in pieces of this size,
const ROOM: usize = 8 << 10;
/// once less than this is left.
const LEAST_ROOM: usize = 2 << 10;

const HEADER: usize = 8;
const BEGIN_REQUEST: u8 = 1;
const ABORT_REQUEST: u8 = 2;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const DATA: u8 = 8;
const GET_VALUES: u8 = 9;

/// The role of a program that answers requests; others are not played here.
const RESPONDER: u16 = 1;
const KEEP_CONNECTION: u8 = 1;

/// The peer does not speak FastCGI, or breaks its rules. The connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed(pub(super) &'static str);

/// What the records come to.
#[derive(Debug)]
pub(super) enum Event {
    /// All of a request is here but its body, of which only a part may have come.
    Head(Head),
    /// All of a request is here.
    Request(Begun),
    /// A request was given up before it was whole; its end is still to be told.
    GivenUp(Begun),
    /// The web server asks for the values of these names.
    Values(Variables),
    /// A record of management of a kind that is not known.
    Unknown(u8),
}

/// A request whose body is still to come.
#[derive(Debug)]
pub(super) struct Head {
    /// Its number on the connection.
    pub(super) id: u16,
    /// Whether the connection is to be kept after the answer.
    pub(super) keep: bool,
    /// The parameters.
    pub(super) variables: Variables,
    /// Whether there is no room for a body as long as is announced.
    pub(super) is_crowded: bool,
}

/// A request as far as it has arrived.
#[derive(Debug)]
pub(super) struct Begun {
    /// Its number on the connection.
    pub(super) id: u16,
    since: Instant,
    /// As `since`, but later by all the time that it had to wait for other answers.
    timed: Instant,
    /// Whether the connection is to be kept after the answer.
    pub(super) keep: bool,
    role: u16,
    /// The parameters, once all have arrived.
    pub(super) variables: Variables,
    /// The body.
    pub(super) body: Buffer,
    /// Why it cannot be called, if so.
    pub(super) refusal: Option<Refusal>,
    list: List,
    list_ended: bool,
    body_ended: bool,
}

impl Begun {
    fn new((id, keep, role): (u16, bool, u16), body: Buffer, since: Instant) -> Self {
        let (variables, list) = (Variables::default(), List::default());
        let (list_ended, body_ended, refusal) = (false, false, None);
        Self { id, since, timed: since, keep, role, variables, body, refusal, list, list_ended, body_ended }
    }

    /// Whether it is a request at all, and not for a filter or an authorizer.
    pub(super) fn is_responder(&self) -> bool {
        self.role == RESPONDER
    }

    /// Whether it only asks, so that it need not be done if nobody waits for the answer any more.
    pub(super) fn is_safe(&self) -> bool {
        Method::from_bytes(self.variables.get("REQUEST_METHOD")).is_ok_and(|method| method.is_safe())
    }

    /// The head, if a body of some length is announced.
    fn head(&mut self) -> Option<Event> {
        let length = std::str::from_utf8(self.variables.get("CONTENT_LENGTH")).ok()?.parse().ok()?;
        if length == 0 || self.refusal.is_some() || !self.is_responder() {
            return None;
        }
        // What else may be wrong with the length is judged with the other variables.
        let is_crowded = self.body.announce(length) == Err(Refusal::Crowded);
        Some(Event::Head(Head { id: self.id, keep: self.keep, variables: self.variables.clone(), is_crowded }))
    }

    fn is_whole(&self) -> bool {
        // Who plays another role gets no body that would have to be awaited.
        self.list_ended && (self.body_ended || !self.is_responder())
    }
}

/// Bytes in, requests out.
#[derive(Debug)]
pub(super) struct Sieve {
    raw: BytesMut,
    open: Vec<Begun>,
    /// What was found behind a head.
    ahead: Option<Event>,
    limits: Limits,
}

impl Sieve {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { raw: BytesMut::new(), open: Vec::new(), ahead: None, limits: limits.clone() }
    }

    /// Where to put what comes from the socket: behind what came before, and there is room for a usual request.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        if self.raw.capacity() - self.raw.len() < LEAST_ROOM {
            self.raw.reserve(ROOM);
        }
        &mut self.raw
    }

    /// Whether no request and no record has begun.
    pub(super) fn is_idle(&self) -> bool {
        self.raw.is_empty() && self.open.is_empty() && self.ahead.is_none()
    }

    /// Whether bytes wait that are no whole record yet, or were not asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Whether what waits begins with the wish to give up this request.
    pub(super) fn aborts(&self, id: u16) -> bool {
        matches!(self.raw.as_ref(), [_, ABORT_REQUEST, high, low, ..] if u16::from_be_bytes([*high, *low]) == id)
    }

    /// Since when the oldest of the requests that are not whole has been arriving.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open.iter().map(|begun| begun.since).min()
    }

    /// The same, without the time in which nothing of them could be taken.
    pub(super) fn oldest_timed(&self) -> Option<Instant> {
        self.open.iter().map(|begun| begun.timed).min()
    }

    /// Notes that for so long nothing was taken.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.open.iter_mut().for_each(|begun| begun.timed += time);
    }

    /// What has come next, at the time `now`; none if more bytes are needed. There is no head of a request that is here as
    /// a whole.
    pub(super) fn next(&mut self, now: Instant) -> Result<Option<Event>, Malformed> {
        if self.ahead.is_some() {
            return Ok(self.ahead.take());
        }
        match self.event(now)? {
            Some(Event::Head(head)) => match self.event(now)? {
                Some(Event::Request(begun)) if begun.id == head.id => Ok(Some(Event::Request(begun))),
                next => {
                    self.ahead = next;
                    Ok(Some(Event::Head(head)))
                }
            },
            event => Ok(event),
        }
    }

    /// Forgets a request that was answered before it was whole; the rest of it is dropped.
    pub(super) fn forget(&mut self, id: u16) {
        self.close(id);
    }

    fn event(&mut self, now: Instant) -> Result<Option<Event>, Malformed> {
        while let Some((kind, id, content)) = self.record()? {
            let event = match kind {
                BEGIN_REQUEST => self.begin(id, &content, now)?,
                ABORT_REQUEST => self.close(id).map(Event::GivenUp),
                PARAMS => self.params(id, content)?,
                STDIN => self.stdin(id, &content)?,
                GET_VALUES => {
                    Some(Event::Values(Variables::parse(content).ok_or(Malformed("a list of names is cut off"))?))
                }
                // Of a filter, a role that is refused; or of nobody.
                DATA => None,
                _ => (id == 0).then_some(Event::Unknown(kind)),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Cuts the next whole record off: its kind, its request and its content.
    fn record(&mut self) -> Result<Option<(u8, u16, Bytes)>, Malformed> {
        if self.raw.first().is_some_and(|version| *version != 1) {
            return Err(Malformed("this is not FastCGI version 1"));
        }
        let Some([_, kind, a, b, c, d, padding, _]) = self.raw.first_chunk::<HEADER>().copied() else {
            return Ok(None);
        };
        let (length, padding) = (usize::from(u16::from_be_bytes([c, d])), usize::from(padding));
        if self.raw.len() < HEADER + length + padding {
            return Ok(None);
        }
        self.raw.advance(HEADER);
        let content = if length == 0 { Bytes::new() } else { self.raw.split_to(length).freeze() };
        self.raw.advance(padding);
        Ok(Some((kind, u16::from_be_bytes([a, b]), content)))
    }

    fn begin(&mut self, id: u16, content: &Bytes, now: Instant) -> Result<Option<Event>, Malformed> {
        let &[high, low, flags, ..] = content.as_ref() else {
            return Err(Malformed("the begin of a request has another form"));
        };
        if content.len() != HEADER || id == 0 {
            return Err(Malformed("the begin of a request has another form"));
        }
        if self.open.len() >= MAX_OPEN {
            return Err(Malformed("too many requests at once on one connection"));
        }
        if self.opened(id).is_some() {
            return Err(Malformed("a request began twice"));
        }
        let (keep, role) = (flags & KEEP_CONNECTION != 0, u16::from_be_bytes([high, low]));
        self.open.push(Begun::new((id, keep, role), Buffer::new(&self.limits, None), now));
        Ok(None)
    }

    fn opened(&mut self, id: u16) -> Option<&mut Begun> {
        self.open.iter_mut().find(|begun| begun.id == id)
    }

    fn close(&mut self, id: u16) -> Option<Begun> {
        let at = self.open.iter().position(|begun| begun.id == id)?;
        Some(self.open.swap_remove(at))
    }

    fn close_if_whole(&mut self, id: u16) -> Option<Event> {
        if self.opened(id)?.is_whole() { self.close(id).map(Event::Request) } else { None }
    }

    /// Records of a request that is not open are dropped, as the specification wants it.
    fn params(&mut self, id: u16, content: Bytes) -> Result<Option<Event>, Malformed> {
        let limit = self.limits.head;
        let Some(begun) = self.opened(id) else { return Ok(None) };
        if begun.list_ended {
            return Err(Malformed("parameters go on after their end"));
        }
        if content.is_empty() {
            begun.list_ended = true;
            begun.variables = Variables::parse(begun.list.take()).ok_or(Malformed("a parameter is cut off"))?;
            if let Err(refusal) = begun.body.belongs_to(gateway::client(&begun.variables)) {
                begun.refusal = Some(refusal);
            }
            let head = begun.head();
            return Ok(self.close_if_whole(id).or(head));
        }
        if begun.list.len() + content.len() > limit || begun.refusal == Some(Refusal::LongHead) {
            begun.refusal = Some(Refusal::LongHead);
            begun.list = List::default();
        } else {
            begun.list.add(content);
        }
        Ok(None)
    }

    fn stdin(&mut self, id: u16, content: &Bytes) -> Result<Option<Event>, Malformed> {
        let Some(begun) = self.opened(id) else { return Ok(None) };
        if begun.body_ended {
            return Err(Malformed("a body goes on after its end"));
        }
        if content.is_empty() {
            begun.body_ended = true;
            return Ok(self.close_if_whole(id));
        }
        if begun.refusal.is_none() {
            begun.refusal = begun.body.add(content).err();
        }
        if begun.refusal.is_some() {
            begun.body.clear();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
