//! Cache poisoning: the first request for a URL, which a cache keeps, comes from an attacker who adds headers. All others
//! get the same response as without the attacker.

use std::fs;

use crate::client::Answer;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

const ATTACKS: [&str; 22] = [
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: nothttps",
    "X-Forwarded-Prefix: /evil",
    "X-Forwarded-For: 127.0.0.1",
    "Forwarded: for=127.0.0.1;host=evil.example",
    "X-Host: evil.example",
    "X-Original-URL: /status",
    "X-Rewrite-URL: /status",
    "X-HTTP-Method-Override: DELETE",
    "X-HTTP-Method-Override: POST",
    "X-HTTP-Method: HEAD",
    "Accept: text/html",
    "Accept: application/json",
    "Origin: https://evil.example",
    "Range: bytes=0-0",
    "If-Range: \"x\"\r\nRange: bytes=1-",
    "If-None-Match: *",
    "If-Modified-Since: Fri, 31 Dec 2100 00:00:00 GMT",
    "Want-Content-Digest: sha-512=1",
    "Content-Length: 0",
    "Expect: 100-continue",
    "Cookie: a=b",
];

fn ask(server: &Server, line: &str, headers: &str, body: &str) -> Answer {
    let length = if line.starts_with("PUT") { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{length}{headers}\r\n{body}");
    server.send(head.as_bytes())
}

/// Status, body, and the headers that say what the body is.
fn shown(answer: &Answer) -> (u16, String, Vec<Option<String>>) {
    let names =
        ["content-type", "etag", "content-range", "location", "access-control-allow-origin", "content-encoding"];
    (answer.status, answer.text(), names.map(|name| answer.header(name).map(ToOwned::to_owned)).to_vec())
}

/// A server behind a cache, and the header with the secret.
fn cached() -> (Server, String) {
    let site = Site::new();
    fs::write(site.root().join("config.yaml"), "max_age: 1h\n").unwrap();
    (Server::start_in(site, Way::NginxCache), format!("X-KVS-Auth: {SECRET}\r\n"))
}

#[test]
fn first_request_with_odd_headers_does_not_change_what_others_get() {
    let (server, auth) = cached();
    let mut hits = 0;
    for (number, attack) in ATTACKS.iter().enumerate() {
        for address in [format!("/kv/default/a{number}"), format!("/?k=b{number}")] {
            let key = address.rsplit(['/', '=']).next().unwrap();
            let put = ask(&server, &format!("PUT /kv/default/{key}"), &auth, "value");
            assert_eq!(put.status, 201, "{}", put.text());
            // What a client without the cache gets.
            let expected = shown(&ask(&server, &format!("GET {address}"), &auth, ""));
            assert_eq!((expected.0, expected.1.as_str()), (200, "value"), "{address}");
            for _ in 0..2 {
                ask(&server, &format!("GET {address}"), &format!("{attack}\r\n"), "");
            }
            let answer = ask(&server, &format!("GET {address}"), "", "");
            assert_eq!(shown(&answer), expected, "{address} after {attack}\n{}", server.site.logs());
            let again = ask(&server, &format!("GET {address}"), "", "");
            assert_eq!(shown(&again), expected, "{address} after {attack}");
            hits += usize::from(again.header("x-cache") == Some("HIT"));
        }
    }
    assert!(hits >= ATTACKS.len(), "only {hits} responses came from the cache, so the test shows nothing");
}

/// An error that an attacker causes is not kept in the place of a value.
#[test]
fn errors_of_an_attacker_are_not_kept() {
    let (server, auth) = cached();
    for (number, attack) in [
        "X-KVS-Auth: wrong".to_owned(),
        "Authorization: Bearer wrong".to_owned(),
        format!("X: {}", "x".repeat(7_000)),
        "If-Match: \"x\"".to_owned(),
        "X-If-Match: \"x\"".to_owned(),
        "If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT".to_owned(),
        "Content-Digest: sha-256=:AAAA:".to_owned(),
        "Content-Encoding: gzip".to_owned(),
        "Transfer-Encoding: x".to_owned(),
        "Host: other".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let address = format!("/kv/default/a{number}");
        assert_eq!(ask(&server, &format!("PUT {address}"), &auth, "value").status, 201);
        ask(&server, &format!("GET {address}"), &format!("{attack}\r\n"), "");
        for _ in 0..2 {
            let answer = ask(&server, &format!("GET {address}"), "", "");
            assert_eq!((answer.status, answer.text().as_str()), (200, "value"), "{address} after {attack}");
        }
    }
}
