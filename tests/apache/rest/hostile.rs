//! The hostile requests of `tests/it/web/hostile/` through a web server: kvs rejects those that it receives as over
//! plain HTTP, the web server may reject others itself, no request is smuggled past it, and the data does not change.

#[path = "../../it/web/hostile/framing.rs"]
pub(crate) mod framing;
#[path = "../../it/web/hostile/json.rs"]
mod json;
#[path = "../../it/web/hostile/names.rs"]
mod names;

use std::fs;

use crate::client::{printable, send_and_close, try_send};
use crate::servers::{Server, Way};
use crate::site::SECRET;

/// A name, and the bytes of a request.
type Case = (String, Vec<u8>);

/// A request with the secret.
fn message(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

fn send(server: &Server, line: &str, body: &str) -> (u16, String) {
    let request = message(line, &format!("Content-Length: {}\r\n", body.len()), body);
    let answer = server.send(&request);
    (answer.status, answer.text())
}

/// Checks that valid HTTP requests are rejected, by kvs or by the server, without a change of the data.
fn assert_rejected(server: &Server, cases: &[Case]) {
    let before = fs::read(server.site.root().join("data/default.yaml")).unwrap();
    let mut wrong = vec![];
    for (name, request) in cases {
        // A server that stops reading a long body may close the connection before its response is read.
        let Some(answer) = try_send(server.port, request) else {
            if request.len() < 1 << 20 {
                wrong.push(format!("{name}: no response"));
            }
            continue;
        };
        if !(400..500).contains(&answer.status) {
            wrong.push(format!("{name}: {} {}", answer.status, printable(&answer.body)));
        }
    }
    let logs = if wrong.is_empty() { String::new() } else { server.site.logs() };
    assert!(wrong.is_empty(), "{:?}: {} not rejected\n{}\n{logs}", server.way, wrong.len(), wrong.join("\n"));
    let after = fs::read(server.site.root().join("data/default.yaml")).unwrap();
    assert!(before == after, "{:?}: {}", server.way, String::from_utf8_lossy(&after));
}

/// Checks that kvs does not fail, and does not get two requests from one. The server may handle these as it likes.
fn assert_not_smuggled(server: &Server, cases: &[Case]) {
    for (name, request) in cases {
        if let Some(answer) = send_and_close(server.port, request) {
            // A server that cannot read a body returns 500 itself. Every response of kvs has this header.
            let from_kvs = answer.header("x-content-type-options").is_some();
            assert!(answer.status < 500 || !from_kvs, "{:?}: {name}: {answer:?}", server.way);
        }
    }
    assert_eq!(send(server, "GET /kv/default/smuggled", "").0, 404, "{:?}", server.way);
}

fn assert_hostile_requests_are_rejected(way: Way) {
    let server = Server::start(way);
    for (key, value) in [("a", "1"), ("n", "41"), ("json", "{\"a\":1}"), ("dir/file", "x")] {
        assert_eq!(send(&server, &format!("PUT /kv/default/{key}"), value).0, 201, "{}", server.site.logs());
    }
    let is_valid_http = |(name, _): &Case| {
        ["path", "key", "query", "body", "header guard", "header date"].iter().any(|kind| name.starts_with(kind))
    };
    let (good, odd): (Vec<Case>, Vec<Case>) = names::cases().into_iter().partition(is_valid_http);
    assert!(good.len() > 200, "{}", good.len());
    assert_rejected(&server, &good);
    assert_rejected(&server, &json::cases());
    assert_not_smuggled(&server, &odd);
    assert_not_smuggled(&server, &framing::cases());
    assert_eq!(send(&server, "GET /status", ""), (200, "ok".to_owned()), "{way:?}");
    assert_eq!(send(&server, "GET /kv/default/dir/file", ""), (200, "x".to_owned()), "{way:?}");
}

#[test]
fn hostile_requests_are_rejected_behind_mod_fcgid() {
    assert_hostile_requests_are_rejected(Way::ModFcgid);
}

#[test]
fn hostile_requests_are_rejected_behind_mod_proxy_fcgi() {
    assert_hostile_requests_are_rejected(Way::ModProxyFcgi);
}

#[test]
fn hostile_requests_are_rejected_behind_nginx() {
    assert_hostile_requests_are_rejected(Way::NginxFastcgi);
}
