//! Clients that try to fill the memory: with many heads that do not end, with transactions of very many operations, and
//! with names that nobody has used.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::served::{SECRET, Served};

/// Clients with a head of almost 64 KiB that does not end.
const HALF_HEADS: usize = 600;

#[test]
fn many_heads_that_do_not_end_take_little_memory() {
    let served = Served::start(&["--header-timeout", "30s"]);
    served.put("/kv/default/a", "1");
    let before = served.present_memory();
    let head = format!("GET /kv/default/a HTTP/1.1\r\nHost: h\r\n{}", format!("X: {}\r\n", "x".repeat(990)).repeat(60));
    let clients: Vec<TcpStream> = (0..HALF_HEADS)
        .map(|_| {
            let mut socket = served.connect();
            socket.write_all(head.as_bytes()).unwrap();
            socket
        })
        .collect();
    // Others are served meanwhile.
    for _ in 0..20 {
        assert!(served.get("/kv/default/a").ends_with("\r\n\r\n1"));
    }
    let during = served.peak_memory();
    // The heads themselves are 36 MiB.
    assert!(during < before + 160, "{before} MiB, then {during} MiB");
    drop(clients);
    assert!(served.get("/kv/default/a").ends_with("\r\n\r\n1"));
}

#[test]
fn transactions_with_very_many_operations_take_bounded_memory() {
    const OPERATIONS: usize = 100_000;
    const CLIENTS: usize = 2;
    let served = Served::start(&["--store", "memory:"]);
    let mut body = "{\"ops\":[".to_owned();
    for number in 0..OPERATIONS {
        write!(body, "{}{{\"op\":\"set\",\"key\":\"k{number}\",\"value\":\"1\"}}", if number > 0 { "," } else { "" })
            .unwrap();
    }
    body.push_str("]}");
    let head = format!(
        "POST /txn/default?return=none HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let statuses: Vec<String> = std::thread::scope(|scope| {
        let send = || scope.spawn(|| served.ask(&format!("{head}{body}")).chars().take(12).collect::<String>());
        let sent: Vec<_> = (0..CLIENTS).map(|_| send()).collect();
        sent.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| ["HTTP/1.1 200", "HTTP/1.1 503"].contains(&status.as_str())), "{statuses:?}");
    assert!(statuses.iter().any(|status| status.ends_with("200")), "{statuses:?}");
    let peak = served.peak_memory();
    println!("{CLIENTS} transactions of {OPERATIONS} operations, {} MiB each: {peak} MiB", body.len() >> 20);
    assert!(peak < 400, "{peak} MiB");
    assert!(served.get("/kv/default/k7").ends_with("\r\n\r\n1"));
}

/// Sends requests over one connection and reads all responses.
fn ask_all(served: &Served, targets: impl Iterator<Item = String>) {
    let mut socket = served.connect();
    let targets: Vec<String> = targets.collect();
    for some in targets.chunks(50) {
        let requests: String = some.iter().map(|target| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
        socket.write_all(requests.as_bytes()).unwrap();
        let (mut text, mut block) = (String::new(), vec![0; 65_536]);
        while text.matches("HTTP/1.1 404").count() < some.len() {
            let received = socket.read(&mut block).unwrap();
            assert!(received > 0, "broken off: {text}");
            text.push_str(&String::from_utf8_lossy(&block[..received]));
        }
    }
}

#[test]
fn reads_of_names_that_nobody_has_used_leave_nothing() {
    let served = Served::start(&["--reads", "open"]);
    served.put("/kv/default/a", "1");
    let targets = |begin: usize, count: usize| {
        (begin..begin + count).flat_map(|n| {
            [format!("/kv/b{n}/k"), format!("/?k=k{n}"), format!("/log/b{n}/k{n}"), format!("/log/default/k{n}")]
        })
    };
    ask_all(&served, targets(0, 1_000));
    let (before, files) = (served.present_memory(), std::fs::read_dir(served.folder().join("data")).unwrap().count());
    ask_all(&served, targets(1_000, 4_000));
    let after = served.present_memory();
    assert!(after < before + 24, "{before} MiB, then {after} MiB");
    let names = || std::fs::read_dir(served.folder().join("data")).unwrap();
    assert!(names().count() <= files, "{:?}", names().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>());
}

#[test]
fn waits_for_names_that_nobody_has_used_leave_nothing() {
    const WAITS: usize = 1_500;
    let served = Served::start(&["--max-waiters", "4000", "--max-wait", "4s"]);
    served.put("/kv/default/a", "1");
    let before = served.present_memory();
    let waiting: Vec<TcpStream> = (0..WAITS)
        .map(|n| {
            let mut socket = served.connect();
            // Another bucket each, or another log.
            let target = if n % 2 == 0 { format!("/kv/b{n}/k?seen=none") } else { format!("/log/b{n}/k?from=0") };
            write!(socket, "GET {target}&wait=25 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            socket
        })
        .collect();
    assert!(served.get("/kv/default/a").ends_with("\r\n\r\n1"));
    let during = served.peak_memory();
    assert!(during < before + 120, "{before} MiB, then {during} MiB with {WAITS} waits");
    drop(waiting);
    let start = std::time::Instant::now();
    // A client may close its sending side while it waits, so the waits end when their time is up.
    while !served.get("/metrics").contains("kvs_waiters 0") {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", served.get("/metrics"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let names: Vec<_> = std::fs::read_dir(served.folder().join("data")).unwrap().collect();
    assert!(names.len() < 10, "{names:?}");
}
