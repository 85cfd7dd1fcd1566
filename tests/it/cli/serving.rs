//! The program as a server and as what a web server starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Place, Run};

/// A server that is killed on drop.
pub(in super::super) struct Server {
    child: Child,
    line: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(in super::super) fn start(place: &Place, args: &[&str]) -> Self {
        let args = [&["serve"], args].concat();
        let mut child = place.command(&args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    pub(in super::super) fn ask(&self, request: &str) -> String {
        let address = self.line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(in super::super) fn get(&self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub(in super::super) fn post(&self, form: &str) -> String {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
        self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()))
    }

    /// Stops it and returns its log.
    pub(in super::super) fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

#[test]
fn serve_answers_and_reloads_secrets_without_a_restart() {
    let place = Place::new();
    let socket = format!("unix:{}", place.path("s").display());
    place.file("auth.txt", "first-secret\n");
    let server = Server::start(&place, &["--http", "127.0.0.1:0", "--fastcgi", &socket, "-vv"]);
    assert!(server.line.contains(&format!("FastCGI on {socket}")), "{}", server.line);
    assert!(server.post("a=1&auth=first-secret").starts_with("HTTP/1.1 200"));
    assert!(server.get("/?k=a").ends_with("\r\n\r\n1"));
    // A write of the command line is visible at once.
    place.run(&["set", "a", "2"]).ok();
    assert!(server.get("/?k=a").ends_with("\r\n\r\n2"));
    place.file("auth.txt", "second-secret\n");
    assert!(server.post("a=3&auth=first-secret").starts_with("HTTP/1.1 401"));
    assert!(server.post("a=3&auth=second-secret").starts_with("HTTP/1.1 200"));
    place.file("auth.txt", "second-secret fly\n");
    assert!(!server.post("a=4&auth=second-secret").starts_with("HTTP/1.1 200"));
    // The counters survive a change of the secrets.
    let metrics = server.get("/metrics");
    for (status, count) in [(200, 2), (401, 1), (500, 1)] {
        let series = format!("kvs_requests_total{{route=\"root\",method=\"POST\",status=\"{status}\"}} {count}\n");
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
    let log = server.stop();
    assert!(!log.contains("-secret"), "{log}");
    assert!(log.contains("no secret is accepted"), "{log}");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "3");
    assert!(!place.path("s").exists());
}

#[test]
fn http_is_served_under_the_base_path() {
    let place = Place::new();
    place.file("config.yaml", "base_path: /kvs\nbuckets:\n  default: {reads: listed, max_age: 9s}\n");
    place.run(&["set", "a", "1"]).ok();
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    for target in ["/kvs/?k=a", "/kvs?k=a", "/kvs/kv/default/a"] {
        let answer = server.get(target);
        assert!(answer.ends_with("\r\n\r\n1") && answer.contains("s-maxage=9"), "{target}: {answer}");
    }
    assert!(server.get("/kvs/kv/default?keys").contains("{\"keys\":[\"a\"]"));
    assert!(server.get("/kvs/kvs/?k=a").starts_with("HTTP/1.1 404"));
}

#[test]
fn serve_reports_why_it_cannot_start() {
    let place = Place::new();
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    let in_use = server.line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    place.run(&["serve", "--http", in_use]).fails(1, in_use);
    place.run(&["serve", "--http", "nonsense"]).fails(2, "nonsense");
    place.run(&["serve", "--auth", "missing.txt", "--http", "127.0.0.1:0"]).fails(1, "missing.txt");
    place.file("auth.txt", "hidden-secret fly\n");
    let run = place.run(&["serve", "--http", "127.0.0.1:0"]).fails(2, "line 1");
    assert!(!run.err.contains("hidden-secret"), "{run:?}");
}

/// Runs a CGI request with the environment of a web server.
pub(in super::super) fn cgi(place: &Place, query: &str) -> Run {
    let target = format!("/cgi-bin/kvs.cgi?{query}");
    let home = place.0.path().to_str().unwrap();
    let env = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/cgi-bin/kvs.cgi"),
        ("SCRIPT_FILENAME", "/srv/cgi-bin/kvs.cgi"),
        ("REQUEST_URI", target.as_str()),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("KVS_HOME", home),
    ];
    // Apache passes a query without `=` as arguments.
    place.with(&["delete", "a"], &env, b"")
}

#[test]
fn cgi_answers_one_request_and_never_reads_its_arguments() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    let run = cgi(&place, "k=a").ok();
    assert!(run.text().starts_with("Status: 200") && run.text().ends_with("\r\n\r\n1"), "{run:?}");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
}

#[test]
fn cgi_with_wrong_settings_logs_the_reason_and_hides_details() {
    let place = Place::new();
    place.file("config.yaml", "stoer: yaml:secret-folder\n");
    let run = cgi(&place, "k=a").ok();
    assert!(run.text().starts_with("Status: 500"), "{run:?}");
    assert!(!run.text().contains("stoer") && run.err.contains("did you mean `store`?"), "{run:?}");
}

/// Sends a GET as a web server does, and returns the answer.
fn ask_fastcgi(socket: &Path, query: &str) -> String {
    fastcgi(socket, ("GET", query), "")
}

/// Sends a request with a form.
pub(in super::super) fn fastcgi(socket: &Path, (method, query): (&str, &str), form: &str) -> String {
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    let target = format!("/kvs.fcgi?{query}");
    let length = form.len().to_string();
    let pairs = [
        ("REQUEST_METHOD", method),
        ("CONTENT_LENGTH", &length),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
        ("SCRIPT_NAME", "/kvs.fcgi"),
        ("SCRIPT_FILENAME", "/srv/kvs.fcgi"),
        ("REQUEST_URI", target.as_str()),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
    ];
    let mut params = Vec::new();
    for (name, value) in pairs {
        params.extend([u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()]);
        params.extend([name.as_bytes(), value.as_bytes()].concat());
    }
    // A responder that closes the connection after the answer.
    let begin = record(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let body = if form.is_empty() { vec![] } else { record(5, form.as_bytes()) };
    let request = [begin, record(4, &params), record(4, b""), body, record(5, b"")].concat();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&standard_output(&answer)).into_owned()
}

/// The content of the records for standard output.
fn standard_output(mut records: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while let [_, kind, _, _, high, low, padding, _, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 6 {
            output.extend_from_slice(&rest[..length]);
        }
        records = &rest[length + usize::from(*padding)..];
    }
    output
}

pub(in super::super) fn spawn_fastcgi(place: &Place, socket: &Path) -> Child {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    let mut command = place.command(&["delete", "a"]);
    command.env("KVS_HOME", place.0.path()).stdin(Stdio::from(OwnedFd::from(listener)));
    command.spawn().unwrap()
}

/// Waits until a program ends and returns its log.
pub(super) fn ended(mut child: Child) -> String {
    for _ in 0..500 {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stdout), (Some(0), vec![]));
            return String::from_utf8(output.stderr).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    panic!("it is still running");
}

#[test]
fn a_program_under_a_web_server_serves_until_its_settings_change() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    let socket = place.path("s");
    let child = spawn_fastcgi(&place, &socket);
    for _ in 0..3 {
        assert!(ask_fastcgi(&socket, "k=a").contains("\r\n\r\n1"));
    }
    place.file("config.yaml", "stoer: yaml:data\n");
    // It checks once a second.
    std::thread::sleep(Duration::from_millis(1100));
    assert!(ask_fastcgi(&socket, "k=a").contains("\r\n\r\n1"));
    assert!(ended(child).contains("config.yaml has changed"));

    let child = spawn_fastcgi(&place, &socket);
    let answer = ask_fastcgi(&socket, "k=a");
    assert!(answer.contains("Status: 500") && !answer.contains("stoer"), "{answer}");
    assert!(ended(child).contains("did you mean `store`?"));
    place.file("config.yaml", "store: yaml:data\n");
    let child = spawn_fastcgi(&place, &socket);
    assert!(ask_fastcgi(&socket, "k=a").contains("\r\n\r\n1"));
    assert!(Command::new("kill").args(["-USR1", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(ended(child), "");
}
