//! The records of a FastCGI connection on their way to the protocol machine: what may pass, and what is kept here.
//!
//! The machine (tokio-fastcgi) would hold any number of bytes, allocate what a length field claims, and read a parameter
//! that lies across two records as an error. So parameters and bodies are gathered here, within limits, and only what
//! moves the machine on is passed to it. A request whose body is too large runs on to its end, since a web server reads
//! no answer before it has sent all; its bytes are dropped meanwhile. No sockets.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::gateway::Variables;
use super::limits::Limits;
use super::refusal::Refusal;

/// The most requests that may be open on one connection. Web servers send them one after the other.
pub(super) const MAX_OPEN: u8 = 8;

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

/// The peer does not speak FastCGI, or breaks its rules. The connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed(pub(super) &'static str);

/// A request as far as it has arrived.
#[derive(Default, Debug)]
pub(super) struct Begun {
    /// The parameters, once all have arrived.
    pub(super) variables: Variables,
    /// The body.
    pub(super) body: BytesMut,
    /// Why it cannot be called, if so.
    pub(super) refusal: Option<Refusal>,
    params: BytesMut,
    params_ended: bool,
    body_ended: bool,
}

/// Bytes in, records out.
#[derive(Debug)]
pub(super) struct Sieve {
    raw: BytesMut,
    open: HashMap<u16, Begun>,
    body: usize,
    head: usize,
}

impl Sieve {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { raw: BytesMut::new(), open: HashMap::new(), body: limits.body, head: limits.head }
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
        self.raw.is_empty() && self.open.is_empty()
    }

    /// Whether bytes wait that are no whole record yet, or were not asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Whether what waits begins with the wish to give up this request.
    pub(super) fn aborts(&self, id: u16) -> bool {
        matches!(self.raw.as_ref(), [_, ABORT_REQUEST, high, low, ..] if u16::from_be_bytes([*high, *low]) == id)
    }

    /// What was gathered of a request that the machine has called complete.
    pub(super) fn take(&mut self, id: u16) -> Option<Begun> {
        self.open.remove(&id)
    }

    /// The next record for the machine; none if more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        while let Some(record) = self.record()? {
            let (Some(kind), Some(id)) = (record.get(1).copied(), word(&record, 2)) else { return Ok(None) };
            let length = usize::from(word(&record, 4).unwrap_or(0));
            let content = record.slice(HEADER..HEADER + length);
            if self.passes(kind, id, content)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Cuts the next whole record off.
    fn record(&mut self) -> Result<Option<Bytes>, Malformed> {
        if self.raw.first().is_some_and(|version| *version != 1) {
            return Err(Malformed("this is not FastCGI version 1"));
        }
        let (Some(length), Some(padding)) = (word(&self.raw, 4), self.raw.get(6)) else { return Ok(None) };
        let whole = HEADER + usize::from(length) + usize::from(*padding);
        Ok((self.raw.len() >= whole).then(|| self.raw.split_to(whole).freeze()))
    }

    fn passes(&mut self, kind: u8, id: u16, content: Bytes) -> Result<bool, Malformed> {
        match kind {
            BEGIN_REQUEST => self.begin(id, &content),
            ABORT_REQUEST => Ok(self.open.remove(&id).is_some()),
            PARAMS => self.params(id, &content),
            STDIN => self.stdin(id, &content),
            // For the role of a filter, which is refused.
            DATA => Ok(content.is_empty() && self.open.contains_key(&id)),
            GET_VALUES if pairs(&content).is_none() => Err(Malformed("a list of names is cut off")),
            _ => Ok(true),
        }
    }

    fn begin(&mut self, id: u16, content: &Bytes) -> Result<bool, Malformed> {
        if content.len() != HEADER || id == 0 {
            return Err(Malformed("the begin of a request has another form"));
        }
        if self.open.len() >= usize::from(MAX_OPEN) {
            return Err(Malformed("too many requests at once on one connection"));
        }
        match self.open.insert(id, Begun::default()) {
            None => Ok(true),
            Some(_) => Err(Malformed("a request began twice")),
        }
    }

    /// Records of a request that is not open are dropped, as the specification wants it.
    fn params(&mut self, id: u16, content: &Bytes) -> Result<bool, Malformed> {
        let limit = self.head;
        let Some(begun) = self.open.get_mut(&id) else { return Ok(false) };
        if begun.params_ended {
            return Err(Malformed("parameters go on after their end"));
        }
        if content.is_empty() {
            begun.params_ended = true;
            begun.variables = pairs(&begun.params.split().freeze()).ok_or(Malformed("a parameter is cut off"))?;
            return Ok(true);
        }
        if begun.params.len() + content.len() > limit || begun.refusal == Some(Refusal::LongHead) {
            begun.refusal = Some(Refusal::LongHead);
            begun.params = BytesMut::new();
        } else {
            begun.params.extend_from_slice(content);
        }
        Ok(false)
    }

    fn stdin(&mut self, id: u16, content: &Bytes) -> Result<bool, Malformed> {
        let limit = self.body;
        let Some(begun) = self.open.get_mut(&id) else { return Ok(false) };
        if begun.body_ended {
            return Err(Malformed("a body goes on after its end"));
        }
        if content.is_empty() {
            begun.body_ended = true;
            return Ok(true);
        }
        if begun.refusal.is_none() && begun.body.len() + content.len() > limit {
            begun.refusal = Some(Refusal::TooLarge);
        }
        if begun.refusal.is_some() {
            begun.body = BytesMut::new();
        } else {
            begun.body.extend_from_slice(content);
        }
        Ok(false)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// The names and values of a parameter list; none if it is cut off.
fn pairs(list: &Bytes) -> Option<Variables> {
    let mut rest = list.clone();
    let mut variables = Variables::default();
    while rest.has_remaining() {
        let name = length(&mut rest)?;
        let value = length(&mut rest)?;
        if rest.len() < name.checked_add(value)? {
            return None;
        }
        variables.push(rest.split_to(name), rest.split_to(value));
    }
    Some(variables)
}

/// One byte up to 127, else four with the highest bit set.
fn length(bytes: &mut Bytes) -> Option<usize> {
    let first = *bytes.first()?;
    if first < 0x80 {
        bytes.advance(1);
        return Some(usize::from(first));
    }
    let word: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    bytes.advance(4);
    usize::try_from(u32::from_be_bytes(word) & 0x7fff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let padding = [0; 3];
        [&[1, kind][..], &id.to_be_bytes(), &length, &[3, 0], content, &padding].concat()
    }

    fn sieve() -> Sieve {
        Sieve::new(&Limits { body: 10, head: 100, ..Limits::default() })
    }

    /// Feeds byte by byte, so that every cut is met, and counts what passes.
    fn passed(sieve: &mut Sieve, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut count = 0;
        for byte in bytes {
            sieve.room().extend_from_slice(&[*byte]);
            while sieve.next()?.is_some() {
                count += 1;
            }
        }
        Ok(count)
    }

    const BEGIN: &[u8] = &[0, 1, 1, 0, 0, 0, 0, 0];

    #[test]
    fn request_is_gathered_when_its_parameters_lie_across_records() {
        let mut sieve = sieve();
        let bytes = [
            record(BEGIN_REQUEST, 7, BEGIN),
            record(PARAMS, 7, &[3, 0x80, 0, 0]),
            record(PARAMS, 7, b"\x02KEYv"),
            record(PARAMS, 7, b"\xff\x00\x00"),
            record(PARAMS, 7, b""),
            record(STDIN, 7, b"bo"),
            record(STDIN, 9, b"of nobody"),
            record(STDIN, 7, b"dy"),
            record(STDIN, 7, b""),
        ];
        assert_eq!(passed(&mut sieve, &bytes.concat()), Ok(3));
        let begun = sieve.take(7).unwrap();
        assert_eq!(begun.variables.get("KEY"), b"v\xff");
        assert_eq!((&begun.body[..], begun.refusal), (&b"body"[..], None));
        assert!(sieve.is_idle());
    }

    #[test]
    fn bytes_are_dropped_when_the_body_is_too_large() {
        let mut sieve = sieve();
        let first = [record(BEGIN_REQUEST, 1, BEGIN), record(PARAMS, 1, b""), record(STDIN, 1, b"0123456789")].concat();
        passed(&mut sieve, &first).unwrap();
        assert_eq!(sieve.open[&1].refusal, None);
        assert_eq!(passed(&mut sieve, &record(STDIN, 1, b"x")), Ok(0));
        assert_eq!(passed(&mut sieve, &record(STDIN, 1, b"")), Ok(1));
        let begun = sieve.take(1).unwrap();
        assert_eq!((begun.body.len(), begun.refusal), (0, Some(Refusal::TooLarge)));
    }

    #[test]
    fn parameters_are_dropped_when_the_list_is_too_long() {
        let mut sieve = sieve();
        passed(&mut sieve, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
        for _ in 0..30 {
            passed(&mut sieve, &record(PARAMS, 1, b"\x03\x03abcdef")).unwrap();
        }
        assert!(sieve.open[&1].params.len() <= 100);
        passed(&mut sieve, &record(PARAMS, 1, b"")).unwrap();
        assert_eq!(sieve.take(1).unwrap().refusal, Some(Refusal::LongHead));
    }

    #[test]
    fn connection_is_given_up_when_the_rules_are_broken() {
        let begin = record(BEGIN_REQUEST, 1, BEGIN);
        let ended = |kind| [begin.clone(), record(kind, 1, b""), record(kind, 1, b"x")].concat();
        let many: Vec<u8> = (1..=9).flat_map(|id| record(BEGIN_REQUEST, id, BEGIN)).collect();
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "version"),
            (record(BEGIN_REQUEST, 1, &[0]), "another form"),
            (record(BEGIN_REQUEST, 1, &[]), "another form"),
            (record(BEGIN_REQUEST, 0, BEGIN), "another form"),
            ([begin.clone(), begin.clone()].concat(), "twice"),
            (ended(PARAMS), "after their end"),
            (ended(STDIN), "after its end"),
            (many, "too many"),
            (
                [begin.clone(), record(PARAMS, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]), record(PARAMS, 1, b"")].concat(),
                "cut",
            ),
            (record(GET_VALUES, 0, &[0xff, 0xff, 0xff, 0xff, 0]), "cut off"),
        ] {
            let error = passed(&mut sieve(), &bytes).unwrap_err();
            assert!(error.0.contains(why), "{error:?} is not {why}");
        }
    }

    #[test]
    fn abort_is_seen_when_it_waits() {
        let mut sieve = sieve();
        sieve.room().extend_from_slice(&record(ABORT_REQUEST, 0x0102, b""));
        assert!(sieve.aborts(0x0102) && !sieve.aborts(1));
        assert_eq!(sieve.next(), Ok(None), "an abort of nothing is dropped");
        passed(&mut sieve, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
        assert_eq!(passed(&mut sieve, &record(ABORT_REQUEST, 1, b"")), Ok(1));
        assert!(sieve.is_idle());
    }
}
