//! One script of classic requests gets equal responses through every server.
//!
//! The responses of `kvs serve --http` are the reference; the script says what they must be.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, printable};
use crate::script::{Step, form, steps};
use crate::servers::{Server, Way};
use crate::site::{READER, SECRET, WRONG};

/// Headers that describe the response, not the connection or the server. For a name after `=` only its presence is
/// compared: tags and dates differ from store to store.
const HEADERS: &[&str] = &[
    "content-type",
    "kvs-key",
    "cache-control",
    "x-content-type-options",
    "content-disposition",
    "content-security-policy",
    "content-encoding",
    "allow",
    "www-authenticate",
    "=etag",
    "=last-modified",
    "=retry-after",
];
/// Headers that a web server keeps in a response without a body.
const HEADERS_OF_304: &[&str] = &["=etag"];

#[test]
fn mod_fcgid_answers_like_plain_http() {
    equal_answers(steps(), Way::ModFcgid);
}

#[test]
fn mod_cgid_answers_like_plain_http() {
    equal_answers(steps(), Way::ModCgid);
}

#[test]
fn mod_proxy_fcgi_answers_like_plain_http() {
    equal_answers(steps(), Way::ModProxyFcgi);
}

#[test]
fn nginx_fastcgi_answers_like_plain_http() {
    equal_answers(steps(), Way::NginxFastcgi);
}

#[test]
fn nginx_proxy_answers_like_plain_http() {
    equal_answers(steps(), Way::NginxProxy);
}

#[test]
fn cgi_fcgi_is_answered_like_plain_http() {
    equal_answers(steps(), Way::CgiFcgi);
}

#[test]
fn long_polls_are_answered_through_every_server() {
    for way in [Way::Http, Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi, Way::NginxFastcgi, Way::CgiFcgi] {
        let server = Server::start(way);
        let answer = thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let start = Instant::now();
                let line = "GET /?k=door&wait=20&seen=none HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";
                (server.send(line.as_bytes()), start.elapsed())
            });
            thread::sleep(Duration::from_millis(700));
            assert_eq!(server.send(&form("door=open")).status, 200, "{way:?}\n{}", server.site.logs());
            waiting.join().unwrap()
        });
        let (answer, took) = answer;
        assert_eq!((answer.status, answer.text().as_str()), (200, "open"), "{way:?}");
        assert!(took > Duration::from_millis(500), "{way:?}: did not wait, {took:?}");
        assert!(took < Duration::from_secs(5), "{way:?}: woken late, after {took:?}");
    }
}

/// Sends the steps to a server and to `kvs serve --http`, and compares the responses.
pub(crate) fn equal_answers(steps: Vec<Step>, way: Way) {
    let (mut reference, mut server) = (Play::new(Way::Http), Play::new(way));
    let mut wrong = vec![];
    for step in steps {
        if step.wire && way == Way::CgiFcgi {
            // The reference must store the values that later steps read.
            reference.answer(&step);
            continue;
        }
        let (wanted, got) = (reference.answer(&step), server.answer(&step));
        if let Some(status) = (step.elsewhere)(way) {
            if got.status != status {
                wrong.push(format!("{}: {} instead of {status}", step.name, got.status));
            }
            continue;
        }
        wrong.extend(faults(&step, &wanted).map(|fault| format!("{}: plain HTTP: {fault}", step.name)));
        let (wanted, got) = (comparable(&wanted), comparable(&got));
        if wanted != got {
            wrong.push(format!("{}:\n  plain HTTP {}\n  {way:?} {}", step.name, shown(&wanted), shown(&got)));
        }
    }
    let logs = server.server.site.logs();
    assert!(wrong.is_empty(), "{} faults of {way:?}\n{}\n{logs}", wrong.len(), wrong.join("\n"));
    for secret in [SECRET, READER, WRONG] {
        assert!(!logs.contains(secret), "{way:?}: a secret in a log");
    }
}

/// A server that gets the script, with its last values for `{tag}` and `{date}`.
struct Play {
    server: Server,
    tag: String,
    date: String,
}

impl Play {
    fn new(way: Way) -> Self {
        Self { server: Server::start(way), tag: String::new(), date: String::new() }
    }

    fn answer(&mut self, step: &Step) -> Answer {
        let request = replace(&replace(&step.request, "{tag}", &self.tag), "{date}", &self.date);
        let body = request.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| request.len() - at - 4);
        let request = replace(&request, "{length}", &body.to_string());
        let start = Instant::now();
        let answer = self.server.send(&request);
        let took = start.elapsed();
        assert!(answer.whole, "{:?}, {}: cut: {}", self.server.way, step.name, printable(&answer.body));
        let timed_out = step.name.starts_with("wait times out");
        assert!(!timed_out || took > Duration::from_millis(900), "{:?}, {}: {took:?}", self.server.way, step.name);
        assert!(timed_out || took < Duration::from_secs(10), "{:?}, {}: {took:?}", self.server.way, step.name);
        for secret in [SECRET, READER, WRONG] {
            assert!(!answer.text().contains(secret), "{:?}, {}: a secret in the response", self.server.way, step.name);
        }
        if let Some(tag) = answer.header("etag") {
            tag.trim_matches('"').clone_into(&mut self.tag);
        }
        if let Some(date) = answer.header("last-modified") {
            date.clone_into(&mut self.date);
        }
        answer
    }
}

/// The errors in the response of the reference.
fn faults(step: &Step, answer: &Answer) -> impl Iterator<Item = String> {
    let status = (step.status != 0 && answer.status != step.status)
        .then(|| format!("{} instead of {}: {}", answer.status, step.status, printable(&answer.body)));
    let body = step
        .body
        .as_ref()
        .filter(|body| masked(body) != masked(&answer.body))
        .map(|body| format!("{:?} instead of {:?}", printable(&answer.body), printable(body)));
    let header = step.header.filter(|(name, value)| answer.header(name) != Some(value));
    let header = header.map(|(name, value)| format!("{name}: {:?} instead of {value}", answer.header(name)));
    status.into_iter().chain(body).chain(header)
}

type Comparable = (u16, BTreeMap<&'static str, String>, Vec<u8>);

fn comparable(answer: &Answer) -> Comparable {
    let names = if answer.status == 304 { HEADERS_OF_304 } else { HEADERS };
    let header = |name: &&'static str| match name.strip_prefix('=') {
        Some(bare) => answer.header(bare).map(|_| (*name, "present".to_owned())),
        None => answer.header(name).map(|value| (*name, value.to_owned())),
    };
    let headers = names.iter().filter_map(header).collect();
    (answer.status, headers, masked(&answer.body))
}

/// JSON without its revisions and times, which differ from store to store; other bodies unchanged.
fn masked(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    if !matches!(body.first(), Some(b'{' | b'[')) {
        return body;
    }
    for name in ["revision", "updated", "created", "expires"] {
        let begin = format!("\"{name}\":\"");
        let mut from = 0;
        while let Some(at) = body[from..].windows(begin.len()).position(|w| w == begin.as_bytes()) {
            from += at + begin.len();
            let length = body[from..].iter().position(|b| *b == b'"').unwrap_or(0);
            body.splice(from..from + length, *b"?");
        }
    }
    body
}

fn shown((status, headers, body): &Comparable) -> String {
    format!("{status} {headers:?} {:?}", printable(body))
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|w| w == from.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
