//! One script of REST requests gets equal responses through every server: each row of the contract, with the expected
//! response, over plain HTTP and through the web servers.
//!
//! `entries`, `conditions`, `buckets`, `many` and `refusals` contain the rows. This file runs them, and tests what one
//! script cannot: long polls, compressing servers, and paths that a web server rejects unless it is configured.

mod buckets;
mod conditions;
mod entries;
mod event_streams;
pub(crate) mod hostile;
mod json_documents;
mod logs_and_ranges;
mod many;
mod refusals;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::classic::equal_answers;
use crate::client::Answer;
use crate::script::{Step, raw};
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

pub(crate) fn steps() -> Vec<Step> {
    let parts = [
        entries::steps(),
        conditions::steps(),
        buckets::steps(),
        json_documents::steps(),
        logs_and_ranges::steps(),
        many::steps(),
        refusals::steps(),
    ];
    parts.into_iter().flatten().collect()
}

/// A request with a body and its length.
fn request(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n");
    [format!("{head}Content-Length: {{length}}\r\n{headers}\r\n").as_bytes(), body.as_ref()].concat()
}

/// A write with the secret. Each of `headers` ends with CR LF.
fn write(name: &'static str, line: &str, headers: &str, body: impl AsRef<[u8]>) -> Step {
    raw(name, request(line, &format!("X-KVS-Auth: {SECRET}\r\n{headers}"), body))
}

/// The same with a JSON body.
fn json(name: &'static str, line: &str, body: &str) -> Step {
    write(name, line, "Content-Type: application/json\r\n", body)
}

#[test]
fn mod_fcgid_answers_rest_like_plain_http() {
    equal_answers(steps(), Way::ModFcgid);
}

#[test]
fn mod_cgid_answers_rest_like_plain_http() {
    equal_answers(steps(), Way::ModCgid);
}

#[test]
fn mod_proxy_fcgi_answers_rest_like_plain_http() {
    equal_answers(steps(), Way::ModProxyFcgi);
}

#[test]
fn nginx_fastcgi_answers_rest_like_plain_http() {
    equal_answers(steps(), Way::NginxFastcgi);
}

#[test]
fn nginx_proxy_answers_rest_like_plain_http() {
    equal_answers(steps(), Way::NginxProxy);
}

#[test]
fn cgi_fcgi_is_answered_rest_like_plain_http() {
    equal_answers(steps(), Way::CgiFcgi);
}

/// Sends a request built by [`request`]. Panics if the response has another status.
#[track_caller]
fn ask(server: &Server, line: &str, headers: &str, (status, body): (u16, &[u8])) -> Answer {
    let whole = String::from_utf8(request(line, headers, body)).unwrap();
    let answer = server.send(whole.replace("{length}", &body.len().to_string()).as_bytes());
    assert_eq!(answer.status, status, "{:?}: {line}: {}\n{}", server.way, answer.text(), server.site.logs());
    answer
}

#[test]
fn rest_long_polls_are_answered_through_every_server() {
    let auth = format!("X-KVS-Auth: {SECRET}\r\n");
    for way in [Way::Http, Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi, Way::NginxFastcgi, Way::CgiFcgi] {
        let server = Server::start(way);
        let tag = ask(&server, "PUT /kv/doors/front", &auth, (201, b"shut")).header("etag").unwrap().to_owned();
        // The write that ends the wait, and the status of the response: a new value, then a deletion.
        for (write, status) in [("PUT /kv/doors/front", 200), ("DELETE /kv/doors/front", 404)] {
            let seen = if status == 200 {
                tag.clone()
            } else {
                ask(&server, "GET /kv/doors/front", "", (200, b"")).header("etag").unwrap().to_owned()
            };
            let (answer, took) = thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let start = Instant::now();
                    let headers = format!("Prefer: wait=20\r\nIf-None-Match: {seen}\r\n");
                    (ask(&server, "GET /kv/doors/front", &headers, (status, b"")), start.elapsed())
                });
                thread::sleep(Duration::from_millis(700));
                // Another key of the bucket: the wait does not end.
                ask(&server, "POST /kv/doors/back?op=incr", &auth, (200, b""));
                ask(&server, write, &auth, (200, b"open"));
                waiting.join().unwrap()
            });
            assert!(status == 404 || answer.text() == "open", "{way:?}: {}", answer.text());
            assert!(took > Duration::from_millis(500), "{way:?}: did not wait, {took:?}");
            assert!(took < Duration::from_secs(5), "{way:?}: woken late, after {took:?}");
        }
    }
}

#[test]
fn etags_with_the_gzip_suffix_of_apache_are_accepted() {
    let auth = format!("X-KVS-Auth: {SECRET}\r\n");
    for way in [Way::ModFcgid, Way::ModCgid] {
        let site = Site::new();
        let htaccess = site.root().join(".htaccess");
        let text = fs::read_to_string(&htaccess).unwrap();
        assert!(text.contains("no-gzip=1 "), "{text}");
        fs::write(&htaccess, text.replace("no-gzip=1 ", "")).unwrap();
        let server = Server::start_in(site, way);
        ask(&server, "PUT /kv/default/a", &auth, (201, "text ".repeat(100).as_bytes()));
        let packed = ask(&server, "GET /kv/default/a", "Accept-Encoding: gzip\r\n", (200, b""));
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{way:?}: not compressed, so nothing is tested");
        let tag = packed.header("etag").unwrap();
        assert!(tag.ends_with("-gzip\""), "{way:?}: {tag}");
        let same = format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n");
        ask(&server, "GET /kv/default/a", &same, (304, b""));
        ask(&server, "PUT /kv/default/a", &format!("{auth}If-Match: {tag}\r\n"), (200, b"new"));
        ask(&server, "PUT /kv/default/a", &format!("{auth}If-Match: {tag}\r\n"), (412, b"newer"));
    }
}

#[test]
fn keys_with_slashes_work_in_the_query_on_a_shared_host() {
    let auth = format!("X-KVS-Auth: {SECRET}\r\n");
    for way in [Way::ModFcgid, Way::ModCgid] {
        // A shared host has only .htaccess, which cannot allow such paths.
        let server = Server::start_as_shared_host(Site::new(), way);
        ask(&server, "PUT /kv/default/a%2Fb", &auth, (404, b"1"));
        ask(&server, "PUT /kv/default?key=a%2F%2Fb", &auth, (201, b"2"));
        ask(&server, "PUT /kv/default/a/b", &auth, (201, b"3"));
        assert_eq!(ask(&server, "GET /kv/default?key=a//b", "", (200, b"")).text(), "2", "{way:?}");
        assert_eq!(ask(&server, "GET /kv/default?key=a%2Fb", "", (200, b"")).text(), "3", "{way:?}");
        ask(&server, "DELETE /kv/default?key=a%2F%2Fb", &auth, (200, b""));
    }
}
