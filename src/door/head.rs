//! The head of one HTTP/1 request, judged before hyper reads it. Pure: whole heads, no sockets.
//!
//! hyper answers some heads by itself, with nothing to read for the client, and takes some as well meant of which another
//! server before us may think otherwise: a length given twice can hide a second request in the body of the first (RFC
//! 9112, sections 6.3 and 11.2). So each head is judged here, by the parser that hyper has too, and hyper reads only what
//! leaves nothing to judge: of a refused one a stand-in, which is answered with the refusal.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method};
use httparse::{Header, Status};
use memchr::{memchr, memrchr};

use super::length::number;
use super::refusal::Refusal;
use super::target;

/// The longest request line: a target of the greatest length, with room for a method and the version.
pub(super) const MOST_LINE: usize = target::LONGEST + 1024;

/// The most header lines.
const MOST_HEADERS: usize = 100;

/// The longest method there is has some 20 letters.
const MOST_METHOD: usize = 64;

/// So many lines of Accept are looked at for the form of a refusal.
const ACCEPTS: usize = 8;

/// How the body is framed that follows a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// It has so many bytes; mostly none.
    Length(u64),
    /// It is in chunks.
    Chunked,
}

/// What hyper reads in place of a head, and what follows; or why the request is refused.
pub(super) struct Judged {
    pub(super) text: Bytes,
    pub(super) body: Result<Framing, Refusal>,
}

/// Judges a head up to its empty line.
pub(super) fn judged(raw: Bytes) -> Judged {
    match parsed(&raw) {
        Ok((None, framing)) => Judged { text: raw, body: Ok(framing) },
        Ok((Some(text), framing)) => Judged { text: text.into(), body: Ok(framing) },
        Err(refusal) => refused(&raw, refusal),
    }
}

/// A head of which this has come is refused. What stands for it shows in which form the client wants to be told.
pub(super) fn refused(raw: &[u8], refusal: Refusal) -> Judged {
    let method = if raw.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let mut text = BytesMut::from(format!("{method} / HTTP/1.1\r\nHost: refused\r\n").as_bytes());
    let accepts = raw.split(|b| *b == b'\n').filter_map(|line| value(line, b"accept:"));
    for accept in accepts.filter(|accept| HeaderValue::from_bytes(accept).is_ok()).take(ACCEPTS) {
        text.extend_from_slice(b"Accept: ");
        text.extend_from_slice(accept);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"Connection: close\r\n\r\n");
    Judged { text: text.freeze(), body: Err(refusal) }
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = line.split_at_checked(name.len())?;
    begin.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

/// Whether a head that is not whole yet may become one, `fields` bytes of headers being allowed.
pub(super) fn bounded(raw: &[u8], fields: usize) -> Result<(), Refusal> {
    let method = raw.iter().take(MOST_METHOD + 1).position(|b| !is_token(*b)).unwrap_or(raw.len());
    if method > MOST_METHOD || method == 0 && !raw.is_empty() || raw.get(method).is_some_and(|b| *b != b' ') {
        return Err(Refusal::Malformed);
    }
    match memchr(b'\n', raw.get(..MOST_LINE).unwrap_or(raw)) {
        None if raw.len() >= MOST_LINE => Err(Refusal::LongTarget),
        Some(end) if raw.len() - end > fields => Err(Refusal::LongHead),
        _ => Ok(()),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The head with another request line, if it needs one, and the framing of its body.
fn parsed(raw: &[u8]) -> Result<(Option<Vec<u8>>, Framing), Refusal> {
    let (line, fields) = raw.split_at(memchr(b'\n', raw).ok_or(Refusal::Malformed)?);
    let text = rewritten(line)?.map(|line| [&line, fields].concat());
    let all = text.as_deref().unwrap_or(raw);
    let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let framing = match request.parse_with_uninit_headers(all, &mut slots) {
        Ok(Status::Complete(length)) if length == all.len() => {
            Method::from_bytes(request.method.unwrap_or("").as_bytes()).map_err(|_| Refusal::Malformed)?;
            framing(request.version == Some(1), request.headers)?
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::LongHead),
        Ok(_) | Err(_) => return Err(Refusal::Malformed),
    };
    Ok((text, framing))
}

/// The request line with its target as a path and query of bytes that a URI can carry; none if it is so already.
fn rewritten(line: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else { return Err(Refusal::Malformed) };
    let given = line.get(first + 1..last).ok_or(Refusal::Malformed)?;
    if !target::is_sendable(given) {
        return Err(Refusal::BadTarget);
    }
    let normal = target::normal(given)?;
    let (before, behind) = (line.get(..=first).unwrap_or_default(), line.get(last..).unwrap_or_default());
    Ok((normal.as_bytes() != given).then(|| [before, normal.as_bytes(), behind].concat()))
}

fn framing(is_http_11: bool, headers: &[Header<'_>]) -> Result<Framing, Refusal> {
    let all = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let mut codings = all("transfer-encoding");
    let mut lengths = all("content-length");
    match (codings.next(), lengths.next(), codings.next().or(lengths.next())) {
        (None, None, _) => Ok(Framing::Length(0)),
        (None, Some(length), None) => match number(length.value) {
            // More than any counter of bytes takes.
            Some(length) if i64::try_from(length).is_err() => Err(Refusal::TooLarge),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Refusal::BadLength),
        },
        (Some(coding), None, None) if is_http_11 => coded(coding.value),
        _ => Err(Refusal::BadFraming),
    }
}

/// RFC 9112, section 6.1: what is in the chunks would be taken for the body itself if it were coded otherwise too.
fn coded(coding: &[u8]) -> Result<Framing, Refusal> {
    let last = coding.rsplit(|b| *b == b',').next().unwrap_or(coding);
    match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        true if last.len() == coding.len() => Ok(Framing::Chunked),
        true => Err(Refusal::BadCoding),
        false => Err(Refusal::BadFraming),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: impl AsRef<[u8]>) -> (String, Result<Framing, Refusal>) {
        let judged = judged(Bytes::copy_from_slice(text.as_ref()));
        (String::from_utf8(judged.text.to_vec()).unwrap(), judged.body)
    }

    fn framed(headers: &str) -> Result<Framing, Refusal> {
        judge(format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")).1
    }

    #[test]
    fn head_stays_as_it_is_when_nothing_is_wrong_with_it() {
        for head in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a%2Cb?k=%zz HTTP/1.0\n\n",
            "OPTIONS * HTTP/1.1\r\nX: Content-Length: 3\r\nX-Content-Length: 4\r\n\r\n",
        ] {
            assert_eq!(judge(head), (head.to_owned(), Ok(Framing::Length(0))));
        }
        assert_eq!(framed("Content-Length: 005"), Ok(Framing::Length(5)));
        assert_eq!(framed("transfer-encoding:CHUNKED "), Ok(Framing::Chunked));
    }

    #[test]
    fn target_is_rewritten_when_a_uri_cannot_carry_it() {
        for (given, target) in
            [("/?k=\"<a>\"", "/?k=%22%3Ca%3E%22"), ("http://h:1/x", "/x"), ("/\u{e4}|{}", "/%C3%A4|{}")]
        {
            let (text, body) = judge(format!("GET {given} HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"));
            assert_eq!(text, format!("GET {target} HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"));
            assert_eq!(body, Ok(Framing::Length(0)));
        }
        let (text, _) = judge(b"GET /\xff HTTP/1.1\r\n\r\n");
        assert_eq!(text, "GET /%FF HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn message_is_refused_when_its_length_can_be_read_in_two_ways() {
        for (headers, refusal) in [
            ("Content-Length: 1\r\ncontent-length: 1", Refusal::BadFraming),
            ("Content-Length: 1\r\nA: b\r\nTransfer-Encoding: chunked", Refusal::BadFraming),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", Refusal::BadFraming),
            ("Transfer-Encoding: chunked\r\ntransfer-encoding: x", Refusal::BadFraming),
            ("Transfer-Encoding: chunked, x", Refusal::BadFraming),
            ("Transfer-Encoding:", Refusal::BadFraming),
            ("Transfer-Encoding: gzip, chunked", Refusal::BadCoding),
            ("Content-Length: +5", Refusal::BadLength),
            ("Content-Length: 5, 5", Refusal::BadLength),
            ("Content-Length:", Refusal::BadLength),
            ("Content-Length: 18446744073709551616", Refusal::BadLength),
            ("Content-Length: 18446744073709551615", Refusal::TooLarge),
            ("Content-Length : 5", Refusal::Malformed),
            ("X: y\r\n folded", Refusal::Malformed),
        ] {
            assert_eq!(framed(headers), Err(refusal), "{headers}");
        }
        let old = judge("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old.1, Err(Refusal::BadFraming));
    }

    #[test]
    fn refused_head_is_replaced_and_keeps_only_what_the_client_accepts() {
        let raw = "HEAD /a#b HTTP/1.1\r\nHost: h\r\naccept: application/json\r\nContent-Length: 3\r\n\r\n";
        let stand_in = "HEAD / HTTP/1.1\r\nHost: refused\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
        assert_eq!(judge(raw), (stand_in.to_owned(), Err(Refusal::BadTarget)));
        for (line, refusal) in [
            ("GET /a b HTTP/1.1", Refusal::BadTarget),
            ("CONNECT h:80 HTTP/1.1", Refusal::BadTarget),
            ("GET  HTTP/1.1", Refusal::BadTarget),
            ("GET /", Refusal::Malformed),
            ("GET / HTTP/2.0", Refusal::Malformed),
            ("GE\"T / HTTP/1.1", Refusal::Malformed),
        ] {
            assert_eq!(judge(format!("{line}\r\n\r\n")).1, Err(refusal), "{line}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert_eq!(judge(many).1, Err(Refusal::LongHead));
    }

    #[test]
    fn head_has_bounds_before_it_is_whole() {
        let long = "x".repeat(MOST_LINE);
        for (raw, outcome) in [
            ("", Ok(())),
            ("GE", Ok(())),
            ("GET /x", Ok(())),
            ("GET / HTTP/1.1\r\nHost: h", Ok(())),
            ("\u{16}\u{3}\u{1}", Err(Refusal::Malformed)),
            (format!("GET /{long}").as_str(), Err(Refusal::LongTarget)),
            (format!("GET /{long} HTTP/1.1\r\nX: y").as_str(), Err(Refusal::LongTarget)),
            (long.as_str(), Err(Refusal::Malformed)),
            (format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(100)).as_str(), Err(Refusal::LongHead)),
        ] {
            assert_eq!(bounded(raw.as_bytes(), 100), outcome, "{raw:.30}");
        }
    }
}
