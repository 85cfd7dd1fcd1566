//! Hundreds of hostile requests, as bytes on a socket. Each is rejected with a 4xx or a closed connection, and none is
//! taken for another request. Afterwards the program works, its memory has not grown, and its data is unchanged.
//!
//! Each file of `hostile/` is a list of requests of one kind. `tests/apache/rest/hostile.rs` sends them through a web
//! server.

pub(crate) mod framing;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod slow;

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::served::{SECRET, Served};

/// How many times all of them are sent again, to see whether memory grows.
const ROUNDS: usize = 8;

/// A name for people, and the bytes to send.
type Case = (String, Vec<u8>);

/// A request line, headers and a body.
fn message(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

/// Everything that the server sends until it closes the connection.
fn exchange(served: &Served, request: &[u8]) -> Vec<u8> {
    let mut socket = served.connect();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // A server that rejects a long request may stop reading; its response can still be read.
    let _ = socket.write_all(request);
    // The client closes its sending side, so an incomplete request is not waited for.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut answer = vec![];
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Why this response is not a rejection, if it is not.
fn fault(name: &str, answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.get(9..12).and_then(|status| status.parse::<u16>().ok());
    let refused = match status {
        Some(status @ 400..=499) => text.starts_with(&format!("HTTP/1.1 {status} ")),
        // For an unknown transfer coding (RFC 9112 section 6.1).
        Some(501) => name.starts_with("coding"),
        Some(_) => false,
        // Bytes that are not HTTP need no response.
        None => answer.is_empty() && name.starts_with("garbage"),
    };
    (!refused || text.matches("\r\nDate: ").count() > 1).then(|| text.chars().take(300).collect())
}

/// A program with data, which gets the hostile requests.
struct Target {
    served: Served,
    before: Vec<u8>,
}

impl Target {
    fn new(flags: &[&str]) -> Self {
        let served = Served::start(flags);
        for (key, value) in [("a", "1"), ("n", "41"), ("json", "{\"a\":1}"), ("dir/file", "x")] {
            served.put(&format!("/kv/default/{key}"), value);
        }
        let at_rest = || std::fs::read(served.file("default")).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while at_rest().ends_with(b"...\n") && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let before = at_rest();
        Self { served, before }
    }

    fn refuses(&self, cases: &[Case]) {
        let mut wrong = vec![];
        for (name, request) in cases {
            if let Some(fault) = fault(name, &exchange(&self.served, request)) {
                wrong.push(format!("{name}: {fault:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} were not refused:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }

    /// Nothing was changed, there are no new files, and the program answers.
    fn assert_unharmed(&self) {
        let status = self.served.get("/status");
        assert!(status.starts_with("HTTP/1.1 200 OK\r\n") && status.ends_with("\r\n\r\nok"), "{status}");
        assert!(self.served.get("/kv/default/a").ends_with("\r\n\r\n1"));
        let after = std::fs::read(self.served.file("default")).unwrap();
        assert!(after == self.before, "{}", String::from_utf8_lossy(&after));
        let folder = self.served.file("default").parent().unwrap().to_owned();
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        // The program remembers that the right secret came from this address.
        // The program reserves space for deletions.
        names.retain(|name| !name.to_string_lossy().starts_with("_kvs.throttle.") && name != "_kvs.reserve");
        assert_eq!(names, ["default.lock", "default.yaml", "default.yaml.last"]);
    }
}

#[test]
fn hostile_requests_are_rejected_and_change_nothing() {
    let target = Target::new(&[]);
    let cases = [names::cases(), framing::cases(), json::cases()].concat();
    assert!(cases.len() >= 200, "{}", cases.len());
    target.refuses(&cases);
    target.assert_unharmed();
    // After some rounds memory has reached its peak; more of the same requests need no more.
    let peaks: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            target.refuses(&cases);
            target.served.peak_memory()
        })
        .collect();
    target.assert_unharmed();
    println!("{} hostile requests, {ROUNDS} times more, in at most {peaks:?} MiB", cases.len());
    // The allocator grows in large steps now and then; a leak would grow in every round.
    let grown = peaks.windows(2).filter(|pair| pair[1] > pair[0] + 4).count();
    assert!(grown <= ROUNDS / 2 && peaks[ROUNDS - 1] < 256, "memory grows: {peaks:?} MiB");
}
