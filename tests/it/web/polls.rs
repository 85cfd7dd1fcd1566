//! Thousands of long polls on one process: all get a response soon after a write by any process, and at shutdown.
//!
//! One thread reads all sockets in turn, so the last response has arrived when the last read returns.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::served::Served;

const POLLS: usize = 5_000;
/// From the acknowledged write to the last response.
const SOON: Duration = Duration::from_millis(500);
/// In MiB, with all of them waiting.
const MEMORY: u64 = 200;
/// Other tests use the processors at the same time, so one fast round of these is enough.
const ROUNDS: usize = 6;

/// The clients, half of them on the classic path, half on the entry.
struct Crowd(Vec<TcpStream>);

impl Crowd {
    fn gather(served: &Served) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let room = u64::try_from(POLLS).unwrap() + 1_000;
        assert!(limit.maximum.is_none_or(|limit| limit >= room), "the test needs {room} open files: see ulimit -Hn");
        if limit.current.is_some_and(|now| now < room) {
            setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum: limit.maximum }).unwrap();
        }
        Self((0..POLLS).map(|_| served.connect()).collect())
    }

    /// Sends a long poll for a change of this tag on every connection, and returns when all wait.
    fn wait_for_change(&mut self, tag: &str) {
        let classic = format!("GET /?k=door&wait=25&seen={tag} HTTP/1.1\r\nHost: h\r\n\r\n");
        let entry =
            format!("GET /kv/default/door HTTP/1.1\r\nHost: h\r\nPrefer: wait=25\r\nIf-None-Match: \"{tag}\"\r\n\r\n");
        for (number, socket) in self.0.iter_mut().enumerate() {
            let request = if number % 2 == 0 { &classic } else { &entry };
            socket.write_all(request.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_secs(1));
        for socket in &self.0 {
            socket.set_nonblocking(true).unwrap();
            let early = socket.peek(&mut [0]).map_err(|e| e.kind());
            assert_eq!(early, Err(io::ErrorKind::WouldBlock), "answered or closed before the change");
            socket.set_nonblocking(false).unwrap();
        }
    }

    /// Reads all responses and returns their common tag.
    fn answers(&mut self, begin: &str, body: &str) -> String {
        let mut buffer = [0; 2048];
        let mut tags: Vec<String> = vec![];
        for socket in &mut self.0 {
            let length = socket.read(&mut buffer).unwrap();
            let answer = String::from_utf8_lossy(&buffer[..length]);
            assert!(answer.starts_with(begin) && answer.ends_with(&format!("\r\n\r\n{body}")), "{answer:?}");
            let tag = answer.split("Etag: \"").nth(1).unwrap().split('"').next().unwrap();
            if tags.last().is_none_or(|last| last != tag) {
                tags.push(tag.to_owned());
            }
        }
        assert_eq!(tags.len(), 1, "{tags:?}");
        tags.remove(0)
    }

    /// Returns the new tag, and how long after the write the last long poll got it.
    fn round(&mut self, tag: &str, value: &str, write: impl Fn(&str)) -> (String, Duration) {
        self.wait_for_change(tag);
        write(value);
        let start = Instant::now();
        let tag = self.answers("HTTP/1.1 200 OK\r\n", value);
        (tag, start.elapsed())
    }
}

/// Repeats rounds until one is fast enough.
fn wakes_soon(crowd: &mut Crowd, mut tag: String, write: impl Fn(&str)) -> String {
    let mut took = vec![];
    for round in 0..ROUNDS {
        let (next, time) = crowd.round(&tag, &format!("value {round}"), &write);
        tag = next;
        took.push(time);
        if time < SOON {
            println!("{POLLS} long polls were answered after {took:?}");
            return tag;
        }
    }
    panic!("{POLLS} long polls were answered after {took:?}, each time later than {SOON:?}");
}

#[test]
fn thousands_of_long_polls_end_soon_after_a_write_and_at_shutdown() {
    let mut served = Served::start(&[]);
    served.put("/kv/default/door", "shut");
    let mut crowd = Crowd::gather(&served);
    let tag = served.get("/?k=door").split("Etag: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();

    // By the same process, then by another.
    let tag = wakes_soon(&mut crowd, tag, |value| served.put("/kv/default/door", value));
    let tag = wakes_soon(&mut crowd, tag, |value| served.command(&["set", "door", value]));
    let memory = served.peak_memory();
    println!("{memory} MiB at most");
    assert!(memory < MEMORY, "{memory} MiB");

    crowd.wait_for_change(&tag);
    let start = Instant::now();
    served.terminate();
    assert_eq!(crowd.answers("HTTP/1.1 304 Not Modified\r\n", ""), tag);
    println!("all were answered {:?} after the signal", start.elapsed());
    let ended = served.ended(Duration::from_secs(10)).expect("it ends");
    assert!(ended.success(), "{ended}");
}
