//! `/kv/{bucket}/{key}`: storing, reading, deleting, times to live, operations, and keys of every kind.

use super::{json, write};
use crate::script::{Step, ask, get, raw};
use crate::servers::Way;
use crate::site::SECRET;

pub(super) fn steps() -> Vec<Step> {
    let parts = [storing(), types(), reading(), keys(), deleting(), expiries(), operations(), old_values(), clients()];
    parts.into_iter().flatten().collect()
}

/// A value with every byte.
fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

fn storing() -> Vec<Step> {
    let plain = "Content-Type: text/plain\r\n";
    vec![
        get("no entry yet", "/kv/default/a").status(404),
        write("PUT creates it", "PUT /kv/default/a", plain, "1").body("OK").status(201),
        get("what was put", "/kv/default/a").body("1"),
        write("PUT replaces it", "PUT /kv/default/a", plain, "2").body("OK"),
        write("POST replaces it", "POST /kv/default/a", plain, "3").body("OK"),
        get("what was posted", "/kv/default/a").body("3"),
        get("the same by the classic address", "/?k=a").body("3"),
        write("POST creates it", "POST /kv/default/posted", plain, "p").body("OK").status(201),
        write("PUT of an empty value", "PUT /kv/default/empty", "", "").body("OK").status(201),
        get("an empty value is a value", "/kv/default/empty").body(""),
        ask("PUT without a length", "PUT /kv/default/lengthless", &format!("X-KVS-Auth: {SECRET}\r\n"))
            .body("OK")
            .status(201),
        get("is empty too", "/kv/default/lengthless").body(""),
        write("PUT of every byte", "PUT /kv/default/bytes", "", every_byte()).body("OK").status(201),
        get("every byte", "/kv/default/bytes").body(every_byte()),
        write("in another bucket", "PUT /kv/Room_1.b-c/a", plain, "other").body("OK").status(201),
        get("the first bucket is unchanged", "/kv/default/a").body("3"),
        get("read from the other bucket", "/kv/Room_1.b-c/a").body("other"),
        write("largest value", "PUT /kv/default/large", "", "x".repeat(1 << 20)).body("OK").status(201),
        get("the largest value", "/kv/default/large").body("x".repeat(1 << 20)),
        write("value one byte too large", "PUT /kv/default/large", "", "x".repeat((1 << 20) + 1)).status(413),
        write("value much too large", "PUT /kv/default/large", "", "x".repeat(6_000_000)).status(413),
        ask("is still the old one", "HEAD /kv/default/large", "").body(""),
        write("with a bearer's secret", "PUT /kv/default/a", &format!("Authorization: Bearer {SECRET}\r\n"), "4")
            .body("OK"),
    ]
}

fn types() -> Vec<Step> {
    let typed = |name, kind: &str, body: &[u8]| {
        write(name, "PUT /kv/types/a", &format!("Content-Type: {kind}\r\n"), body).status(200)
    };
    vec![
        typed("JSON", "application/json; charset=utf-8", b"{\"a\":1}").status(201),
        get("JSON with its type", "/kv/types/a")
            .body("{\"a\":1}")
            .header("content-type", "application/json; charset=utf-8"),
        typed("PNG", "image/png", b"\x89PNG\r\n\x1a\n"),
        get("as PNG", "/kv/types/a").body(b"\x89PNG\r\n\x1a\n").header("content-type", "image/png"),
        typed("as curl -d sends it", "application/x-www-form-urlencoded", b"a=1&auth=x%41+"),
        get("is stored literally, as text", "/kv/types/a")
            .body("a=1&auth=x%41+")
            .header("content-type", "text/plain; charset=utf-8"),
        typed("HTML", "text/html", b"<script>alert(1)</script>"),
        get("is not served as HTML", "/kv/types/a")
            .body("<script>alert(1)</script>")
            .header("content-type", "application/octet-stream"),
        typed("SVG", "image/svg+xml", b"<svg/>"),
        get("is not served as SVG", "/kv/types/a").body("<svg/>").header("content-disposition", "attachment"),
        write("text without a type", "PUT /kv/types/a", "", "\u{e4}").body("OK"),
        get("is text", "/kv/types/a").body("\u{e4}").header("content-type", "text/plain; charset=utf-8"),
        write("bytes without a type", "PUT /kv/types/a", "", b"\xff\xfe").body("OK"),
        get("are bytes", "/kv/types/a").body(b"\xff\xfe").header("content-type", "application/octet-stream"),
        typed("invalid type", "nonsense", b"x").status(400),
        typed("type that is too long", &format!("text/{}", "x".repeat(300)), b"x").status(400),
    ]
}

fn reading() -> Vec<Step> {
    let meta = |value: &str| {
        format!(
            "{{\"bucket\":\"default\",\"key\":\"m\",{value},\"type\":\"text/plain; charset=utf-8\",\"revision\":\"?\",\
             \"updated\":\"?\",\"created\":\"?\",\"modified\":null,\"expires\":null}}"
        )
    };
    vec![
        write("for reading", "PUT /kv/default/m", "Content-Type: text/plain; charset=utf-8\r\n", "\u{e4}\"1")
            .status(201),
        ask("HEAD", "HEAD /kv/default/m", "").body(""),
        get("meta", "/kv/default/m?meta")
            .body(meta("\"value\":\"\u{e4}\\\"1\""))
            .header("content-type", "application/json"),
        ask("HEAD of meta", "HEAD /kv/default/m?meta", "").body(""),
        get("no meta", "/kv/default/m?meta=0").body("\u{e4}\"1"),
        get("no meta either", "/kv/default/m?meta=false").body("\u{e4}\"1"),
        ask("JSON accepted, as scripts do by habit", "GET /kv/default/m", "Accept: application/json, */*\r\n")
            .body("\u{e4}\"1"),
        write("bytes for meta", "PUT /kv/default/m", "Content-Type: text/plain; charset=utf-8\r\n", b"\xff").body("OK"),
        get("meta of bytes", "/kv/default/m?meta").body(meta("\"base64\":\"/w==\"")),
        get("meta of a missing entry", "/kv/default/nothing?meta").status(404),
        ask("HEAD of no entry", "HEAD /kv/default/nothing", "").status(404),
        ask("no entry, as JSON", "GET /kv/default/nothing", "Accept: application/json\r\n")
            .status(404)
            .header("content-type", "application/problem+json"),
        get("bucket that was never written", "/kv/never/a").status(404),
        get("meta with half an escape", "/kv/default/m?meta=%zz").status(400),
    ]
}

fn keys() -> Vec<Step> {
    let put = |name, target: &str, value: &str| write(name, &format!("PUT {target}"), "", value).body("OK").status(201);
    let longest = "k".repeat(1024);
    vec![
        put("slashes are part of the key", "/kv/keys/a/b/c", "1"),
        get("the same, in the query", "/kv/keys?key=a/b/c").body("1"),
        get("the same, escaped", "/kv/keys?key=a%2Fb%2Fc").body("1"),
        get("the same, escaped in the path", "/kv/keys/a%2Fb/c").body("1"),
        get("the same, escaped once too often", "/kv/keys/a%252Fb/c").status(404),
        put("a key that a path cannot contain", "/kv/keys?key=a%2F%2F../%2E", "2"),
        get("read by query", "/kv/keys?key=a//../.").body("2"),
        get("after the slash of a bucket", "/kv/keys/?key=a//../.").body("2"),
        put("plus in a path is a plus", "/kv/keys/a+b", "3"),
        get("plus in a query is a space", "/kv/keys?key=a+b").status(404),
        get("plus, escaped", "/kv/keys?key=a%2Bb").body("3"),
        put("space and umlaut", "/kv/keys/a%20%C3%A4", "4"),
        get("space and umlaut, in the query", "/kv/keys?key=a+%C3%A4").body("4"),
        put("marks", "/kv/keys/%25%3F%23%26%3D%3B%22%27%3C%5C%7C,:@!$()*~", "5"),
        get("marks, in the query", "/kv/keys?key=%25%3F%23%26%3D%3B%22%27%3C%5C%7C,:@!$()*~").body("5"),
        put("a name that is a number to YAML", "/kv/keys/1e3", "6"),
        put("an emoji", "/kv/keys/%F0%9F%9A%AA", "7"),
        put("a name like that of a data file", "/kv/keys/data.yaml", "8"),
        get("is a key", "/kv/keys/data.yaml").body("8"),
        put("a name like the program's", "/kv/keys/kvs.fcgi/kvs.cgi", "9"),
        get("is a key too", "/kv/keys/kvs.fcgi/kvs.cgi").body("9"),
        put("longest key", &format!("/kv/keys/{longest}"), "10"),
        get("the longest key", &format!("/kv/keys?key={longest}")).body("10"),
        get("longer than the longest", &format!("/kv/keys/{longest}k")).status(400),
        get("two keys in the query", "/kv/keys?key=x&key=1e3").body("6"),
        get("one in the path, one in the query", "/kv/keys/1e3?key=1e3").status(400),
        get("empty key", "/kv/keys?key=").status(400),
        get("dot", "/kv/keys?key=.").status(400),
        get("two dots", "/kv/keys?key=%2E%2E").status(400),
        get("control character of C1", "/kv/keys?key=%C2%85").status(400),
        get("empty segment", "/kv/keys/a//b").status(400),
        get("dots in the key", "/kv/keys/a/../b").status(400),
        get("dots in the key, escaped", "/kv/keys/a%2F..%2Fb").status(400),
        get("slash at its end", "/kv/keys/a/").status(400),
        get("invalid bucket", "/kv/a%20b/c").status(400),
        get("our own bucket", "/kv/_kvs.throttle/a").status(404),
    ]
}

fn deleting() -> Vec<Step> {
    vec![
        write("DELETE", "DELETE /kv/default/posted", "", "").body("OK"),
        get("is gone", "/kv/default/posted").status(404),
        write("DELETE again", "DELETE /kv/default/posted", "", "").status(404),
        ask("DELETE without a length", "DELETE /kv/default/empty", &format!("X-KVS-Auth: {SECRET}\r\n")).body("OK"),
        write("DELETE of a key with slashes", "DELETE /kv/keys/a/b/c", "", "").body("OK"),
        write("DELETE by query", "DELETE /kv/keys?key=a//../.", "", "").body("OK"),
        write("DELETE by POST", "POST /kv/keys/1e3", "X-HTTP-Method-Override: DELETE\r\n", "").body("OK"),
        get("is gone too", "/kv/keys/1e3").status(404),
        write("PUT by POST", "POST /kv/keys/1e3", "X-HTTP-Method-Override: put\r\n", "x").body("OK").status(201),
        ask("a GET stays one", "GET /kv/keys/1e3", "X-HTTP-Method-Override: DELETE\r\n").body("x"),
        write("a POST cannot become a GET", "POST /kv/keys/1e3", "X-HTTP-Method-Override: GET\r\n", "").status(400),
        write("nor two other methods", "POST /kv/keys/1e3", "X-HTTP-Method-Override: PUT, DELETE\r\n", "").status(400),
    ]
}

fn expiries() -> Vec<Step> {
    let put =
        |name, target: &str| write(name, &format!("PUT {target}"), "Content-Type: text/plain; charset=utf-8\r\n", "v");
    let meta = |expires: &str| {
        format!(
            "{{\"bucket\":\"ends\",\"key\":\"a\",\"value\":\"v\",\"type\":\"text/plain; charset=utf-8\",\"revision\":\"?\",\
             \"updated\":\"?\",\"created\":\"?\",\"modified\":null,\"expires\":{expires}}}"
        )
    };
    vec![
        put("expires in a minute", "/kv/ends/a?ttl=60").body("OK").status(201),
        get("has an expiry", "/kv/ends/a?meta").body(meta("\"?\"")),
        put("expires at a time", "/kv/ends/a?expires=4102444800").body("OK"),
        get("has this expiry", "/kv/ends/a?meta").body(meta("\"?\"")),
        put("no longer expires", "/kv/ends/a").body("OK"),
        get("has no expiry", "/kv/ends/a?meta").body(meta("null")),
        write("touch", "POST /kv/ends/a?op=touch&ttl=60", "", "").body("OK"),
        get("touched", "/kv/ends/a?meta").body(meta("\"?\"")),
        write("persist", "POST /kv/ends/a?op=persist", "", "").body("OK"),
        get("persisted", "/kv/ends/a?meta").body(meta("null")),
        write("touch of a missing entry", "POST /kv/ends/no?op=touch&ttl=60", "", "").status(404),
        write("persist of a missing entry", "POST /kv/ends/no?op=persist", "", "").status(404),
        write("touch without an expiry", "POST /kv/ends/a?op=touch", "", "").status(400),
        write("persist with an expiry", "POST /kv/ends/a?op=persist&ttl=1", "", "").status(400),
        put("zero seconds", "/kv/ends/a?ttl=0").status(400),
        put("less than zero", "/kv/ends/a?ttl=-1").status(400),
        put("not a number", "/kv/ends/a?ttl=soon").status(400),
        put("half a second", "/kv/ends/a?ttl=1.5").status(400),
        put("in the past", "/kv/ends/a?expires=1").status(400),
        put("both", "/kv/ends/a?ttl=1&expires=4102444800").status(400),
        put("longer than any time", "/kv/ends/a?ttl=99999999999999999999").status(400),
        put("in milliseconds", "/kv/ends/a?expires=4102444800000").status(400),
        put("a hundred years", "/kv/ends/a?ttl=3153600000").body("OK"),
        put("expires in a second", "/kv/ends/short?ttl=1").body("OK").status(201),
        // Both servers wait, and both respond when it expires.
        get("is gone when it has expired", "/kv/ends/short?wait=20&seen={tag}").status(404),
    ]
}

fn operations() -> Vec<Step> {
    let post = |name, query: &str, body: &str| write(name, &format!("POST /kv/ops/n?{query}"), "", body);
    vec![
        post("incr of a missing entry", "op=incr", "").body("1"),
        post("incr by", "op=incr&by=41", "").body("42"),
        post("incr by a negative number", "op=incr&by=-50", "").body("-8"),
        get("the number", "/kv/ops/n").body("-8"),
        post("incr with an expiry", "op=incr&ttl=60", "").body("-7"),
        post("incr to almost the largest number", "op=incr&by=9223372036854775807", "").body("9223372036854775800"),
        post("incr beyond the largest number", "op=incr&by=8", "").status(400),
        post("incr by an invalid number", "op=incr&by=x", "").status(400),
        post("incr by a fraction", "op=incr&by=1.5", "").status(400),
        post("incr by more than 64 bits", "op=incr&by=9223372036854775808", "").status(400),
        post("append", "op=append", "\u{e4}").body("OK"),
        post("prepend", "op=prepend", "<").body("OK"),
        get("on both sides", "/kv/ops/n").body("<9223372036854775800\u{e4}"),
        post("incr of a text", "op=incr", "").status(400),
        write("append to a missing entry", "POST /kv/ops/new?op=append", "", "x").body("OK").status(201),
        write("prepend to a missing entry", "POST /kv/ops/newer?op=prepend", "", "x").body("OK").status(201),
        write("append of an empty value", "POST /kv/ops/new?op=append", "", "").body("OK"),
        post("append too much", "op=append", &"x".repeat(1 << 20)).status(413),
        get("is unchanged", "/kv/ops/n").body("<9223372036854775800\u{e4}"),
        post("another operation", "op=double", "").status(400),
        post("empty operation", "op=", "").status(400),
        write("an operation by PUT", "PUT /kv/ops/put?op=incr", "", "x").status(400),
        get("nothing was stored", "/kv/ops/put").status(404),
    ]
}

fn old_values() -> Vec<Step> {
    let typed =
        |name, line: &str, kind: &str, body: &str| write(name, line, &format!("Content-Type: {kind}\r\n"), body);
    vec![
        typed("nothing before it", "PUT /kv/old/a?return=old", "application/json", "1").status(204),
        typed("the value before it", "PUT /kv/old/a?return=old", "text/html", "<b>").body("1"),
        write("incr of a text", "POST /kv/old/a?op=incr&return=old", "", "").status(400),
        write("the value before the deletion", "DELETE /kv/old/a?return=old", "", "").body("<b>"),
        write("of a missing entry", "DELETE /kv/old/a?return=old", "", "").status(404),
        write("incr of a missing entry, old", "POST /kv/old/n?op=incr&return=old", "", "").status(204),
        write("incr, old", "POST /kv/old/n?op=incr&by=5&return=old", "", "").body("1"),
        write("append, old", "POST /kv/old/n?op=append&return=old", "", "0").body("6"),
        get("after all of them", "/kv/old/n").body("60"),
        write("another return", "PUT /kv/old/n?return=new", "", "").status(400),
    ]
}

/// Requests as real clients write them.
fn clients() -> Vec<Step> {
    let head = format!("HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n");
    let chunked =
        format!("PUT /kv/clients/chunked {head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
    let absolute = format!("PUT http://kvs.test/kv/clients/absolute {head}Content-Length: 1\r\n\r\n1");
    let old = format!("PUT /kv/clients/old HTTP/1.0\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: 3\r\n\r\nold");
    vec![
        // A program that Apache starts cannot distinguish a chunked body from one that Apache cut.
        raw("PUT in chunks", chunked).status(201).wire().elsewhere(|way| way.is_spawned().then_some(411)),
        get("the chunked value", "/kv/clients/chunked").wire().elsewhere(|way| way.is_spawned().then_some(404)),
        raw("PUT in absolute form", absolute).body("OK").status(201),
        get("stored under its key", "/kv/clients/absolute").body("1"),
        raw("PUT by HTTP/1.0", old).body("OK").status(201).wire(),
        write("Expect: 100-continue", "PUT /kv/clients/expect", "Expect: 100-continue\r\n", "x").status(201).wire(),
        get("stored by this request", "/kv/clients/expect").body("x").wire(),
        json("a name with a space, as a browser writes it", "PUT /kv/clients/a%20b", "{}").body("OK").status(201),
        get("escape of a letter in a path", "/%6bv/cl%69ents/%61%20b").body("{}"),
        ask("CORS is closed", "GET /kv/clients/absolute", "Origin: https://elsewhere.test\r\n").body("1"),
        ask("OPTIONS", "OPTIONS /kv/clients/absolute", "")
            .status(204)
            .header("allow", "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"),
        ask("OPTIONS of a bucket", "OPTIONS /kv/clients", "")
            .status(204)
            .header("allow", "GET, HEAD, POST, DELETE, OPTIONS"),
        ask("OPTIONS of many", "OPTIONS /multi/clients", "").status(204).header("allow", "POST, PUT, DELETE, OPTIONS"),
        ask("OPTIONS of a transaction", "OPTIONS /txn/clients", "").status(204).header("allow", "POST, OPTIONS"),
        // Apache responds itself for the server as a whole.
        ask("OPTIONS of all", "OPTIONS *", "").status(204).elsewhere(|way| {
            if way.is_apache() { Some(200) } else { (way != Way::CgiFcgi && way != Way::Http).then_some(400) }
        }),
    ]
}
