//! Hostile names and values: paths out of the folder, invalid UTF-8, control characters, methods, hosts, types, secrets
//! in wrong places, and huge numbers.

use super::{Case, SECRET, message};

pub(crate) fn cases() -> Vec<Case> {
    [paths(), keys(), queries(), heads(), types(), values()].concat()
}

fn each(kind: &str, method: &str, targets: &[String]) -> Vec<Case> {
    let case = |target: &String| {
        let shown: String = target.chars().take(60).collect();
        (format!("{kind} {method} {shown}"), message(&format!("{method} {target}"), "Content-Length: 1\r\n", "x"))
    };
    targets.iter().map(case).collect()
}

/// Paths out of a folder. Each is a 400 or 404 for every method that could read or write there.
fn paths() -> Vec<Case> {
    let ways = [
        "/../auth.txt",
        "/../../../../etc/passwd",
        "/kv/../auth.txt",
        "/kv/default/../../auth.txt",
        "/kv/default/..",
        "/kv/default/.",
        "/kv/default/../a",
        "/kv/../default/a",
        "/kv/./default/a",
        "/kv//default/a",
        "//kv/default/a",
        "/kv/default//a",
        "/kv/default/a/",
        "/kv/default/dir/../a",
        "/kv/..%2Fauth/a",
        "/kv/%2e%2e/a",
        "/kv/%2E%2E%2Fauth",
        "/kv/default/%2e%2e",
        "/kv/default/%2e%2e/%2e%2e/etc/passwd",
        "/kv/default/%2e%2e%2fa",
        "/kv/default/..%2fa",
        "/kv/default/.%2e/a",
        "/kv/default/%2fetc%2fpasswd",
        "/kv/default%2f..%2fa",
        "/%2e%2e/auth.txt",
        "/%2fetc/passwd",
        "/kv/default/%c0%ae%c0%ae/a",
        "/kv/default/%c0%af..%c0%afetc",
        "/kv/default/%e0%80%ae%e0%80%ae",
        "/kv/default/%f0%80%80%af",
        "/kv/default/%ed%a0%80",
        "/kv/default/%f8%80%80%80%af",
        "/kv/default/%fe%ff",
        "/kv/default/%uff0e%uff0e",
        "/kv/default/a%00.txt",
        "/kv/default/%00",
        "/kv/default%00/a",
        "/kv/def\\..\\ault/a",
        "/kv/C:/a",
        "/kv/a:b/a",
        "/kv/default.lock%00/a",
        "/kv/-default/a",
        "/kv/.default/a",
        "/kv/..default/a",
        "/kv/_kvs.throttle/a",
        "/kv/%5Fkvs.throttle/a",
        "/kv/_kvs/a",
        "/kv/de fault/a",
        "/kv/d%C3%A9fault/a",
    ];
    let mut ways: Vec<String> = ways.iter().map(|&way| way.to_owned()).collect();
    ways.push(format!("/kv/{}/a", "b".repeat(65)));
    [each("path", "GET", &ways), each("path", "PUT", &ways), each("path", "DELETE", &ways)].concat()
}

/// Invalid keys, in the path and in the query.
fn keys() -> Vec<Case> {
    let pieces = [
        "%0a",
        "a%0d%0aX-Evil:%201",
        "%7f",
        "%c2%80",
        "%c2%9f",
        "%1b[2J",
        "%ff",
        "%c3",
        "%",
        "%4",
        "%zz",
        "%%41",
        "%\u{b2}0",
    ];
    let long = ["k".repeat(1025), "%41".repeat(1025), "k".repeat(30_000)];
    let pieces: Vec<String> = pieces.iter().map(|&p| p.to_owned()).chain(long).collect();
    let at = |begin: &str| pieces.iter().map(|piece| format!("{begin}{piece}")).collect::<Vec<_>>();
    let mut query = at("/kv/default?key=");
    query.extend(
        ["/kv/default?key=", "/kv/default?key=.", "/kv/default?key=..", "/kv/default/a?key=a"].map(str::to_owned),
    );
    let mut classic = at("/?k=");
    classic.extend(["/?k=".to_owned(), "/?k=,,,".to_owned(), format!("/?k={}", "a,".repeat(1001))]);
    [each("key", "PUT", &at("/kv/default/")), each("key", "PUT", &query), each("key", "GET", &classic)].concat()
}

fn queries() -> Vec<Case> {
    let secret = |path: &str, name: &str| format!("{path}{name}={SECRET}");
    let reads = [
        secret("/?k=a&", "auth"),
        secret("/kv/default/a?", "auth"),
        secret("/kv/default/a?", "%61%75%74%68"),
        secret("/status?", "auth"),
        secret("/?", "auth"),
        "/kv/default?limit=0".to_owned(),
        "/kv/default?limit=-1".to_owned(),
        "/kv/default?limit=1001".to_owned(),
        format!("/kv/default?limit={}", "9".repeat(400)),
        "/kv/default?limit=1e3".to_owned(),
        "/kv/default?format=../../auth.txt".to_owned(),
        "/kv/default?after=%ff".to_owned(),
        "/kv/default?prefix=%".to_owned(),
        "/?k=a&wait=-1".to_owned(),
        "/?k=a&wait=1e9&seen=none".to_owned(),
        "/kv/default/a?path=/a".to_owned(),
        "/kv/default/a?wait=%00".to_owned(),
    ];
    let writes = [
        secret("/kv/default/a?", "auth"),
        "/kv/default/a?ttl=0".to_owned(),
        "/kv/default/a?ttl=-1".to_owned(),
        "/kv/default/a?ttl=1e9".to_owned(),
        "/kv/default/a?ttl=0x10".to_owned(),
        "/kv/default/a?ttl=%2B1".to_owned(),
        "/kv/default/a?ttl=".to_owned(),
        "/kv/default/a?expires=0".to_owned(),
        "/kv/default/a?expires=-1".to_owned(),
        "/kv/default/a?ttl=5&expires=4102444800".to_owned(),
        "/kv/default/a?return=all".to_owned(),
    ];
    let operations = [
        "/kv/default/a?op=eval".to_owned(),
        "/kv/default/a?op=".to_owned(),
        "/kv/default/n?op=incr&by=9223372036854775807".to_owned(),
        "/kv/default/n?op=incr&by=99999999999999999999".to_owned(),
        format!("/kv/default/n?op=incr&by={}", "1".repeat(5000)),
        "/kv/default/n?op=incr&by=NaN".to_owned(),
        "/kv/default/n?op=incr&by=1.0".to_owned(),
        "/kv/default/json?op=incr".to_owned(),
        "/kv/default/a?op=touch".to_owned(),
        "/kv/default/a?op=persist&ttl=1".to_owned(),
    ];
    [each("query", "GET", &reads), each("query", "PUT", &writes), each("query", "POST", &operations)].concat()
}

fn heads() -> Vec<Case> {
    let raw = |name: &str, head: &str| (format!("head {name}"), format!("{head}\r\n\r\n").into_bytes());
    let lines = |n: usize, line: &str| line.repeat(n);
    let mut cases = vec![
        raw("without a host", "GET / HTTP/1.1"),
        raw("with two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b"),
        raw("with one host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a"),
        raw("of HTTP/2", "PRI * HTTP/2.0"),
        raw("of HTTP/3", "GET / HTTP/3.0"),
        raw("of HTTP/1.2", "GET / HTTP/1.2\r\nHost: h"),
        raw("of HTTP/0.9", "GET /"),
        raw("of no protocol", "GET / JUNK/1.1"),
        raw("in small letters", "GET / http/1.1\r\nHost: h"),
        raw("with four words", "GET / / HTTP/1.1\r\nHost: h"),
        raw("with two blanks", "GET  / HTTP/1.1\r\nHost: h"),
        raw("with a blank in front", " GET / HTTP/1.1\r\nHost: h"),
        raw("with a tab", "GET\t/ HTTP/1.1\r\nHost: h"),
        raw("CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org"),
        raw("of another scheme's place", "GET ftp:a HTTP/1.1\r\nHost: h"),
        raw("asterisk of a GET", "GET * HTTP/1.1\r\nHost: h"),
        raw("no slash", "GET kv/default/a HTTP/1.1\r\nHost: h"),
        raw("control character in the target", "GET /kv/default/a\u{1}b HTTP/1.1\r\nHost: h"),
        raw("NUL in a header", "GET /kv/default/a HTTP/1.1\r\nHost: h\r\nX: a\0b"),
        raw("carriage return in a header", "GET /kv/default/a HTTP/1.1\r\nHost: h\r\nX: a\rb: c"),
        raw("no name of a header", "GET / HTTP/1.1\r\nHost: h\r\n: x"),
        raw("blank in the name of a header", "GET / HTTP/1.1\r\nHost: h\r\nX Y: z"),
        raw("no colon", "GET / HTTP/1.1\r\nHost: h\r\nnonsense"),
        raw("thousands of headers", &format!("GET / HTTP/1.1\r\nHost: h\r\n{}X: y", lines(5_000, "X: y\r\n"))),
        raw("a header of a megabyte", &format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", lines(1 << 20, "x"))),
        raw("a name of a megabyte", &format!("GET / HTTP/1.1\r\nHost: h\r\n{}: x", lines(1 << 20, "x"))),
        raw("a target of a megabyte", &format!("GET /{} HTTP/1.1\r\nHost: h", lines(1 << 20, "x"))),
        raw("a fragment", "GET /kv/default/a#b HTTP/1.1\r\nHost: h"),
        raw("a query of 60 kilobytes", &format!("GET /?k={} HTTP/1.1\r\nHost: h", lines(60_000, "x"))),
        raw("a method of a megabyte", &format!("{} / HTTP/1.1\r\nHost: h", lines(1 << 20, "X"))),
        ("garbage: garbage".to_owned(), (0..=255).map(|n: u8| n.wrapping_mul(7)).cycle().take(4096).collect()),
        ("garbage: TLS".to_owned(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        (
            "garbage: FastCGI".to_owned(),
            b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\r\n\r\n".to_vec(),
        ),
        ("garbage: SSH".to_owned(), b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()),
    ];
    for method in
        ["TRACE", "PATCH", "PROPFIND", "MKCOL", "get", "G\u{1}T", "GET(", "PURGE", "LOCK", "DEBUG", "-", "MOVE"]
    {
        cases.push((
            format!("method {method:?}"),
            message(&format!("{method} /kv/default/a"), "Destination: /b\r\n", ""),
        ));
    }
    for method in ["GET", "HEAD", "TRACE", "CONNECT", "", "PUT\t", "PUT, PUT", "DELETE;x", "\u{e9}"] {
        let header = format!("X-HTTP-Method-Override: {method}\r\nContent-Length: 0\r\n");
        // White space after PUT is trimmed, as in every header.
        if method.trim() != "PUT" {
            cases.push((format!("override {method:?}"), message("POST /kv/default?key=", &header, "")));
        }
    }
    cases
}

/// Content types that contain headers, and invalid preconditions.
fn types() -> Vec<Case> {
    let put = |name: &str, header: &str| {
        let headers = format!("{header}\r\nContent-Length: 1\r\n");
        (format!("header {name}"), message("PUT /kv/default/a", &headers, "x"))
    };
    let mut cases = vec![
        put("type with a return", "Content-Type: text/plain\rX-Evil: 1"),
        put("type with NUL", "Content-Type: text/plain\0"),
        put("type with an umlaut", "Content-Type: text/\u{e4}"),
        put("type with DEL", "Content-Type: text/\u{7f}"),
        put("type with a bell", "Content-Type: text/\u{7}"),
        put("type of no form", "Content-Type: plain"),
        put("type of great length", &format!("Content-Type: text/{}", "x".repeat(5_000))),
    ];
    for broken in ["k2", "\"", "\"k2", "k2\"", "W/k2", "W/", "\"a\" \"b\"", "*, \"a\"", ",", "\"a\";", "w/\"a\""] {
        cases.push(put("precondition", &format!("If-Match: {broken}")));
        cases.push(put("precondition", &format!("If-None-Match: {broken}")));
    }
    for broken in
        ["", "0", "yesterday", "Fri, 31 Feb 2026 12:00:00 GMT", "Fri, 20 Nov 2026 25:00:00 GMT", "2026-11-20T12:00:00Z"]
    {
        cases.push(put("date", &format!("If-Unmodified-Since: {broken}")));
    }
    cases
}

/// Bodies that are larger than a value or a form may be, or that are not a form.
fn values() -> Vec<Case> {
    let body = |name: &str, line: &str, kind: &str, body: Vec<u8>| {
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        (format!("body {name}"), message(line, &headers, body))
    };
    let form = "application/x-www-form-urlencoded";
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        body("one byte too large", "PUT /kv/default/a", "text/plain", vec![b'x'; (1 << 20) + 1]),
        body("much too large", "PUT /kv/default/a", "text/plain", vec![b'x'; 8 << 20]),
        body("append too much", "POST /kv/default/a?op=append", "text/plain", vec![b'x'; 1 << 20]),
        body("form of too much", "POST /", form, [b"a=".to_vec(), vec![b'x'; 4 << 20]].concat()),
        body("form of a value too large", "POST /", form, [b"a=".to_vec(), vec![b'x'; (1 << 20) + 1]].concat()),
        body("form of too many pairs", "POST /", form, text(&"a=1&".repeat(10_001))),
        body("form of nothing", "POST /", form, vec![]),
        body("form of a broken name", "POST /", form, text("a=no&%zz=1")),
        body("form of a name that is no text", "POST /", form, text("a=no&%ff=1")),
        body("form of a name with a line feed", "POST /", form, text("a=no&%0a=1")),
        body("form of no name", "POST /", form, text("a=no&=1")),
        body("form of dots", "POST /", form, text("a=no&..=1")),
        body("form of a long name", "POST /", form, text(&format!("a=no&{}=1", "k".repeat(1025)))),
        body("form of another type", "POST /", "multipart/form-data; boundary=x", text("--x--")),
        body(
            "form of XML",
            "POST /",
            "text/xml",
            text("<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>"),
        ),
        body("form with two secrets", "POST /", form, text(&format!("a=no&auth={SECRET}&auth={SECRET}"))),
        body("PUT of the page", "PUT /", form, text("a=no")),
        body("PUT of a bucket", "PUT /kv/default", "text/plain", text("no")),
        body("clearing without a prefix", "DELETE /kv/default", "text/plain", vec![]),
        body("clearing by half an escape", "DELETE /kv/default?prefix=%", "text/plain", vec![]),
    ]
}
