//! The hostile requests of `tests/it/web/hostile/` through a web server: what it hands on is refused as over plain HTTP, what it
//! answers itself is no failure of ours, nothing is smuggled past it, and the data is the same afterwards.

#[path = "../../it/web/hostile/framing.rs"]
mod framing;
#[path = "../../it/web/hostile/json.rs"]
mod json;
#[path = "../../it/web/hostile/names.rs"]
mod names;

use std::fs;

use crate::client::{printable, send_and_close, try_send};
use crate::servers::{Server, Way};
use crate::site::SECRET;

/// What is sent, with a name for people.
type Case = (String, Vec<u8>);

/// A request line and headers, and behind the empty line a body.
fn message(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

fn send(server: &Server, line: &str, body: &str) -> (u16, String) {
    let request = message(line, &format!("Content-Length: {}\r\n", body.len()), body);
    let answer = server.send(&request);
    (answer.status, answer.text())
}

/// Requests that are good HTTP reach kvs, or are refused by the server as well.
fn refuses(server: &Server, cases: &[Case]) {
    let before = fs::read(server.site.root().join("data/default.yaml")).unwrap();
    let mut wrong = vec![];
    for (name, request) in cases {
        // A server that stops reading a long body may close the connection over its answer.
        let Some(answer) = try_send(server.port, request) else {
            if request.len() < 1 << 20 {
                wrong.push(format!("{name}: no answer"));
            }
            continue;
        };
        if !(400..500).contains(&answer.status) {
            wrong.push(format!("{name}: {} {}", answer.status, printable(&answer.body)));
        }
    }
    let logs = if wrong.is_empty() { String::new() } else { server.site.logs() };
    assert!(wrong.is_empty(), "{:?}: {} not refused\n{}\n{logs}", server.way, wrong.len(), wrong.join("\n"));
    let after = fs::read(server.site.root().join("data/default.yaml")).unwrap();
    assert!(before == after, "{:?}: {}", server.way, String::from_utf8_lossy(&after));
}

/// Of the others the server makes what it likes, but kvs never fails, and never gets two requests of one.
fn smuggles_nothing(server: &Server, cases: &[Case]) {
    for (name, request) in cases {
        if let Some(answer) = send_and_close(server.port, request) {
            // A server that cannot read a body says 500 itself; every answer of ours has this header.
            let ours = answer.header("x-content-type-options").is_some();
            assert!(answer.status < 500 || !ours, "{:?}: {name}: {answer:?}", server.way);
        }
    }
    assert_eq!(send(server, "GET /kv/default/smuggled", "").0, 404, "{:?}", server.way);
}

fn is_refused(way: Way) {
    let server = Server::start(way);
    for (key, value) in [("a", "1"), ("n", "41"), ("json", "{\"a\":1}"), ("dir/file", "x")] {
        assert_eq!(send(&server, &format!("PUT /kv/default/{key}"), value).0, 201, "{}", server.site.logs());
    }
    let good_http = |(name, _): &Case| {
        ["path", "key", "query", "body", "header guard", "header date"].iter().any(|kind| name.starts_with(kind))
    };
    let (good, odd): (Vec<Case>, Vec<Case>) = names::cases().into_iter().partition(good_http);
    assert!(good.len() > 200, "{}", good.len());
    refuses(&server, &good);
    refuses(&server, &json::cases());
    smuggles_nothing(&server, &odd);
    smuggles_nothing(&server, &framing::cases());
    assert_eq!(send(&server, "GET /status", ""), (200, "ok".to_owned()), "{way:?}");
    assert_eq!(send(&server, "GET /kv/default/dir/file", ""), (200, "x".to_owned()), "{way:?}");
}

#[test]
fn hostile_requests_are_refused_behind_mod_fcgid() {
    is_refused(Way::ModFcgid);
}

#[test]
fn hostile_requests_are_refused_behind_mod_proxy_fcgi() {
    is_refused(Way::ModProxyFcgi);
}

#[test]
fn hostile_requests_are_refused_behind_nginx() {
    is_refused(Way::NginxFastcgi);
}
