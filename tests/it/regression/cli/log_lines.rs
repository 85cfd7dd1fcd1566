//! The log: a line that cannot be written is lost and nothing else happens. Each request has a line at `debug`, and
//! damage has one for each state of the file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::cli::Place;
use crate::cli::serving::Server;

/// A line that damages a file, and a word of the report.
const BAD: (&str, &str) = ("b: &c 1\n", "anchors");

/// A server with this standard error.
struct Odd {
    child: Child,
    address: String,
}

impl Drop for Odd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Odd {
    fn start(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line:?}"));
        Self { address: address.split('/').next().unwrap().to_owned(), child }
    }

    fn ask(&self, request: &str) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(&self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn get(&self, target: &str) -> std::io::Result<String> {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, form: &str) -> std::io::Result<String> {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
        self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()))
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// The write end of a pipe whose read end is closed.
fn dead() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn unwritable_log_does_not_stop_the_server() {
    for log in [Stdio::from(full()), Stdio::from(dead())] {
        let place = Place::new();
        place.file("auth.txt", "the-secret\n");
        place.run(&["set", "a", "1"]).ok();
        append(&place.path("data/default.yaml"), BAD.0);
        let mut server = Odd::start(place.command(&["serve", "--http", "127.0.0.1:0", "-vv"]), log);
        for _ in 0..20 {
            assert!(server.post("a=2&auth=the-secret").unwrap().starts_with("HTTP/1.1 500 "));
            assert!(server.get("/?k=a").unwrap().ends_with("\r\n\r\n1"));
            assert!(server.get("/status").unwrap().starts_with("HTTP/1.1 500 "));
        }
        assert!(server.is_running());
    }
}

#[test]
fn accept_error_with_a_full_log_does_not_stop_the_server() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    let mut server = Odd::start(place.command(&["serve", "--http", "127.0.0.1:0", "-vv"]), full());
    let id = Pid::from_child(&server.child);
    // By then it has opened what it needs to start.
    assert!(server.get("/?k=a").unwrap().ends_with("\r\n\r\n1"));
    // It has inherited the hard limit of this process.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let allow = |current| prlimit(Some(id), Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let before = allow(Some(3)).current;
    let mut waiting = TcpStream::connect(&server.address).unwrap();
    waiting.write_all(b"GET /?k=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "it was accepted, so this proves nothing, or the server is gone");
    assert!(server.is_running());
    allow(before);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n1") && server.is_running(), "{answer}");
}

#[test]
fn unread_log_does_not_delay_requests_or_shutdown() {
    let place = Place::new();
    place.file("auth.txt", "the-secret\n");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Odd::start(place.command(&["serve", "--http", "127.0.0.1:0", "-vv"]), writer);
    // Much more than a pipe can hold.
    let long = "k".repeat(8000);
    for n in 0..50 {
        assert!(server.get(&format!("/kv/default/{n}{long}")).unwrap().starts_with("HTTP/1.1 4"));
    }
    assert!(server.post("a=2&auth=the-secret").unwrap().starts_with("HTTP/1.1 200"));
    let id = Pid::from_child(&server.child);
    kill_process(id, Signal::TERM).unwrap();
    let start = Instant::now();
    while server.is_running() {
        assert!(start.elapsed() < Duration::from_secs(20), "it waits for its log");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(reader);
}

#[test]
fn commands_work_when_their_output_cannot_be_written() {
    let place = Place::new();
    let file = place.file("j.json", "{\"a\": \"1\"}");
    let code = |args: &[&str], out: Stdio, err: Stdio| {
        let mut child = place.command(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        child.wait().unwrap().code()
    };
    let lost = || [Stdio::from(full()), Stdio::from(dead())];
    for err in lost() {
        assert_eq!(code(&["import", &file], Stdio::null(), err), Some(0));
    }
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
    for (args, expected) in [
        (&["delete", "none"][..], 0),
        (&["check"], 0),
        (&["sweep"], 0),
        (&["export", "x.yaml"], 0),
        (&["copy", "yaml:data", "yaml:other"], 0),
        (&["get", "none"], 1),
        (&["list", "--store", "yaml:none"], 1),
        (&["import", "none.yaml"], 1),
        (&["frobnicate"], 2),
        (&["list", "--limit", "x"], 2),
        (&["serve", "--reads", "x"], 2),
        (&["edit"], 1),
    ] {
        for err in lost() {
            assert_eq!(code(args, Stdio::null(), err), Some(expected), "{args:?}");
        }
    }
    // It is a failure if the output cannot be written. A closed pipe is not a failure.
    for args in [&["get", "a"][..], &["list"], &["list", "--json"], &["export"], &["--help"], &["--version"], &["man"]]
    {
        assert_eq!(code(args, full().into(), full().into()), Some(1), "{args:?}");
        assert_eq!(code(args, dead().into(), full().into()), Some(0), "{args:?}");
    }
    let mut said = place.command(&["--version"]).stdout(full()).spawn().unwrap();
    let mut err = String::new();
    said.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("cannot write to standard output") && said.wait().unwrap().code() == Some(1), "{err}");
}

#[test]
fn requests_are_logged_at_debug_without_secret_or_value() {
    let place = Place::new();
    place.file("auth.txt", "the-secret\n");
    let mut command = place.command(&["serve", "--http", "127.0.0.1:0"]);
    command.env("KVS_LOG", "trace");
    let (mut reader, writer) = std::io::pipe().unwrap();
    // This drops the command, and with it our copy of the write end.
    let server = Odd::start(command, writer);
    server.post("a=the-value&auth=the-secret").unwrap();
    server.get("/?k=a&auth=the-secret").unwrap();
    server.get("/kv/default/a?token=the-secret").unwrap();
    server.get("/kv/default/a").unwrap();
    server.get("/nothing/here").unwrap();
    let id = Pid::from_child(&server.child);
    kill_process(id, Signal::TERM).unwrap();
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    for (line, times) in [("POST / 200 in ", 1), ("GET / 400 in ", 1), ("GET /kv/default/a 200 in ", 2)] {
        assert_eq!(log.matches(line).count(), times, "{line}: {log}");
    }
    assert!(log.contains("GET /nothing/here 404 in ") && log.contains(" for 127.0.0.1\n"), "{log}");
    assert!(!log.contains("the-secret") && !log.contains("the-value"), "{log}");
}

#[test]
fn damage_is_logged_once_per_state_of_the_file() {
    let place = Place::new();
    place.file("auth.txt", "the-secret\n");
    place.run(&["set", "a", "1"]).ok();
    let whole = place.read("data/default.yaml");
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    for n in 0..3 {
        append(&place.path("data/default.yaml"), BAD.0);
        for _ in 0..5 {
            assert!(server.post("a=2&auth=the-secret").starts_with("HTTP/1.1 500"));
            assert!(server.get("/?k=a").ends_with("\r\n\r\n1"));
            server.get("/status");
            server.get("/readyz");
        }
        // Repaired, and damaged in another way.
        place.file("data/default.yaml", [whole.clone(), "# more\n".repeat(n).into_bytes()].concat());
        assert!(server.get("/?k=a").ends_with("\r\n\r\n1"));
    }
    let log = server.stop();
    assert_eq!(log.matches(BAD.1).count(), 3, "{log}");
}

#[test]
fn error_of_a_command_is_reported_once() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    append(&place.path("data/default.yaml"), BAD.0);
    for quiet in [&[][..], &["-q"]] {
        for (command, code) in [
            (&["set", "a", "2"][..], 1),
            (&["delete", "a"], 1),
            (&["incr", "a"], 1),
            (&["compact"], 1),
            (&["sweep"], 1),
            (&["check"], 1),
            (&["get", "a"], 0),
            (&["list"], 0),
        ] {
            let run = place.run(&[command, quiet].concat());
            let reports = run.err.matches(BAD.1).count() + run.text().matches(BAD.1).count();
            assert_eq!((run.code, reports), (code, 1), "{run:?}");
        }
    }
    let wrong = place.with(&["get", "a"], &[("KVS_LOG", "debgu")], b"").ok();
    assert!(wrong.err.contains("`debgu` is not a level"), "{wrong:?}");
}
