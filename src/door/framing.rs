//! Follows the messages of an HTTP/1 connection far enough to see a length given twice: two Content-Length, two
//! Transfer-Encoding, or one of each. Another server before us may believe the other one, so that the rest of a body
//! becomes a request that it never saw (RFC 9112, section 6.3). The parser behind takes some of these as well meant and
//! hides them from us; so the colon of the second one is spoiled here, which the parser answers with 400 and the end of
//! the connection.
//!
//! A `#` in a request line is spoiled as well: no target has one (RFC 9112, section 3.2), and the parser would drop what
//! follows, so that another key is answered than was asked for.
//!
//! It judges nothing else. Where a message has no form at all it stops to look: the parser refuses it and reads no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest start of a line that is looked at: no length needs more.
const LINE: usize = 256;

/// A byte that no line of a head and no chunk size may hold.
const SPOILED: u8 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before the request line, which empty lines may precede.
    Start,
    Headers,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Refused, or about to be.
    Lost,
}

#[derive(Debug)]
struct Framing {
    place: Place,
    line: Vec<u8>,
    /// Bytes of the line, also those beyond what is kept.
    length: usize,
    body: Option<u64>,
    chunked: bool,
    announced: u8,
}

impl Framing {
    fn new() -> Self {
        Self { place: Place::Start, line: Vec::new(), length: 0, body: None, chunked: false, announced: 0 }
    }

    /// Looks at what was read next, and spoils it if a length comes twice.
    fn inspect(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Lost => return,
                Place::Body(left) | Place::Chunk(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= u64::try_from(taken).unwrap_or(u64::MAX);
                    taken
                }
                _ => {
                    if let Some(byte) = bytes.first_mut() {
                        self.byte(byte);
                    }
                    1
                }
            };
            match self.place {
                Place::Body(0) => self.place = Place::Start,
                Place::Chunk(0) => self.place = Place::ChunkEnd,
                _ => {}
            }
            bytes = bytes.get_mut(taken..).unwrap_or_default();
        }
    }

    fn byte(&mut self, byte: &mut u8) {
        if *byte == b'\n' {
            self.end_of_line();
            self.line.clear();
            self.length = 0;
            return;
        }
        self.length += 1;
        let spoils = match self.place {
            Place::Headers if *byte == b':' && !self.line.contains(&b':') => self.announces_again(),
            Place::Start => *byte == b'#',
            // A number may be led by any count of zeros or spaces; who writes that many wants them cut off.
            Place::Headers => self.length > LINE && is_length(&self.line),
            Place::ChunkSize => self.length > LINE && self.line.iter().all(u8::is_ascii_hexdigit),
            _ => false,
        };
        if spoils {
            *byte = SPOILED;
            self.place = Place::Lost;
        } else if self.line.len() < LINE {
            self.line.push(*byte);
        }
    }

    /// At the colon of a header: whether this is the second that tells of a length.
    fn announces_again(&mut self) -> bool {
        let length = self.line.eq_ignore_ascii_case(b"content-length");
        let coding = self.line.eq_ignore_ascii_case(b"transfer-encoding");
        self.chunked |= coding;
        if length || coding {
            self.announced = self.announced.saturating_add(1);
        }
        self.announced > 1 && (length || coding)
    }

    fn end_of_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        self.place = match self.place {
            Place::Start if line.is_empty() => Place::Start,
            Place::Start => Place::Headers,
            Place::Headers if line.is_empty() => {
                let body = self.body.take().unwrap_or(0);
                let chunked = std::mem::take(&mut self.chunked);
                self.announced = 0;
                match body {
                    _ if chunked => Place::ChunkSize,
                    0 => Place::Start,
                    length => Place::Body(length),
                }
            }
            Place::Headers if is_length(line) => {
                self.body = line.split(|b| *b == b':').nth(1).and_then(|digits| number(digits.trim_ascii(), 10));
                if self.body.is_some() { Place::Headers } else { Place::Lost }
            }
            Place::ChunkSize => {
                let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
                match line.get(..end).and_then(|digits| number(digits, 16)) {
                    Some(0) => Place::Trailers,
                    Some(length) => Place::Chunk(length),
                    None => Place::Lost,
                }
            }
            Place::ChunkEnd => Place::ChunkSize,
            Place::Trailers if line.is_empty() => Place::Start,
            same => same,
        };
    }
}

/// Whether this is the begin of a Content-Length line, colon included.
fn is_length(line: &[u8]) -> bool {
    line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // `from_str_radix` would take a sign.
    if !digits.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// A connection whose incoming messages are followed.
pub(super) struct Followed<S> {
    inner: S,
    framing: Framing,
}

impl<S> Followed<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, framing: Framing::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if let Some(new) = buf.filled_mut().get_mut(before..) {
            self.framing.inspect(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the text was spoiled; the same however it was cut into reads.
    fn spoils(text: &str) -> bool {
        let mut answers = Vec::new();
        for size in [1, 2, 3, 7, text.len().max(1)] {
            let mut framing = Framing::new();
            let mut bytes = text.as_bytes().to_vec();
            for chunk in bytes.chunks_mut(size) {
                framing.inspect(chunk);
            }
            answers.push(bytes != text.as_bytes());
        }
        assert!(answers.iter().all(|a| *a == answers[0]), "{text:?} depends on the cuts");
        answers[0]
    }

    const TWICE: &str = "POST / HTTP/1.1\r\nContent-Length: 1\r\nA: b\r\ncontent-length:1\r\n\r\nx";

    #[test]
    fn message_is_spoiled_when_its_length_comes_twice() {
        assert!(spoils(TWICE));
        assert!(spoils("POST / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n"));
        assert!(spoils("POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\nContent-Length: 1\r\n\r\n"));
        assert!(spoils("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"));
        let zeros = "0".repeat(300);
        assert!(spoils(&format!("POST / HTTP/1.1\r\nContent-Length: {zeros}5\r\n\r\n")));
    }

    #[test]
    fn request_line_is_spoiled_when_it_has_a_fragment() {
        assert!(spoils("GET /kv/default/a#b HTTP/1.1\r\n\r\n"));
        assert!(spoils("GET / HTTP/1.1\r\n\r\nGET /?k=a#b HTTP/1.1\r\n\r\n"));
        assert!(!spoils("POST /a%23b HTTP/1.1\r\nX: a#b\r\nContent-Length: 3\r\n\r\na#b"));
    }

    #[test]
    fn message_is_spoiled_when_it_follows_others() {
        for first in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nContent-Length: 1\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nab\n\nc\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        ] {
            assert!(!spoils(first), "{first:?}");
            assert!(spoils(&format!("{first}{TWICE}")), "{first:?}");
            assert!(!spoils(&format!("{first}{first}")), "{first:?}");
        }
    }

    #[test]
    fn message_is_left_alone_when_it_only_looks_so() {
        for text in [
            "GET /Content-Length:1 HTTP/1.1\r\nX: Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "POST / HTTP/1.1\r\nContent-Length: x\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nTransfer-Encoding: chunked",
            "",
        ] {
            assert!(!spoils(text), "{text:?}");
        }
        let long = "x".repeat(5000);
        assert!(!spoils(&format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n{long}: x\r\n\r\n")));
    }
}
