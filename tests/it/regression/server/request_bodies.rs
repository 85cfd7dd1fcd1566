//! The bodies of requests share one memory budget and release it. Errors of the head are sent before the body is read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::server::fastcgi_client::{begin, params, record, stream};
use crate::support::served::{SECRET, Served};

/// FastCGI record types.
const PARAMS: u8 = 4;
const STDIN: u8 = 5;

/// The head of a form, without the body.
fn announced(length: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A client that sends the start of a form and then waits.
fn slow(served: &Served, length: usize, sent: usize) -> TcpStream {
    let mut socket = served.connect();
    socket.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may reject it meanwhile.
    let _ = socket.write_all(&[announced(length), vec![b'a'; sent]].concat());
    socket
}

/// Waits until the condition holds. Until then it is `Err` with what there is instead: a number of MiB, or a response.
fn soon<T: std::fmt::Display>(what: &str, mut holds: impl FnMut() -> Result<(), T>) {
    let start = Instant::now();
    while let Err(found) = holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn slow_bodies_use_at_most_the_budget_and_release_it() {
    let served = Served::start(&[]);
    served.put("/kv/default/a", "1");
    let before = served.present_memory();
    // 500 MB, without a secret.
    let clients: Vec<TcpStream> = (0..200).map(|_| slow(&served, 3_000_000, 2_500_000)).collect();
    let held = served.present_memory();
    assert!(held < before + 64 + 60, "{held} MiB, and {before} before");
    // Small requests are served meanwhile.
    served.put("/kv/default/a", "2");
    let mut refused = std::collections::BTreeSet::new();
    soon("somebody must have been refused", || {
        for (n, mut client) in clients.iter().enumerate() {
            let mut answer = [0; 512];
            client.set_nonblocking(true).unwrap();
            let length = client.read(&mut answer).unwrap_or(0);
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            assert!(length == 0 || text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nRetry-After: "), "{text}");
            if length > 0 {
                refused.insert(n);
            }
        }
        if refused.len() > 100 { Ok(()) } else { Err(held) }
    });
    drop(clients);
    soon("it keeps what the bodies took", || {
        let now = served.present_memory();
        if now < before + 40 { Ok(()) } else { Err(now) }
    });
    // The budget is free again.
    let form = format!("auth={SECRET}&b={}", "x".repeat(1_000_000));
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", form.len());
    soon("the budget stays used up", || {
        let answer = served.ask(&format!("{head}{form}"));
        if answer.starts_with("HTTP/1.1 200 OK\r\n") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn one_body_fits_into_any_budget() {
    let served = Served::start(&["--body-memory", "1MiB", "--max-value", "8MiB"]);
    served.put("/kv/default/a", &"x".repeat(8 << 20));
    assert!(served.get("/kv/default/a").len() > 8 << 20);
}

#[test]
fn all_listeners_share_one_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let served = Served::start(&["--body-memory", "1MiB", "--fastcgi", &format!("unix:{}", path.display())]);
    // Some fit, and then the budget is used up. A client that is rejected releases its part.
    let mut clients = vec![];
    let start = Instant::now();
    loop {
        clients.push(slow(&served, 3_000_000, 2_900_000));
        let mut web = UnixStream::connect(&path).unwrap();
        web.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        web.write_all(&request("POST", "/", 2_000_000)).unwrap();
        let _ = web.write_all(&stream(STDIN, 1, &vec![b'a'; 2_000_000], 60_000));
        let answer = fastcgi_answer(&mut web);
        if answer.contains("Status: 503 ") && answer.contains("Retry-After: ") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{answer}");
    }
}

#[test]
fn errors_of_the_head_are_sent_before_the_body_is_read() {
    let served = Served::start(&[]);
    served.put("/kv/default/a", "1");
    let secret = format!("X-KVS-Auth: {SECRET}\r\n");
    let cases = [
        ("POST /nope", "", 404),
        ("PUT /kv/_kvs.x/a", "X-KVS-Auth: wrong-1\r\n", 404),
        ("PATCH /txn/default", "", 405),
        ("POST /status", "", 405),
        ("PUT /kv/default/a", secret.as_str(), 413),
        ("PUT /kv/default/a", "", 401),
        ("PUT /kv/default/a", "X-KVS-Auth: wrong-2\r\n", 401),
        ("POST /", "X-KVS-Auth: wrong-3\r\n", 401),
        ("POST /multi/default?op=set", "Authorization: Bearer wrong-4\r\n", 401),
        ("POST /txn/default", "", 401),
        ("DELETE /kv/default/a", "X-KVS-Auth: wrong-5\r\n", 401),
        ("POST /", "Content-Type: text/plain\r\n", 415),
        ("GET /kv/default/a?auth=x", "", 400),
        ("POST /?auth=x", "", 400),
        // The address has sent too many wrong secrets.
        ("PUT /kv/default/a", "X-KVS-Auth: wrong-6\r\n", 401),
        ("POST /", "X-KVS-Auth: wrong-7\r\n", 429),
        ("PUT /kv/default/a", "X-KVS-Auth: wrong-8\r\n", 429),
    ];
    for (line, headers, status) in cases {
        for waits in [false, true] {
            // Wrong secrets are counted, so each is sent once.
            if waits && headers.contains("wrong") {
                continue;
            }
            let expects = if waits { "Expect: 100-continue\r\n" } else { "" };
            let head = format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}{expects}Content-Length: 2000000\r\n\r\n");
            let start = Instant::now();
            let answer = served.ask(&head);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {headers} {answer}");
            assert!(start.elapsed() < Duration::from_secs(20), "{line}: {:?}", start.elapsed());
        }
    }
    assert!(served.get("/kv/default/a").ends_with("\r\n\r\n1"));
}

#[test]
fn client_can_read_the_error_after_an_unwanted_body() {
    let served = Served::start(&[]);
    for (body, status) in [(2_000, 404), (2_000_000, 404), (20_000_000, 413)] {
        let head = format!("POST /nope HTTP/1.1\r\nHost: h\r\nContent-Length: {body}\r\n\r\n");
        let answer =
            served.ask(&format!("{head}{}", "x".repeat(body)).replace("\r\nHost", "\r\nConnection: close\r\nHost"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with('\n'), "{body}: {answer}");
    }
}

#[test]
fn write_with_an_incomplete_body_is_not_done() {
    let served = Served::start(&["--body-timeout", "1s"]);
    served.put("/kv/default/n", "41");
    for line in ["POST /kv/default/n?op=incr", "DELETE /kv/default/n", "DELETE /kv/default?prefix="] {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: 20000\r\n\r\nbegun");
        let answer = served.ask(&head);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{line}: {answer}");
        assert!(served.get("/kv/default/n").ends_with("\r\n\r\n41"), "{line}");
    }
}

/// The start of a FastCGI request, without the body.
fn request(method: &str, uri: &str, length: usize) -> Vec<u8> {
    let list = params(&[
        ("REQUEST_METHOD", method.as_bytes()),
        ("REQUEST_URI", uri.as_bytes()),
        ("CONTENT_LENGTH", length.to_string().as_bytes()),
        ("REMOTE_ADDR", b"192.0.2.7"),
    ]);
    [begin(1, false), stream(PARAMS, 1, &list, 60_000)].concat()
}

/// Everything that the server sends, as text.
fn fastcgi_answer(web: &mut UnixStream) -> String {
    let mut all = vec![];
    match web.read_to_end(&mut all) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => panic!("no answer, but {all:?}"),
        _ => String::from_utf8_lossy(&all).into_owned(),
    }
}

#[test]
fn fastcgi_error_is_sent_before_the_body_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let served = Served::start(&["--fastcgi", &format!("unix:{}", path.display())]);
    for (method, uri, length, status) in
        [("POST", "/nope", 9, 404), ("PUT", "/kv/default/a", 9, 401), ("PUT", "/kv/default/a", 90_000_000, 413)]
    {
        let mut web = UnixStream::connect(&path).unwrap();
        web.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        web.write_all(&request(method, uri, length)).unwrap();
        let answer = fastcgi_answer(&mut web);
        assert!(answer.contains(&format!("Status: {status} ")), "{uri}: {answer}");
    }
    // The server waits for a late body if it needs it.
    let mut web = UnixStream::connect(&path).unwrap();
    web.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let form = format!("late=yes&auth={SECRET}");
    web.write_all(&request("POST", "/", form.len())).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    web.write_all(&[record(STDIN, 1, form.as_bytes()), record(STDIN, 1, b"")].concat()).unwrap();
    assert!(fastcgi_answer(&mut web).contains("Status: 200 "));
    assert!(served.get("/?k=late").ends_with("\r\n\r\nyes"));
}
