//! The classic requests in order, and the response that each must get through every server.
//!
//! A request may contain values of earlier responses of the same server: `{tag}` is the last `ETag` without its quotes,
//! `{date}` the last `Last-Modified`. `{length}` is the length of the body. Wrong secrets come last, because they delay
//! all later writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::servers::Way;
use crate::site::{READER, SECRET, WRONG};

/// One request.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) request: Vec<u8>,
    /// The expected status; 0: that of plain HTTP.
    pub(crate) status: u16,
    /// The expected body; JSON without revisions and times.
    pub(crate) body: Option<Vec<u8>>,
    /// An expected header.
    pub(crate) header: Option<(&'static str, &'static str)>,
    /// Whether the step tests the bytes of HTTP, which `cgi-fcgi` does not send.
    pub(crate) wire: bool,
    /// The status where it differs, because the web server responds itself or cannot pass the request on.
    pub(crate) elsewhere: fn(Way) -> Option<u16>,
}

impl Step {
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.status(200)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) fn wire(mut self) -> Self {
        self.wire = true;
        self
    }

    pub(crate) fn elsewhere(mut self, elsewhere: fn(Way) -> Option<u16>) -> Self {
        self.elsewhere = elsewhere;
        self
    }
}

pub(crate) fn raw(name: &'static str, request: impl Into<Vec<u8>>) -> Step {
    Step { name, request: request.into(), status: 0, body: None, header: None, wire: false, elsewhere: |_| None }
}

pub(crate) fn ask(name: &'static str, line: &str, headers: &str) -> Step {
    raw(name, format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{headers}\r\n"))
}

pub(crate) fn get(name: &'static str, target: &str) -> Step {
    ask(name, &format!("GET {target}"), "")
}

/// A form with additional headers.
pub(crate) fn form_with(headers: &str, pairs: &str) -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    format!("{head}Content-Length: {}\r\n{headers}\r\n{pairs}", pairs.len()).into_bytes()
}

/// A form with the secret at its end.
pub(crate) fn form(pairs: &str) -> Vec<u8> {
    form_with("", &format!("{pairs}&auth={SECRET}"))
}

fn store(name: &'static str, pairs: &str) -> Step {
    raw(name, form(pairs)).body("OK")
}

fn post(name: &'static str, pairs: &str) -> Step {
    raw(name, form_with("", pairs))
}

/// All steps in their order.
pub(crate) fn steps() -> Vec<Step> {
    let parts = [storing(), reading(), conditions(), waiting(), clients(), paths(), refusals(), wrong_secrets()];
    parts.into_iter().flatten().collect()
}

fn storing() -> Vec<Step> {
    let hundred: String = (0..99).map(|n| format!("many{n}=value+{n}")).collect::<Vec<_>>().join("&");
    let basic = STANDARD.encode(format!("anybody:{SECRET}"));
    vec![
        get("nothing is there yet", "/?k=a").status(404),
        store("one pair", "a=1"),
        get("what was stored", "/?k=a").body("1"),
        store("two pairs", "b=2&c=3"),
        raw("secret first", form_with("", &format!("auth={SECRET}&d=4"))).body("OK"),
        raw("secret between", form_with("", &format!("e=5&auth={SECRET}&f=6"))).body("OK"),
        get("pair after the secret", "/?k=f").body("6"),
        store("plus and escapes", "room+name=Living+Room%21+%C3%A4%26%3D%2B"),
        get("decoded", "/?k=room%20name").body("Living Room! ä&=+"),
        store("value with an equals sign", "eq=a=b"),
        get("equals sign kept", "/?k=eq").body("a=b"),
        store("bytes", "bytes=%FF%00%0D%0A%FE"),
        get("the same bytes", "/?k=bytes").body(b"\xff\0\r\n\xfe"),
        store("empty value", "empty="),
        get("empty value is a value", "/?k=empty").body(""),
        store("one key twice", "twice=1&twice=2"),
        get("the last of one form counts", "/?k=twice").body("2"),
        store("a hundred pairs", &format!("{hundred}&many99=last")),
        get("the first of them", "/?k=many0").body("value 0"),
        get("the latest of them", "/?k=many0,many99,many50").body("last"),
        raw("secret as bearer", form_with(&format!("Authorization: Bearer {SECRET}\r\n"), "h=1")).body("OK"),
        raw("secret as password", form_with(&format!("Authorization: Basic {basic}\r\n"), "h=2")).body("OK"),
        raw("secret in our header", form_with(&format!("X-KVS-Auth: {SECRET}\r\n"), "h=3")).body("OK"),
        get("stored by header", "/?k=h").body("3"),
        store("markup", "evil=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E"),
        get("markup is text", "/?k=evil").body("<img src=x onerror=alert(1)>"),
    ]
}

fn reading() -> Vec<Step> {
    vec![
        get("the most recent of two", "/?k=a,b").body("2"),
        get("in any order", "/?k=c,a,b").body("3"),
        get("comma escaped, as a Roku does", "/?k=a%2Cc%2Cb").body("3"),
        get("missing ones left out", "/?k=nothing,a,nowhere").body("1"),
        get("none of them", "/?k=nothing,nowhere").status(404),
        ask("HEAD", "HEAD /?k=a", "").body(""),
        ask("HEAD of nothing", "HEAD /?k=nothing", "").status(404),
        ask("usage", "GET /", "Accept: */*\r\n").status(200),
        ask("index page", "GET /", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n").status(200),
        get("status", "/status").status(200),
        ask("list without secret", "GET /kv/default", "").status(401),
        ask("count with secret", "GET /kv/default?count", &format!("X-KVS-Auth: {READER}\r\n")).status(200),
        ask("keys with secret", "GET /kv/default?keys&limit=1000", &format!("X-KVS-Auth: {SECRET}\r\n")).status(200),
    ]
}

fn conditions() -> Vec<Step> {
    let unless = |name, tag: &str| ask(name, "GET /?k=a", &format!("If-None-Match: {tag}\r\n"));
    vec![
        get("for its tag", "/?k=a").body("1"),
        unless("same tag", "\"{tag}\"").status(304),
        unless("weak tag", "W/\"{tag}\"").status(304),
        unless("tag of a compressing server", "\"{tag}-gzip\"").status(304),
        unless("tag in a list", "\"x\", \"{tag}\"").status(304),
        unless("any tag", "*").status(304),
        unless("other tag", "\"x\"").body("1"),
        unless("invalid tag", "nonsense").body("1"),
        ask("HEAD, same tag", "HEAD /?k=a", "If-None-Match: \"{tag}\"\r\n").status(304),
        ask("missing key, any tag", "GET /?k=nothing", "If-None-Match: *\r\n").status(404),
        ask("unchanged since", "GET /?k=a", "If-Modified-Since: {date}\r\n").status(304),
        ask("changed since", "GET /?k=a", "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n").body("1"),
        ask("malformed date", "GET /?k=a", "If-Modified-Since: yesterday\r\n").body("1"),
        ask("tag outweighs date", "GET /?k=a", "If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n").body("1"),
        ask("other tag wanted", "GET /?k=a", "If-Match: \"x\"\r\n").status(412),
        ask("same tag wanted", "GET /?k=a", "If-Match: \"{tag}\"\r\n").body("1"),
        ask("compressed answers are not offered", "GET /?k=a", "Accept-Encoding: gzip, br\r\n").body("1"),
    ]
}

fn waiting() -> Vec<Step> {
    vec![
        get("for the tag it waits on", "/?k=a").body("1"),
        get("wait times out", "/?k=a&wait=1&seen={tag}").status(304),
        ask("wait times out by header", "GET /?k=a", "Prefer: wait=1\r\nIf-None-Match: \"{tag}\"\r\n").status(304),
        get("does not wait for what is already there", "/?k=a&wait=20&seen=none").body("1"),
        get("wait times out for a key", "/?k=nothing&wait=1&seen=none").status(404),
    ]
}

/// Requests as real clients write them.
fn clients() -> Vec<Step> {
    let esp32 = format!("k=v&auth={SECRET}");
    let chunk = format!("chunked=1&auth={SECRET}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    let expecting = form_with("Expect: 100-continue\r\n", &format!("expect=1&auth={SECRET}"));
    vec![
        raw("HTTP/1.0 without Host", "GET /?k=a HTTP/1.0\r\n\r\n").body("1").wire(),
        raw(
            "form by HTTP/1.0",
            format!(
                "POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{esp32}",
                esp32.len()
            ),
        )
        .body("OK")
        .wire(),
        raw("absolute form", "GET http://kvs.test/?k=a HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n").body("1"),
        raw(
            "bytes in a header that are not UTF-8",
            b"GET /?k=a HTTP/1.1\r\nHost: kvs.test\r\nX-Name: caf\xe9 \xff\xfe\r\nConnection: close\r\n\r\n".to_vec(),
        )
        .body("1"),
        ask("as a Roku", "GET /?k=a%2Cb", "User-Agent: Roku/DVP-12.0 (12.0.0.4182-88)\r\nAccept: */*\r\n").body("2"),
        raw("Expect: 100-continue", expecting).body("OK").wire(),
        get("stored by this request", "/?k=expect").body("1").wire(),
        // A program that Apache starts cannot distinguish a chunked body from one that Apache cut.
        raw("chunked", chunked).body("OK").wire().elsewhere(|way| way.is_spawned().then_some(411)),
        get("escaped letter in a query", "/?k=%61").body("1"),
    ]
}

fn paths() -> Vec<Step> {
    /// The status of web servers that check the path and reject it themselves.
    fn in_front(way: Way) -> Option<u16> {
        (way != Way::Http && way != Way::CgiFcgi).then_some(400)
    }
    fn nul(way: Way) -> Option<u16> {
        if way.is_apache() { Some(404) } else { in_front(way) }
    }
    vec![
        get("query that CGI takes for arguments", "/?--config%3D/etc/passwd"),
        get("another such query", "/?-h"),
        get("no such page", "/nope").status(404),
        get("no such page, deeper", "/nope/nope/nope").status(404),
        get("escaped slash", "/kv/default/a%2Fb").status(404),
        get("half an escape in the path", "/kv/default/%zz").status(400).elsewhere(in_front),
        get("NUL in the path", "/kv/default/%00").status(400).elsewhere(nul),
        get("line feed in the path", "/kv/default/%0A").status(400),
        get("bytes in the path that are not UTF-8", "/kv/default/%ff").status(400),
        get("dots in the path", "/kv/x/../default").status(400),
        get("dots in the path, escaped", "/kv/x/%2e%2e/default").status(400),
        get("two slashes", "/kv//default").status(400),
        get("half an escape in a key", "/?k=%zz").status(400),
        get("bytes in a key that are not UTF-8", "/?k=%ff").status(400),
        get("NUL in a key", "/?k=a%00").status(400),
        get("line feed in a key", "/?k=a%0Ab").status(400),
        get("key that is too long", &format!("/?k={}", "x".repeat(1025))).status(400),
        get("longest key", &format!("/?k={}", "x".repeat(1024))).status(404),
        get("empty key", "/?k="),
    ]
}

fn refusals() -> Vec<Step> {
    let json = format!("{{\"no\":1,\"auth\":\"{SECRET}\"}}");
    let json = ask("JSON", "POST /", &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len()))
        .followed_by(json.as_bytes());
    vec![
        post("without a secret", "no=1").status(401),
        post("with an empty secret", "no=1&auth=").status(401),
        post("with two secrets", &format!("no=1&auth={SECRET}&auth={SECRET}")).status(400),
        post("with a secret that may not write", &format!("no=1&auth={READER}")).status(403),
        post("with an invalid key", &format!("no=1&bad%00=2&auth={SECRET}")).status(400),
        post("with a key that is too long", &format!("no=1&{}=2&auth={SECRET}", "k".repeat(1025))).status(400),
        json.status(415),
        ask("other method", "PUT /", "Content-Length: 0\r\n").status(405),
        ask("yet another method", "DELETE /?k=a", "").status(405),
        get("nothing was stored by any of them", "/?k=no").status(404),
        raw("value that is too large", form(&format!("no=2&big={}", "x".repeat(1_200_000)))).status(413),
        raw("value that is much too large", form(&format!("no=2&big={}", "x".repeat(6_000_000)))).status(413),
        get("nothing of it was stored", "/?k=big,no").status(404),
        raw("largest value", form(&format!("large={}", "x".repeat(1 << 20)))).body("OK"),
        get("the largest value", "/?k=large").body("x".repeat(1 << 20)),
    ]
}

impl Step {
    fn followed_by(mut self, body: &[u8]) -> Self {
        self.request.extend_from_slice(body);
        self
    }
}

fn wrong_secrets() -> Vec<Step> {
    let guess = |name| post(name, &format!("no=1&auth={WRONG}-{name}"));
    vec![
        guess("first wrong secret").status(401),
        guess("second").status(401),
        post("the second again, which is no further guess", &format!("no=1&auth={WRONG}-second")).status(401),
        post("the sample's secret", "no=1&auth=yourauthorizationhere").status(401),
        guess("fourth").status(401),
        guess("fifth").status(401),
        guess("sixth").status(429),
        post("the right secret, too soon", &format!("no=1&auth={SECRET}")).status(429),
        get("reading goes on", "/?k=a").body("1"),
        get("nothing was stored", "/?k=no").status(404),
    ]
}
