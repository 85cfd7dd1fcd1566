//! kvs behind the cache of a standard nginx (`deploy/nginx/cache.conf`): a cached response is at most as old as the
//! `max_age` of its bucket, and requests that a cache must not answer reach kvs.

use std::fs;
use std::time::{Duration, Instant};

use crate::client::Answer;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

const A: &str = "/kv/default/a";

fn start() -> Server {
    let site = Site::new();
    fs::write(site.root().join("config.yaml"), "max_age: 2s\nbuckets: {fresh: {max_age: 0s}}\n").unwrap();
    Server::start_in(site, Way::NginxCache)
}

fn ask(server: &Server, line: &str, headers: &str, body: &str) -> Answer {
    let length = if line.starts_with("GET") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{length}{headers}\r\n{body}");
    server.send(head.as_bytes())
}

fn put(server: &Server, address: &str, headers: &str, body: &str) -> u16 {
    ask(server, &format!("PUT {address}"), &format!("X-KVS-Auth: {SECRET}\r\n{headers}"), body).status
}

fn cache(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-cache").unwrap_or(""))
}

#[test]
fn responses_are_cached_for_the_max_age_of_the_bucket() {
    let server = start();
    assert_eq!(put(&server, A, "", "1"), 201);
    assert_eq!(put(&server, "/kv/fresh/a", "", "1"), 201);
    assert_eq!(cache(&ask(&server, &format!("GET {A}"), "", "")), (200, "MISS"));
    let cached = Instant::now();
    let answer = ask(&server, &format!("GET {A}"), "", "");
    assert_eq!((cache(&answer), answer.text().as_str()), ((200, "HIT"), "1"));
    assert_eq!(put(&server, A, "", "2"), 200);
    // nginx does not know of the change, so it returns the old value, but only for a limited time.
    while ask(&server, &format!("GET {A}"), "", "").text() != "2" {
        assert!(cached.elapsed() < Duration::from_secs(6), "the old value is still cached");
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..2 {
        assert_ne!(cache(&ask(&server, "GET /kv/fresh/a", "", "")).1, "HIT");
        assert_ne!(cache(&ask(&server, "GET /status", "", "")).1, "HIT");
    }
}

#[test]
fn conditions_secrets_and_long_polls_bypass_the_cache() {
    let server = start();
    assert_eq!(put(&server, A, "", "1"), 201);
    let tag = ask(&server, &format!("GET {A}"), "", "").header("etag").unwrap().to_owned();
    assert_eq!(put(&server, A, "If-Match: \"x\"\r\n", "2"), 412);
    assert_eq!(put(&server, A, "If-None-Match: *\r\n", "2"), 412);
    for (headers, expected) in [
        ("If-Match: \"x\"\r\n".to_owned(), (412, "BYPASS")),
        (format!("If-Match: {tag}\r\n"), (200, "BYPASS")),
        ("X-If-Match: \"x\"\r\n".to_owned(), (412, "BYPASS")),
        ("If-Unmodified-Since: Thu, 01 Jan 2004 00:00:00 GMT\r\n".to_owned(), (412, "BYPASS")),
        (format!("X-KVS-Auth: {SECRET}\r\n"), (200, "BYPASS")),
        (format!("If-None-Match: {tag}\r\nPrefer: wait=1\r\n"), (304, "BYPASS")),
    ] {
        let answer = ask(&server, &format!("GET {A}"), &headers, "");
        assert_eq!(cache(&answer), expected, "{headers}");
    }
    let start = Instant::now();
    let waited = ask(&server, &format!("GET {A}?wait=1&seen={}", tag.trim_matches('"')), "", "");
    assert_eq!(cache(&waited), (304, "BYPASS"));
    assert!(start.elapsed() >= Duration::from_secs(1), "it did not wait");
    let answer = ask(&server, &format!("GET {A}"), &format!("If-None-Match: {tag}\r\n"), "");
    assert_eq!(answer.status, 304);
}
