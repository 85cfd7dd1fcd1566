//! Hostile requests by the hundred, as bytes on a socket: each is refused with a 4xx or the end of the connection, none is
//! taken for something else, and afterwards the program is well, its memory has not grown, and its data is the same, byte
//! for byte.
//!
//! Each file of `hostile/` is a list of requests of one kind. `tests/apache/rest/hostile.rs` sends those that a web server
//! passes on through one.

pub(crate) mod framing;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod slow;

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::served::{SECRET, Served};

/// How often all of them are sent again, to see whether memory grows.
const ROUNDS: usize = 8;

/// What is sent, with a name for people.
type Case = (String, Vec<u8>);

/// A request line and headers, and behind the empty line a body.
fn message(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n{headers}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

/// All that comes back until the connection ends, which the server does of itself.
fn exchange(served: &Served, request: &[u8]) -> Vec<u8> {
    let mut socket = served.connect();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // A server that refuses a long request may stop reading; its answer is there all the same.
    let _ = socket.write_all(request);
    // What never ends its request must be taken for gone.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut answer = vec![];
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Why this is no refusal, if it is none.
fn fault(name: &str, answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let told = text.get(9..12).and_then(|status| status.parse::<u16>().ok());
    let refused = match told {
        Some(status @ 400..=499) => text.starts_with(&format!("HTTP/1.1 {status} ")),
        // For a coding of the transfer that it does not know (RFC 9112 section 6.1).
        Some(501) => name.starts_with("coding"),
        Some(_) => false,
        // What is no HTTP at all needs no answer.
        None => answer.is_empty() && name.starts_with("garbage"),
    };
    (!refused || text.matches("\r\nDate: ").count() > 1).then(|| text.chars().take(300).collect())
}

/// A program with data, on which hostile requests are tried.
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

    /// Nothing was changed, nothing is left behind, and the program answers.
    fn is_well(&self) {
        let status = self.served.get("/status");
        assert!(status.starts_with("HTTP/1.1 200 OK\r\n") && status.ends_with("\r\n\r\nok"), "{status}");
        assert!(self.served.get("/kv/default/a").ends_with("\r\n\r\n1"));
        let after = std::fs::read(self.served.file("default")).unwrap();
        assert!(after == self.before, "{}", String::from_utf8_lossy(&after));
        let folder = self.served.file("default").parent().unwrap().to_owned();
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        // That the right secret came from here is remembered.
        // And room is kept for deletions.
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
    target.is_well();
    // What requests may take at once has been taken after some rounds; more of the same takes no more.
    let peaks: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            target.refuses(&cases);
            target.served.peak_memory()
        })
        .collect();
    target.is_well();
    println!("{} hostile requests, {ROUNDS} times more, in at most {peaks:?} MiB", cases.len());
    // The allocator takes room in large pieces, now and then; what is not given back would take more in every round.
    let grown = peaks.windows(2).filter(|pair| pair[1] > pair[0] + 4).count();
    assert!(grown <= ROUNDS / 2 && peaks[ROUNDS - 1] < 256, "it holds more and more: {peaks:?} MiB");
}
