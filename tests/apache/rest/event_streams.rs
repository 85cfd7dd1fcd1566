//! Changes since a revision and event streams through every server: an event arrives while the stream is open, or, if
//! the web server starts the program, the stream ends after it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ask;
use crate::servers::{Server, Way};
use crate::site::SECRET;

/// The longest time from a write to its event, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Longer than the start of a program takes. A web server that starts it may send nothing before the first event.
const STARTED: Duration = Duration::from_secs(1);

const WAYS: [Way; 6] = [Way::Http, Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi, Way::NginxFastcgi, Way::NginxProxy];

fn auth() -> String {
    format!("X-KVS-Auth: {SECRET}\r\n")
}

/// An open stream. What has arrived is kept with all chunk sizes, which no check depends on.
struct Stream {
    socket: TcpStream,
    text: String,
}

impl Stream {
    fn open(server: &Server, target: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nAccept: text/event-stream");
        socket.write_all(format!("{head}\r\n{headers}\r\n").as_bytes()).unwrap();
        Self { socket, text: String::new() }
    }

    /// Reads what is there. Returns false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.text += &String::from_utf8_lossy(&buffer[..length]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(e) => panic!("{e} after {}", self.text),
        }
    }

    /// Waits for this text and returns how long that took.
    #[track_caller]
    fn until(&mut self, text: &str) -> Duration {
        let start = Instant::now();
        while !self.text.contains(text) {
            let goes_on = self.read();
            assert!(self.text.contains(text) || goes_on, "ended without {text}: {}", self.text);
            assert!(start.elapsed() < Duration::from_secs(20), "no {text}: {}", self.text);
        }
        start.elapsed()
    }

    #[track_caller]
    fn until_its_end(&mut self) {
        let start = Instant::now();
        while self.read() {
            assert!(start.elapsed() < SOON, "it does not end: {}", self.text);
        }
    }

    /// The id of the last whole event.
    fn last_id(&self) -> Option<String> {
        let (_, event) = self.text.rsplit_once("event: ")?;
        let (_, id) = event.split_once("\nid: ").filter(|_| event.contains("}\n\n"))?;
        id.split('\n').next().map(str::to_owned)
    }

    /// Waits for an event with another id, and returns the id.
    fn id_after(&mut self, before: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(id) = self.last_id().filter(|id| id != before) {
                return id;
            }
            let goes_on = self.read();
            let is_late = start.elapsed() > Duration::from_secs(20);
            assert!((goes_on || self.last_id().is_some()) && !is_late, "no event after {before}: {}", self.text);
        }
    }
}

/// Checks the beginning of a stream of a bucket and returns the id of its `reset`.
fn begin(server: &Server, stream: &mut Stream) -> String {
    let took = stream.until("\ndata: {\"event\":\"reset\"");
    stream.until("\n\n");
    let head = stream.text.to_ascii_lowercase();
    assert!(took < SOON && head.starts_with("http/1.1 200"), "{:?}: {took:?} {head}", server.way);
    assert!(head.contains("content-type: text/event-stream\r\n"), "{:?}: {head}", server.way);
    // A web server that has the whole response of a program may give its length.
    assert!(server.way.is_spawned() || !head.contains("content-length"), "{:?}: {head}", server.way);
    assert!(stream.text.contains("retry: 1000\n\n"), "{:?}: {head}", server.way);
    stream.id_after("")
}

#[test]
fn events_arrive_through_every_server() {
    for way in WAYS {
        let server = Server::start(way);
        ask(&server, "PUT /kv/rooms/hall", &auth(), (201, b"19"));
        let mut stream = Stream::open(&server, "/kv/rooms?prefix=h", &auth());
        let mut id = begin(&server, &mut stream);
        let writes = [
            ("PUT /kv/rooms/hall", "put", "20\n\n"),
            ("PUT /kv/rooms/hall", "put", "21"),
            ("DELETE /kv/rooms/hall", "delete", ""),
        ];
        for (number, (write, event, value)) in writes.into_iter().enumerate() {
            if way.is_spawned() {
                stream.until_its_end();
                stream = Stream::open(&server, "/kv/rooms?prefix=h", &format!("{}Last-Event-ID: {id}\r\n", auth()));
                std::thread::sleep(STARTED);
            }
            // Another key, which is no event of this stream.
            ask(&server, "POST /kv/rooms/attic?op=incr", &auth(), (200, b""));
            ask(&server, write, &auth(), (200, value.as_bytes()));
            let (start, before) = (Instant::now(), id);
            id = stream.id_after(&before);
            assert!(start.elapsed() < SOON, "{way:?}, write {number}: {:?}", start.elapsed());
            assert!(stream.text.contains(&format!("event: {event}\nid: {id}\n")), "{way:?}: {}", stream.text);
        }
        assert!(
            stream.text.contains("\"event\":\"delete\"") && !stream.text.contains("attic"),
            "{way:?}: {}",
            stream.text
        );
    }
}

#[test]
fn changes_are_returned_through_every_server() {
    for way in [&WAYS[..], &[Way::CgiFcgi]].concat() {
        let server = Server::start(way);
        ask(&server, "PUT /kv/rooms/hall", &auth(), (201, b"19"));
        let list = ask(&server, "GET /kv/rooms", &auth(), (200, b""));
        let since = list.header("kvs-revision").unwrap().to_owned();
        let page = |target: &str| -> Value {
            serde_json::from_slice(&ask(&server, &format!("GET {target}"), &auth(), (200, b"")).body).unwrap()
        };
        let empty = page(&format!("/kv/rooms?since={since}"));
        assert_eq!(empty, json!({"changes": [], "since": since}), "{way:?}");
        let waited = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| page(&format!("/kv/rooms?since={since}&wait=20")));
            std::thread::sleep(Duration::from_millis(500));
            ask(&server, "DELETE /kv/rooms/hall", &auth(), (200, b""));
            waiting.join().unwrap()
        });
        assert_eq!(waited["changes"][0]["event"], "delete", "{way:?}: {waited}");
        assert_eq!(waited, page(&format!("/kv/rooms?since={since}")), "{way:?}");
        ask(&server, "GET /kv/rooms?since=3000000000000", &auth(), (410, b""));
        ask(&server, "GET /kv/rooms?since=0", "", (401, b""));
    }
}

#[test]
fn stream_is_refused_while_another_occupies_the_process_of_its_bucket() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let server = Server::start(way);
        ask(&server, "PUT /kv/rooms/attic", &auth(), (201, b"1"));
        let list = ask(&server, "GET /kv/rooms", &auth(), (200, b""));
        let since = list.header("kvs-revision").unwrap().to_owned();
        let mut first = Stream::open(&server, &format!("/kv/rooms?since={since}"), &auth());
        std::thread::sleep(STARTED);
        let mut second = Stream::open(&server, &format!("/kv/rooms?since={since}"), &auth());
        second.until("retry: 5000\n\n");
        second.until_its_end();
        ask(&server, "PUT /kv/rooms/hall", &auth(), (201, b"19"));
        first.until("retry: 1000\n\n");
        first.until("event: put\n");
        first.until_its_end();
    }
}
