//! Checks the head of one HTTP/1 request before hyper reads it. Pure: complete heads, no sockets.
//!
//! hyper answers some invalid heads itself, without an explanation for the client. It also accepts some heads that
//! another server in front of kvs may read differently: a length that is sent twice can hide a second request in the
//! body of the first (RFC 9112, sections 6.3 and 11.2). So each head is checked here, with the parser that hyper uses
//! too, and hyper reads only heads that are unambiguous. In place of a rejected head it reads a substitute, and the
//! response to the substitute is the error.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method};
use httparse::{Header, Status};
use memchr::{memchr, memrchr};

use crate::server::cgi::body_length::parse_number;
use crate::server::error_response::TransportError;
use crate::server::request_target;

/// The longest request line: the longest target, with room for a method and the version.
pub(crate) const MAX_REQUEST_LINE_BYTES: usize = request_target::MAX_TARGET_BYTES + 1024;

/// The most header lines.
const MAX_HEADERS: usize = 100;

/// The longest method. Registered methods have at most about 20 letters.
const MAX_METHOD_BYTES: usize = 64;

/// How many lines of Accept a substitute head keeps. They decide the format of the error response.
const MAX_ACCEPT_LINES: usize = 8;

/// The framing of the body after a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// The body has this many bytes, usually none.
    Length(u64),
    /// The body is in chunks.
    Chunked,
}

/// The text that hyper reads for a head, and the framing of the body or the error of the request.
pub(crate) struct CheckedHead {
    pub(crate) text: Bytes,
    pub(crate) body: Result<Framing, TransportError>,
}

/// Checks a head, including its empty line.
pub(crate) fn check(raw: Bytes) -> CheckedHead {
    match parse(&raw) {
        Ok((None, framing)) => CheckedHead { text: raw, body: Ok(framing) },
        Ok((Some(text), framing)) => CheckedHead { text: text.into(), body: Ok(framing) },
        Err(error) => rejected_head(&raw, error),
    }
}

/// The substitute for a rejected head, complete or not. It keeps the lines that decide the format of the error
/// response.
pub(crate) fn rejected_head(raw: &[u8], error: TransportError) -> CheckedHead {
    let method = if raw.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let mut text = BytesMut::from(format!("{method} / HTTP/1.1\r\nHost: refused\r\n").as_bytes());
    let accepts = raw.split(|b| *b == b'\n').filter_map(|line| value(line, b"accept:"));
    for accept in accepts.filter(|accept| HeaderValue::from_bytes(accept).is_ok()).take(MAX_ACCEPT_LINES) {
        text.extend_from_slice(b"Accept: ");
        text.extend_from_slice(accept);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"Connection: close\r\n\r\n");
    CheckedHead { text: text.freeze(), body: Err(error) }
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = line.split_at_checked(name.len())?;
    begin.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

/// Checks that an incomplete head can still become a valid one with at most `max_field_bytes` of headers.
pub(crate) fn check_size(raw: &[u8], max_field_bytes: usize) -> Result<(), TransportError> {
    let method = raw.iter().take(MAX_METHOD_BYTES + 1).position(|b| !is_token(*b)).unwrap_or(raw.len());
    if method > MAX_METHOD_BYTES || method == 0 && !raw.is_empty() || raw.get(method).is_some_and(|b| *b != b' ') {
        return Err(TransportError::MalformedHead);
    }
    match memchr(b'\n', raw.get(..MAX_REQUEST_LINE_BYTES).unwrap_or(raw)) {
        None if raw.len() >= MAX_REQUEST_LINE_BYTES => Err(TransportError::TargetTooLong),
        Some(end) if raw.len() - end > max_field_bytes => Err(TransportError::HeadTooLong),
        _ => Ok(()),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The head with a rewritten request line, if that is necessary, and the framing of its body.
fn parse(raw: &[u8]) -> Result<(Option<Vec<u8>>, Framing), TransportError> {
    let (line, fields) = raw.split_at(memchr(b'\n', raw).ok_or(TransportError::MalformedHead)?);
    let text = rewrite_request_line(line)?.map(|line| [&line, fields].concat());
    let all = text.as_deref().unwrap_or(raw);
    let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let framing = match request.parse_with_uninit_headers(all, &mut slots) {
        Ok(Status::Complete(length)) if length == all.len() => {
            Method::from_bytes(request.method.unwrap_or("").as_bytes()).map_err(|_| TransportError::MalformedHead)?;
            framing(request.version == Some(1), request.headers)?
        }
        Err(httparse::Error::TooManyHeaders) => return Err(TransportError::HeadTooLong),
        Ok(_) | Err(_) => return Err(TransportError::MalformedHead),
    };
    Ok((text, framing))
}

/// The request line with its target as a path and query that a URI can contain; `None` if nothing changes.
fn rewrite_request_line(line: &[u8]) -> Result<Option<Vec<u8>>, TransportError> {
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(TransportError::MalformedHead);
    };
    let target = line.get(first + 1..last).ok_or(TransportError::MalformedHead)?;
    if !request_target::is_sendable(target) {
        return Err(TransportError::BadTarget);
    }
    let normal = request_target::normalize(target)?;
    let (before, after) = (line.get(..=first).unwrap_or_default(), line.get(last..).unwrap_or_default());
    Ok((normal.as_bytes() != target).then(|| [before, normal.as_bytes(), after].concat()))
}

fn framing(is_http_11: bool, headers: &[Header<'_>]) -> Result<Framing, TransportError> {
    let all = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let mut codings = all("transfer-encoding");
    let mut lengths = all("content-length");
    match (codings.next(), lengths.next(), codings.next().or(lengths.next())) {
        (None, None, _) => Ok(Framing::Length(0)),
        (None, Some(length), None) => match parse_number(length.value) {
            // The byte counters of hyper and of this server are smaller than this.
            Some(length) if i64::try_from(length).is_err() => Err(TransportError::BodyTooLarge),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(TransportError::BadContentLength),
        },
        (Some(coding), None, None) if is_http_11 => transfer_coding(coding.value),
        _ => Err(TransportError::BadFraming),
    }
}

/// Accepts only `chunked` (RFC 9112, section 6.1). With a further coding, the encoded data would be stored as the body.
fn transfer_coding(coding: &[u8]) -> Result<Framing, TransportError> {
    let last = coding.rsplit(|b| *b == b',').next().unwrap_or(coding);
    match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        true if last.len() == coding.len() => Ok(Framing::Chunked),
        true => Err(TransportError::BadTransferCoding),
        false => Err(TransportError::BadFraming),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: impl AsRef<[u8]>) -> (String, Result<Framing, TransportError>) {
        let checked = check(Bytes::copy_from_slice(text.as_ref()));
        (String::from_utf8(checked.text.to_vec()).unwrap(), checked.body)
    }

    fn framing_of(headers: &str) -> Result<Framing, TransportError> {
        check_text(format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")).1
    }

    #[test]
    fn valid_head_is_unchanged() {
        for head in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a%2Cb?k=%zz HTTP/1.0\n\n",
            "OPTIONS * HTTP/1.1\r\nX: Content-Length: 3\r\nX-Content-Length: 4\r\n\r\n",
        ] {
            assert_eq!(check_text(head), (head.to_owned(), Ok(Framing::Length(0))));
        }
        assert_eq!(framing_of("Content-Length: 005"), Ok(Framing::Length(5)));
        assert_eq!(framing_of("transfer-encoding:CHUNKED "), Ok(Framing::Chunked));
    }

    #[test]
    fn target_is_rewritten_when_a_uri_cannot_contain_it() {
        for (sent, target) in
            [("/?k=\"<a>\"", "/?k=%22%3Ca%3E%22"), ("http://h:1/x", "/x"), ("/\u{e4}|{}", "/%C3%A4|{}")]
        {
            let (text, body) = check_text(format!("GET {sent} HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"));
            assert_eq!(text, format!("GET {target} HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"));
            assert_eq!(body, Ok(Framing::Length(0)));
        }
        let (text, _) = check_text(b"GET /\xff HTTP/1.1\r\n\r\n");
        assert_eq!(text, "GET /%FF HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn message_is_rejected_when_its_length_is_ambiguous() {
        for (headers, error) in [
            ("Content-Length: 1\r\ncontent-length: 1", TransportError::BadFraming),
            ("Content-Length: 1\r\nA: b\r\nTransfer-Encoding: chunked", TransportError::BadFraming),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", TransportError::BadFraming),
            ("Transfer-Encoding: chunked\r\ntransfer-encoding: x", TransportError::BadFraming),
            ("Transfer-Encoding: chunked, x", TransportError::BadFraming),
            ("Transfer-Encoding:", TransportError::BadFraming),
            ("Transfer-Encoding: gzip, chunked", TransportError::BadTransferCoding),
            ("Content-Length: +5", TransportError::BadContentLength),
            ("Content-Length: 5, 5", TransportError::BadContentLength),
            ("Content-Length:", TransportError::BadContentLength),
            ("Content-Length: 18446744073709551616", TransportError::BadContentLength),
            ("Content-Length: 18446744073709551615", TransportError::BodyTooLarge),
            ("Content-Length : 5", TransportError::MalformedHead),
            ("X: y\r\n folded", TransportError::MalformedHead),
        ] {
            assert_eq!(framing_of(headers), Err(error), "{headers}");
        }
        let old = check_text("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old.1, Err(TransportError::BadFraming));
    }

    #[test]
    fn rejected_head_is_replaced_and_keeps_only_the_accept_lines() {
        let raw = "HEAD /a#b HTTP/1.1\r\nHost: h\r\naccept: application/json\r\nContent-Length: 3\r\n\r\n";
        let substitute = "HEAD / HTTP/1.1\r\nHost: refused\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
        assert_eq!(check_text(raw), (substitute.to_owned(), Err(TransportError::BadTarget)));
        for (line, error) in [
            ("GET /a b HTTP/1.1", TransportError::BadTarget),
            ("CONNECT h:80 HTTP/1.1", TransportError::BadTarget),
            ("GET  HTTP/1.1", TransportError::BadTarget),
            ("GET /", TransportError::MalformedHead),
            ("GET / HTTP/2.0", TransportError::MalformedHead),
            ("GE\"T / HTTP/1.1", TransportError::MalformedHead),
        ] {
            assert_eq!(check_text(format!("{line}\r\n\r\n")).1, Err(error), "{line}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert_eq!(check_text(many).1, Err(TransportError::HeadTooLong));
    }

    #[test]
    fn incomplete_head_is_limited() {
        let long = "x".repeat(MAX_REQUEST_LINE_BYTES);
        for (raw, outcome) in [
            ("", Ok(())),
            ("GE", Ok(())),
            ("GET /x", Ok(())),
            ("GET / HTTP/1.1\r\nHost: h", Ok(())),
            ("\u{16}\u{3}\u{1}", Err(TransportError::MalformedHead)),
            (format!("GET /{long}").as_str(), Err(TransportError::TargetTooLong)),
            (format!("GET /{long} HTTP/1.1\r\nX: y").as_str(), Err(TransportError::TargetTooLong)),
            (long.as_str(), Err(TransportError::MalformedHead)),
            (format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(100)).as_str(), Err(TransportError::HeadTooLong)),
        ] {
            assert_eq!(check_size(raw.as_bytes(), 100), outcome, "{raw:.30}");
        }
    }
}
