//! One address cannot take all connections or all long polls; and few descriptors mean few connections, not none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::super::served::Served;

/// A connection from that address of this machine.
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
fn one_address_leaves_connections_to_others() {
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
    // What was held is given back.
    let start = Instant::now();
    while !ask(&from(1, &served), "/livez").starts_with("HTTP/1.1 200 ") {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_trusted_proxy_may_have_all_connections() {
    let served = Served::start(&["--max-connections", "6", "--trusted-proxies", "127.0.0.1"]);
    let all: Vec<TcpStream> = (0..6).map(|_| from(1, &served)).collect();
    for stream in &all {
        assert!(ask(stream, "/livez").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn one_address_leaves_long_polls_to_others() {
    let served = Served::start(&["--max-waiters", "4", "--address-share", "25%"]);
    let poll = "/?k=nothing&wait=20&seen=none";
    let mut holder = from(1, &served);
    holder.write_all(format!("GET {poll} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    let start = Instant::now();
    while !served.get("/metrics").contains("\nkvs_waiters 1\n") {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let answer = ask(&from(1, &served), poll);
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    let mut other = from(2, &served);
    other.write_all(format!("GET {poll} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    while !served.get("/metrics").contains("\nkvs_waiters 2\n") {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn few_descriptors_are_told_at_start_and_are_enough() {
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
    // More than there is room for: the last ones wait for the first.
    let clients: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for client in &clients[..10] {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(ask(client, "/livez").starts_with("HTTP/1.1 200 "));
    }
    drop(clients);
    // The share of this address is given back as its connections end.
    let start = Instant::now();
    let is_well = || {
        let client = TcpStream::connect(&address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ask(&client, "/status").starts_with("HTTP/1.1 200 ")
    };
    while !is_well() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    child.kill().unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    child.wait().unwrap();
    assert!(told.contains("max_connections is 12000") && told.contains("32"), "{told}");
}
