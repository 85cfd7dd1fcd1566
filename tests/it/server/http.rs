//! The HTTP server over real sockets. The messages are written by hand, because good clients send no malformed ones.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::echo::{self, Running, Seen, http, limits, listener, patient, random};

/// Everything that the server sends on one connection until it closes.
async fn talk(server: &Running, text: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    // The server may have closed the connection already; its response can still be read.
    let _ = socket.write_all(text.as_ref()).await;
    everything(&mut socket).await
}

async fn everything(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.expect("it closes");
    read.unwrap();
    String::from_utf8(answer).unwrap()
}

/// One response with a Content-Length, from a connection that stays open.
async fn one_answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return String::from_utf8(answer).unwrap();
            }
        }
        let byte = timeout(Duration::from_secs(5), socket.read_u8()).await.expect("an answer").unwrap();
        answer.push(byte);
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test]
async fn target_is_passed_on_raw_in_every_form() {
    let server = http(limits());
    for (target, uri) in [
        ("/a%2Cb%zz?k=%2541,+", "/a%2Cb%zz?k=%2541,+"),
        ("http://host:80/x?y", "/x?y"),
        ("//x", "//x"),
        ("/", "/"),
        ("*", "*"),
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nX-Bytes: \u{fc}\r\nConnection: close\r\n\r\n");
        let answer = talk(&server, text).await;
        assert!(answer.contains(&format!("\r\n\r\n{method} {uri}\ncaller: Some(127.0.0.1)\n")), "{answer}");
        assert!(answer.contains("x-bytes: \\xc3\\xbc\n"), "{answer}");
    }
    for headers in ["X: y", "Host: h\r\nHost: h"] {
        let answer = talk(&server, format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n")).await;
        assert_eq!(status(&answer), "400", "{answer}");
    }
    let answer = talk(&server, "CONNECT host:80 HTTP/1.1\r\nHost: host\r\n\r\n").await;
    assert_eq!(status(&answer), "400", "{answer}");
    server.end().await;
}

#[tokio::test]
async fn connection_is_closed_or_kept_as_the_client_asks() {
    let server = http(limits());
    let answer = talk(&server, "GET /a HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.contains("GET /a\n"), "{answer}");
    // Two requests at once, then one more, which asks to close.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let pair = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\noneGET /2 HTTP/1.1\r\nHost: h\r\n\r\n";
    socket.write_all(pair.as_bytes()).await.unwrap();
    assert!(one_answer(&mut socket).await.ends_with("\n\none"));
    assert!(one_answer(&mut socket).await.contains("GET /2\n"));
    socket.write_all(b"GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(everything(&mut socket).await.contains("GET /3\n"));
    // An HTTP/1.0 client that asks for keep-alive.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        socket.write_all(b"GET /4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        assert!(one_answer(&mut socket).await.to_ascii_lowercase().contains("connection: keep-alive"));
    }
    // A client that closes its sending side first.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(status(&everything(&mut socket).await), "200");
    server.end().await;
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let server = http(limits());
    let answer = talk(&server, "HEAD /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("Content-Length: 3000000\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = talk(&server, "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.len() > 3_000_000);
    server.end().await;
}

#[tokio::test]
async fn message_is_rejected_when_its_length_is_ambiguous() {
    let server = http(limits());
    for headers in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: 0x3",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 3",
        "X: y\r\n Content-Length: 3",
    ] {
        let smuggled = "abcGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        let text = format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{smuggled}");
        let answer = talk(&server, &text).await;
        assert_eq!(status(&answer), "400", "{headers}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{headers}: {answer}");
        // The same, one byte at a time.
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for byte in text.as_bytes() {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        // Data that is sent after the error response may reset the connection.
        let _ = timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await.expect("it closes");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{headers}");
    }
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[tokio::test]
async fn transfer_encoding_other_than_chunked_is_rejected() {
    let server = http(limits());
    for (coding, expected) in [("gzip, chunked", "501"), ("Chunked ", "200")] {
        let text = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n");
        let answer = talk(&server, text + "3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(status(&answer), expected, "{coding}: {answer}");
    }
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 1);
    server.end().await;
}

#[tokio::test]
async fn handler_is_not_called_when_the_body_is_incomplete() {
    let server = http(limits());
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}");
    let started = Instant::now();
    let answer = talk(&server, post("Content-Length: 5", "four")).await;
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(400) && started.elapsed() < Duration::from_secs(3));
    for (headers, body) in
        [("Transfer-Encoding: chunked", "4\r\nfour\r\nx\r\n"), ("Transfer-Encoding: chunked", "g\r\n")]
    {
        assert_eq!(status(&talk(&server, post(headers, body)).await), "400", "{headers} {body}");
    }
    // The client closes the connection within the body.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(post("Content-Length: 5", "four").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = everything(&mut socket).await;
    assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);

    let answer = talk(&server, post("Transfer-Encoding: chunked\r\nConnection: close", "4\r\nfour\r\n0\r\n\r\n")).await;
    assert!(answer.ends_with("\n\nfour"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn body_is_rejected_when_larger_than_the_limit() {
    let server = http(patient());
    let large = "x".repeat(300_000);
    let announced = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{large}", large.len());
    assert_eq!(status(&talk(&server, announced).await), "413");
    let chunk = "y".repeat(0x8000);
    let chunks = format!("8000\r\n{chunk}\r\n").repeat(9);
    let chunked = format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert_eq!(status(&talk(&server, chunked).await), "413");
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);

    // A client that sends Expect gets the error at once, and no 100 Continue.
    let asking = |length: usize| {
        format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let started = Instant::now();
    let answer = talk(&server, asking(100_001)).await;
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(started.elapsed() < Duration::from_secs(4));
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(asking(3).as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").await.unwrap();
    assert!(everything(&mut socket).await.ends_with("\n\nabc"));
    server.end().await;
}

#[tokio::test]
async fn head_is_rejected_when_too_long_or_too_slow() {
    let server = http(ServerLimits { head: 10_000, ..limits() });
    let long = "x".repeat(20_000);
    let answer = talk(&server, format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n")).await;
    assert_eq!(status(&answer), "431", "{answer}");
    let many = "X: y\r\n".repeat(200);
    assert_eq!(status(&talk(&server, format!("GET / HTTP/1.1\r\n{many}\r\n")).await), "431");
    let started = Instant::now();
    let answer = talk(&server, "GET / HTTP/1.1\r\nHost:").await;
    assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
    // A silent connection is closed too.
    assert_eq!(talk(&server, "").await, "");
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[tokio::test]
async fn others_are_served_after_a_panic_or_a_disconnect() {
    let server = http(limits());
    let answer = talk(&server, "GET /panic HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "500", "{answer}");
    let mut leaving = TcpStream::connect(server.address).await.unwrap();
    leaving.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    drop(leaving);
    let answer = talk(&server, "GET /well HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("GET /well\n"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn connection_waits_when_the_limit_is_reached() {
    let server = http(ServerLimits { connections: 2, ..limits() });
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    for socket in [&mut first, &mut second] {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        one_answer(socket).await;
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(b"GET /third HTTP/1.0\r\n\r\n").await.unwrap();
    let early = timeout(Duration::from_millis(100), third.read_u8()).await;
    assert!(early.is_err(), "answered beyond the limit");
    drop(first);
    assert!(everything(&mut third).await.contains("GET /third\n"));
    drop(second);
    server.end().await;
}

#[tokio::test]
async fn requests_that_have_begun_are_answered_at_shutdown() {
    let server = http(patient());
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut sending = TcpStream::connect(server.address).await.unwrap();
    sending.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nfo").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let address = server.address;
    let (ended, (late, sent, silent)) = tokio::join!(server.end(), async {
        sleep(Duration::from_millis(150)).await;
        sending.write_all(b"ur").await.unwrap();
        (everything(&mut busy).await, everything(&mut sending).await, everything(&mut idle).await)
    });
    assert!(ended >= Duration::from_millis(200), "it waits for what has begun, not {ended:?}");
    assert_eq!(status(&late), "200");
    assert!(sent.ends_with("\n\nfour") && silent.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn endless_request_is_dropped_after_the_drain_timeout() {
    let server = http(ServerLimits { drain_timeout: Duration::from_millis(300), ..limits() });
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let (seen, started) = (server.seen.clone(), Instant::now());
    server.end().await;
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn unix_socket_works_and_is_removed_at_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
    let listener = listener(&format!("unix:{}", path.display()));
    let app = echo::app(&seen);
    let task = tokio::spawn(kvs::server::http1::serve(listener, app, BasePath::served(), limits(), stop.clone()));
    let mut socket = UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"GET /u HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(everything(&mut socket).await.contains("GET /u\ncaller: None\n"));
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn malformed_requests_do_not_stop_the_server() {
    let server = http(limits());
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for round in 0..200 {
        let mut bytes =
            if round % 2 == 0 { b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".to_vec() } else { vec![] };
        for _ in 0..random(&mut state) % 600 {
            bytes.push(random(&mut state).to_le_bytes()[3]);
        }
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await.expect("it closes");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    }
    assert!(talk(&server, "GET /well HTTP/1.0\r\n\r\n").await.contains("GET /well\n"));
    server.end().await;
}
