//! One address cannot use all connections, all long polls or all memory for bodies. With few descriptors the server
//! accepts few connections, but some.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::server::fastcgi_client::{begin, params, record, stream};
use crate::support::served::{SECRET, Served};

/// A connection from this address of this machine.
fn from(last: u8, served: &Served) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
    connect(&socket, &served.address.parse::<SocketAddrV4>().unwrap()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn ask(mut stream: &TcpStream, target: &str) -> String {
    let _ = stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    let mut answer = [0; 2048];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn one_address_cannot_use_all_connections() {
    let served = Served::start(&["--max-connections", "6"]);
    let first: Vec<TcpStream> = (0..3).map(|_| from(1, &served)).collect();
    for stream in &first {
        assert!(ask(stream, "/livez").starts_with("HTTP/1.1 200 "));
    }
    let answer = ask(&from(1, &served), "/livez");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    let others: Vec<TcpStream> = (0..3).map(|_| from(2, &served)).collect();
    for stream in &others {
        assert!(ask(stream, "/livez").starts_with("HTTP/1.1 200 "));
    }
    drop(others);
    drop(first);
    // The memory is released.
    let start = Instant::now();
    while !ask(&from(1, &served), "/livez").starts_with("HTTP/1.1 200 ") {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn trusted_proxy_can_use_all_connections() {
    let served = Served::start(&["--max-connections", "6", "--trusted-proxies", "127.0.0.1"]);
    let all: Vec<TcpStream> = (0..6).map(|_| from(1, &served)).collect();
    for stream in &all {
        assert!(ask(stream, "/livez").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn one_address_cannot_use_all_long_polls() {
    let served = Served::start(&["--max-waiters", "4", "--address-share", "25%"]);
    let poll = "/?k=nothing&wait=20&seen=none";
    let mut holder = from(1, &served);
    holder.write_all(format!("GET {poll} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    let start = Instant::now();
    while !served.get("/metrics").contains("\nkvs_waiters 1\n") {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let answer = ask(&from(1, &served), poll);
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    let mut other = from(2, &served);
    other.write_all(format!("GET {poll} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    while !served.get("/metrics").contains("\nkvs_waiters 2\n") {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

/// The limit of all bodies together.
const BODIES: &str = "24MiB";
/// A body that arrives slowly.
const SLOW: usize = 2_500_000;

/// Opens clients of this kind until the second one is rejected. Each sends the start of a form, which stays in memory.
fn fill<S: Read + Write>(mut client: impl FnMut() -> S, refused: &str) -> Vec<S> {
    let (mut held, mut refusals, start) = (vec![], 0, Instant::now());
    while refusals < 2 {
        assert!(held.len() < 15 && start.elapsed() < Duration::from_secs(60), "no client is rejected");
        let mut socket = client();
        // A rejection comes within this time.
        let _ = socket.write_all(&vec![b'a'; SLOW]);
        let mut answer = [0; 512];
        match socket.read(&mut answer) {
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(&answer[..length]).into_owned();
                assert!(text.contains(refused) && text.contains("Retry-After: "), "{text}");
                refusals += 1;
            }
            _ => held.push(socket),
        }
    }
    assert!(held.len() >= 2, "one address may have half");
    held
}

/// Sends a complete form of this size and returns the status.
fn form(mut socket: TcpStream, headers: &str, length: usize) -> String {
    let form = format!("auth={SECRET}&b={}", "x".repeat(length));
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {}", form.len());
    socket.write_all(format!("{head}\r\n\r\n{form}").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.get(9..12).unwrap_or_default().to_owned()
}

/// The start of a form from this address.
fn slow_form(mut socket: TcpStream, headers: &str) -> TcpStream {
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    write!(socket, "POST / HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: 3000000\r\n\r\n").unwrap();
    socket
}

#[test]
fn one_address_cannot_use_all_body_memory() {
    let served = Served::start(&["--body-memory", BODIES]);
    let held = fill(|| slow_form(from(2, &served), ""), "HTTP/1.1 503 ");
    assert_eq!(form(from(2, &served), "", 5_000), "200", "a part is reserved for it too");
    assert_eq!(form(from(3, &served), "", 1_000_000), "200");
    drop(held);
    let start = Instant::now();
    while form(from(2, &served), "", 1_000_000) != "200" {
        assert!(start.elapsed() < Duration::from_secs(20), "it is not released");
    }
}

#[test]
fn clients_of_a_trusted_proxy_have_separate_body_memory() {
    let served = Served::start(&["--body-memory", BODIES, "--trusted-proxies", "127.0.0.1"]);
    let one = "X-Forwarded-For: 198.51.100.1\r\n";
    let _held = fill(|| slow_form(from(1, &served), one), "HTTP/1.1 503 ");
    assert_eq!(form(from(1, &served), "Forwarded: for=198.51.100.2\r\n", 1_000_000), "200");
    // The header of any other client is ignored.
    assert_eq!(form(from(2, &served), one, 1_000_000), "200");
}

#[test]
fn fastcgi_clients_of_one_network_share_body_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _served = Served::start(&["--body-memory", BODIES, "--fastcgi", &format!("unix:{}", path.display())]);
    let started_request = |address: &str, length: &str, body: &[u8]| {
        let list = params(&[
            ("REQUEST_METHOD", b"POST"),
            ("REQUEST_URI", b"/"),
            ("CONTENT_LENGTH", length.as_bytes()),
            ("REMOTE_ADDR", address.as_bytes()),
        ]);
        let mut web = UnixStream::connect(&path).unwrap();
        web.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        web.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        web.write_all(&[begin(1, false), stream(4, 1, &list, 60_000)].concat()).unwrap();
        let end = if body.is_empty() { vec![] } else { stream(5, 1, body, 60_000) };
        let _ = web.write_all(&end);
        web
    };
    let mut n = 0;
    let slow = || {
        n += 1;
        Records(started_request(&format!("2001:db8::{n}"), "3000000", b""))
    };
    // Each has another address of the same network.
    let _held = fill(slow, "Status: 503 ");
    let body = format!("auth={SECRET}&b={}", "x".repeat(1_000_000));
    let mut web = started_request("2001:db8:0:1::1", &body.len().to_string(), body.as_bytes());
    web.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = vec![];
    let _ = web.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("Status: 200 "), "{answer}");
}

/// Sends everything as records of an endless body.
struct Records(UnixStream);

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(60_000)];
        self.0.write_all(&record(5, 1, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Records {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(bytes)
    }
}

#[test]
fn low_descriptor_limit_is_reported_and_sufficient() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" serve --http 127.0.0.1:0", env!("CARGO_BIN_EXE_kvs")])
        .env("KVS_HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    // More than the limit: the last ones wait for the first.
    let clients: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for client in &clients[..10] {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(ask(client, "/livez").starts_with("HTTP/1.1 200 "));
    }
    drop(clients);
    // The connections of this address are released as they end.
    let start = Instant::now();
    let is_served = || {
        let client = TcpStream::connect(&address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ask(&client, "/status").starts_with("HTTP/1.1 200 ")
    };
    while !is_served() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    child.kill().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    child.wait().unwrap();
    assert!(log.contains("max_connections is 12000") && log.contains("32"), "{log}");
}
