//! Requests of ambiguous length, so that a second request may hide in the first (RFC 9112 sections 6 and 11.2). Each
//! contains one that would store a value if the server took it for a request.

use super::{Case, SECRET, message};

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), codings(), chunks(), lines()].concat()
}

/// The hidden request, which must never be done.
fn smuggled() -> String {
    format!("PUT /kv/default/smuggled HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: 3\r\n\r\nbad")
}

/// A PUT with these headers about its length, this body, and then the hidden request.
fn put(name: &str, headers: &str, body: &str) -> Case {
    (
        format!("{name}: {headers:?}"),
        message("PUT /kv/default/a", &format!("{headers}\r\n"), format!("{body}{}", smuggled())),
    )
}

fn lengths() -> Vec<Case> {
    [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 0",
        "Content-Length: 5, 5",
        "Content-Length: 5,5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5;",
        "Content-Length: \"5\"",
        "Content-Length:",
        "Content-Length: \u{665}",
        "Content-Length: \u{b}5",
        "Content-Length: 5\u{c}",
        "Content-Length: 5\0",
        "Content-Length: five",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551621",
        "Content-Length: 9223372036854775808",
        "Content-Length: 99999999999999999999999999999999",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Content-Length\r\n: 5",
        "Content-Length: 5\r\n 0",
        "Content-Length:\r\n 5",
        "X: y\r\n\tContent-Length: 5",
        "Content-Length\0: 5",
        "Content-Length\u{a0}: 5",
    ]
    .map(|headers| put("length", headers, "hello"))
    .to_vec()
}

fn codings() -> Vec<Case> {
    [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chun ked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{c}",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: cow",
        "Transfer-Encoding:",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\n\tX",
        "Transfer_Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        "TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: 5",
    ]
    .map(|headers| put("coding", headers, "5\r\nhello\r\n0\r\n\r\n"))
    .to_vec()
}

fn chunks() -> Vec<Case> {
    let bodies = [
        "g\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "7fffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "five\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        ";\r\nhello\r\n0\r\n\r\n",
    ];
    let mut cases: Vec<Case> =
        bodies.iter().map(|body| put(&format!("chunks {body:?}"), "Transfer-Encoding: chunked", body)).collect();
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    cases.push(put("chunk with an extension of a megabyte", "Transfer-Encoding: chunked", &extension));
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    cases.push(put("chunks with 100,000 trailers", "Transfer-Encoding: chunked", &trailers));
    let tiny = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(20_000);
    cases.push(put(
        "thousands of tiny chunks with extensions",
        "Transfer-Encoding: chunked",
        &format!("{tiny}0\r\n\r\n"),
    ));
    cases
}

/// Line ends that only some servers accept.
fn lines() -> Vec<Case> {
    let smuggled = smuggled();
    let raw = |name: &str, text: String| (format!("lines {name}"), text.into_bytes());
    vec![
        raw("folded header", format!("GET /kv/default/a HTTP/1.1\r\nHost: h\r\nX: y\r\n {smuggled}")),
        raw("folded host", "GET /kv/default/a HTTP/1.1\r\nHost:\r\n h\r\n\r\n".to_owned()),
        raw("bare returns", "GET /kv/default/a HTTP/1.1\rHost: h\r\r".to_owned()),
        raw("return for a line end", format!("GET /nope HTTP/1.1\r\nHost: h\r\nX: y\r\r{smuggled}")),
        raw("NUL before the line end", "GET /kv/default/a HTTP/1.1\0\r\nHost: h\r\n\r\n".to_owned()),
        raw("line feed in the target", "GET /kv/default/a\nb HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        raw(
            "target with a whole request in it",
            "GET /kv/default/%0d%0aPUT%20/kv/default/smuggled HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                .to_owned(),
        ),
        raw("header with a line of Unicode", "GET / HTTP/1.1\r\nHost: h\u{2028}X: y\r\nX\u{a0}Y: z\r\n\r\n".to_owned()),
        raw(
            "a request after a rejected one",
            format!("BAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n{smuggled}"),
        ),
    ]
}
