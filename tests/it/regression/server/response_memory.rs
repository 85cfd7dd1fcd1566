//! Responses use little memory while they are sent, however large they are and however slow the client is; and no
//! client can read for ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::served::{SECRET, Served};

const MEGABYTE: usize = 1_000_000;

/// Keys with values of 1 MB each, which have 6 MB in JSON.
fn filled(flags: &[&str], keys: usize) -> Served {
    let served = Served::start(flags);
    for number in 0..keys {
        served.put(&format!("/kv/default/k{number:02}"), &"\u{1}".repeat(MEGABYTE));
    }
    served
}

/// A client that sends a request and does not read.
fn unread(served: &Served, request: &str) -> TcpStream {
    let mut socket = served.connect();
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

fn multi(keys: usize) -> String {
    let rows = (0..keys).map(|number| format!("\"k{number:02}\"")).collect::<Vec<_>>().join(",");
    format!(
        "POST /multi/default HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n[{rows}]",
        rows.len() + 2
    )
}

#[test]
fn unread_responses_use_little_memory() {
    let served = filled(&[], 10);
    let before = served.present_memory();
    let list = format!("GET /kv/default HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\n\r\n");
    let meta = "GET /kv/default/k00?meta HTTP/1.1\r\nHost: h\r\n\r\n";
    let transaction = {
        let ops = vec!["{\"op\":\"get\",\"key\":\"k00\"}"; 20].join(",");
        let body = format!("{{\"ops\":[{ops}]}}");
        let head = "POST /txn/default HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nX-KVS-Auth";
        format!("{head}: {SECRET}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for request in [multi(10), list, meta.to_owned(), transaction] {
        let clients: Vec<TcpStream> = (0..20).map(|_| unread(&served, &request)).collect();
        for client in &clients {
            // The response has begun.
            let mut begin = [0; 15];
            (&*client).read_exact(&mut begin).unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200 OK", "{request}");
        }
        let held = served.present_memory();
        assert!(held < before + 50, "{held} MiB, and {before} before: {request}");
    }
}

#[test]
fn streamed_response_is_complete() {
    let served = filled(&[], 3);
    served.put("/kv/default/bytes", "x");
    let answer = served.ask(&multi(3));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    let found: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(found["k02"], "\u{1}".repeat(MEGABYTE));
    assert_eq!(found.as_object().unwrap().len(), 3);
}

#[test]
fn response_is_limited_by_its_size_as_json() {
    let served = filled(&[], 12);
    let answer = served.ask(&multi(12));
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("send fewer keys"), "{answer:.300}");
    // A page is shorter instead.
    let list = "GET /kv/default?limit=12 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth";
    let answer = served.ask(&format!("{list}: {SECRET}\r\n\r\n"));
    let page: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((page["entries"].as_array().unwrap().len(), page["cursor"].as_str()), (2, Some("k01")));
}

#[test]
fn long_polls_on_one_list_share_its_memory() {
    let served = filled(&["--reads", "listed", "--max-wait", "2m"], 16);
    let begin = served.get("/kv/default?wait=1");
    let tag = begin.split("Etag: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let poll = format!(
        "GET /kv/default?wait=120 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIf-None-Match: \"{tag}\"\r\n\r\n"
    );
    let clients: Vec<TcpStream> = (0..60).map(|_| unread(&served, &poll)).collect();
    let start = Instant::now();
    while !served.get("/metrics").contains("\nkvs_waiters 60\n") {
        assert!(start.elapsed() < Duration::from_secs(100), "they do not wait");
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = served.peak_memory();
    served.put("/kv/default/k00", &"\u{2}".repeat(MEGABYTE));
    for client in &clients {
        let mut begin = [0; 15];
        (&*client).read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
    }
    let peak = served.peak_memory();
    assert!(peak < before + 100, "{peak} MiB, and {before} before");
}

#[test]
fn slow_readers_are_disconnected() {
    let served = filled(&["--response-time", "2s"], 10);
    let mut slow = unread(&served, &multi(10));
    let start = Instant::now();
    let (mut taken, mut piece) = (0, vec![0; 1 << 16]);
    // It reads a little now and then, and at the end everything that is left.
    while start.elapsed() < Duration::from_secs(7) {
        taken += slow.read(&mut piece[..64]).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(100));
    }
    let ended = loop {
        match slow.read(&mut piece) {
            Ok(0) => break true,
            Ok(count) => taken += count,
            Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    assert!(ended && taken < 50 * MEGABYTE, "{taken} bytes were taken");
    assert!(start.elapsed() < Duration::from_secs(30));
    // A fast client gets all of it.
    assert!(served.ask(&multi(10)).len() > 60 * MEGABYTE);
}
