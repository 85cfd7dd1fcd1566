//! Plain HTTP: each head is parsed once, a target means the same over every transport, and every error has a body.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::echo::{Running, fastcgi, http, http_at, limits};
use crate::server::fastcgi_client::{answer, params, whole};
use crate::support::served::Served;

/// Everything that the server sends until it closes the connection.
async fn talk(server: &Running, text: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    // A server that rejects a request may stop reading.
    let _ = socket.write_all(text.as_ref()).await;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.expect("it closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and the body over FastCGI for this target, with these additional variables.
async fn through_fastcgi(server: &Running, target: &[u8], extra: &[(&str, &[u8])]) -> (String, String) {
    let list = params(&[&[("REQUEST_METHOD", &b"GET"[..]), ("REQUEST_URI", target)], extra].concat());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&whole(1, false, &list, b"")).await.unwrap();
    let text = answer(&mut socket, 1).await.text;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.get(8..11).unwrap().to_owned(), body.to_owned())
}

/// The same over HTTP.
async fn through_http(server: &Running, target: &[u8], headers: &str) -> (String, String) {
    let head = format!(" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    let text = talk(server, [b"GET ", target, head.as_bytes()].concat()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    (head.get(9..12).unwrap().to_owned(), body.to_owned())
}

/// The status and the first line of an echo.
fn echoed(answer: &(String, String)) -> String {
    format!("{} {}", answer.0, answer.1.lines().next().unwrap_or(""))
}

#[tokio::test]
async fn trailers_with_bare_line_feeds_hide_no_second_length() {
    for trailers in ["X: y\n\r\n", "X: y\r\nZ: a\n\n", "\n", "X: y\r\n\r\n", "\r\n", ""] {
        let server = http(limits());
        let first =
            format!("POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{trailers}");
        let second = "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        let third = "0\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answer = talk(&server, format!("{first}{second}{third}")).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{trailers:?}: {answer}");
        assert!(!answer.contains("POST /2\n") && !answer.contains("GET /3\n"), "{trailers:?}: {answer}");
        server.end().await;
    }
}

#[tokio::test]
async fn connection_closes_after_a_chunked_body() {
    let server = http(limits());
    let chunks = "POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = talk(&server, format!("{chunks}GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("\n\nabc"), "{answer}");
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 1);
    // A number may begin with zeros. Nothing after such a body is taken for a request.
    let zeros = "0".repeat(1 << 20);
    let head = "POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = format!("{zeros}3\r\nabc\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = talk(&server, format!("{head}{body}")).await;
    assert!(answer.matches("HTTP/1.1 ").count() == 1 && answer.ends_with("\n\nabc"), "{answer}");
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 2);
    // With a length the connection stays open, and the next head begins after the body.
    let length =
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 42\r\n\r\nGET /no HTTP/1.1\r\nContent-Length: 1\r\n\r\nxyz";
    let twice = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
    let answer = talk(&server, format!("{length}\r\n\r\n{length}{twice}")).await;
    assert_eq!((answer.matches("HTTP/1.1 200").count(), answer.matches("HTTP/1.1 400").count()), (2, 1), "{answer}");
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 4);
    server.end().await;
}

#[tokio::test]
async fn targets_mean_the_same_over_every_transport() {
    let (plain, records) = (http(limits()), fastcgi(BasePath::served(), limits()));
    for byte in (0x21..=0x7e).chain(0x80..=0xff_u8) {
        for target in [vec![b'/', b'a', byte, b'b'], [b"/?k=", &[byte][..], b"&x=1"].concat()] {
            let (one, other) = (through_http(&plain, &target, "").await, through_fastcgi(&records, &target, &[]).await);
            assert_eq!(echoed(&one), echoed(&other), "{}", target.escape_ascii());
            let expected = if byte == b'#' { "400" } else { "200" };
            assert!(one.0 == expected && !one.1.is_empty(), "{}: {one:?}", target.escape_ascii());
        }
    }
    for target in [&b"http://h:80/x?\"<\""[..], b"//x", b"/%zz%2541"] {
        let (one, other) = (through_http(&plain, target, "").await, through_fastcgi(&records, target, &[]).await);
        assert_eq!(echoed(&one), echoed(&other), "{}", target.escape_ascii());
    }
    plain.end().await;
    records.end().await;
}

#[tokio::test]
async fn target_length_has_one_limit_over_every_transport() {
    let (plain, records) = (http(limits()), fastcgi(BasePath::served(), limits()));
    for (length, status) in [(60_000, "200"), (65_534, "200"), (65_535, "414"), (70_000, "414"), (300_000, "414")] {
        let target = format!("/{}", "x".repeat(length - 1));
        let headers = format!("X: {}\r\n", "y".repeat(40_000));
        let (code, text) = through_http(&plain, target.as_bytes(), &headers).await;
        assert!(code == status && !text.is_empty(), "HTTP, {length}: {code} {text:.100}");
        let (code, text) = through_fastcgi(&records, target.as_bytes(), &[]).await;
        assert!(code == status && !text.is_empty(), "FastCGI, {length}: {code} {text:.100}");
    }
    plain.end().await;
    records.end().await;
}

#[tokio::test]
async fn server_errors_have_a_body_of_the_accepted_type() {
    let server = http(limits());
    let long = "x".repeat(70_000);
    for (head, status) in [
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n".to_owned(), 400),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n".to_owned(), 400),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n".to_owned(), 400),
        ("GET http://[x/ HTTP/1.1\r\n".to_owned(), 400),
        ("GET x HTTP/1.1\r\nHost: h\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: h/x y\r\n".to_owned(), 400),
        ("GET / HTTP/2.0\r\nHost: h\r\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n".to_owned(), 413),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(), 501),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "X: y\r\n".repeat(200)), 431),
        ("\u{16}\u{3}\u{1}".to_owned(), 400),
    ] {
        for accept in ["", "Accept: application/json\r\n"] {
            let line = head.split_inclusive('\n').next().unwrap();
            let rest = head.strip_prefix(line).unwrap();
            let answer = talk(&server, format!("{line}{accept}{rest}\r\n")).await;
            assert_error(&answer, status, line.ends_with('\n') && !accept.is_empty(), &head);
        }
    }
    for (name, text, status) in [
        ("a long address", format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), 414),
        ("a long address that never ends", format!("GET /{long}"), 414),
        ("long headers", format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"), 431),
        ("a slow head", "GET / HTTP/1.1\r\nHost:".to_owned(), 408),
        ("a slow line", "GET /".to_owned(), 408),
        ("a slow body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nfou".to_owned(), 408),
        ("bad chunks", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n".to_owned(), 400),
    ] {
        assert_error(&talk(&server, text).await, status, false, name);
    }
    // A client that closes its sending side within a head, and still reads.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_error(&answer, 400, false, "cut");
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[track_caller]
fn assert_error(answer: &str, status: u16, as_problem: bool, name: &str) {
    assert!(answer.starts_with("HTTP/1.") && answer.get(9..12) == Some(&status.to_string()), "{name}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{name}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(head.contains("application/problem+json"), as_problem, "{name}: {answer}");
    assert!(body.len() > 20 && !head.contains("Content-Length: 0\r\n"), "{name}: {answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{name}: {answer}");
}

#[tokio::test]
async fn response_arrives_while_a_rejected_client_keeps_sending() {
    let server = http(limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let (mut read, mut write) = socket.split();
    let sending = async {
        let _ = write.write_all(b"PUT /a#b HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n").await;
        let _ = write.write_all(&vec![b'x'; 8_000_000]).await;
        let _ = write.shutdown().await;
    };
    let mut answer = Vec::new();
    let reading = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        timeout(Duration::from_secs(5), read.read_to_end(&mut answer)).await.unwrap().unwrap();
    };
    tokio::join!(sending, reading);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
    server.end().await;
}

#[tokio::test]
async fn header_timeout_does_not_include_idle_time() {
    let server = http(ServerLimits { header_timeout: Duration::from_secs(3), ..limits() });
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1700)).await;
    socket.write_all(b"GET /slow HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1700)).await;
    socket.write_all(b"Host: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("GET /slow\n"), "{answer}");
    // Empty lines do not extend the timeout.
    let started = Instant::now();
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    while started.elapsed() < Duration::from_secs(12) && socket.write_all(b"\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() < Duration::from_secs(10), "the connection stays open");
    server.end().await;
}

#[tokio::test]
async fn transports_agree_on_the_base_path() {
    let mount = BasePath::served().at("/kvs");
    let (plain, records) = (http_at(mount.clone(), limits()), fastcgi(mount, limits()));
    for target in [
        "//kvs/a",
        "///kvs//a",
        "/kvs",
        "/kvs?k=a",
        "/kvs/",
        "/kvs//a",
        "/%6Bvs/a",
        "/kvs%2Fa",
        "/kvstore",
        "/",
        "/kvs/%\"",
        "/other/kvs/a",
        "http://h//kvs/a",
    ] {
        let target = target.as_bytes();
        let (one, other) = (through_http(&plain, target, "").await, through_fastcgi(&records, target, &[]).await);
        assert_eq!(echoed(&one), echoed(&other), "{}", target.escape_ascii());
    }
    assert_eq!(echoed(&through_http(&plain, b"//kvs/a", "").await), "200 GET /a");
    plain.end().await;
    records.end().await;
}

#[test]
fn server_and_api_errors_parse_accept_alike() {
    let served = Served::start(&[]);
    for accept in [
        "application/json",
        "application/json;q=0",
        "application/problem+json",
        "text/html, Application/JSON;q=0.1",
        "*/*",
        "application/*",
        "application/json;q=0.000, text/plain",
        "application/jsonx",
        "text/json",
        "text/plain;x=json",
        "",
    ] {
        let kind = |target: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
            let answer = served.ask(&head);
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
            let kind = answer.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap().to_owned();
            (kind, answer.contains("\r\nVary: Accept\r\n"))
        };
        assert_eq!(kind("/nothing/here/at/all"), kind("/#"), "{accept}");
    }
}

#[tokio::test]
async fn errors_over_every_transport_parse_accept_alike() {
    let (plain, records) = (http(limits()), fastcgi(BasePath::served(), limits()));
    let long = format!("/{}", "x".repeat(70_000));
    for (target, accept, is_problem) in [
        ("/#", "application/json", true),
        ("/#", "application/json;q=0", false),
        ("/panic", "application/json", true),
        ("/panic", "text/html", false),
    ] {
        let header = format!("Accept: {accept}\r\n");
        let one = through_http(&plain, target.as_bytes(), &header).await;
        let other = through_fastcgi(&records, target.as_bytes(), &[("HTTP_ACCEPT", accept.as_bytes())]).await;
        assert_eq!(one, other, "{target} {accept}");
        assert_eq!(one.1.starts_with('{'), is_problem, "{target} {accept}: {one:?}");
    }
    let response = through_fastcgi(&records, long.as_bytes(), &[("HTTP_ACCEPT", b"application/json")]).await;
    assert!(response.0 == "414" && response.1.starts_with('{'), "{response:?}");
    plain.end().await;
    records.end().await;
}

#[tokio::test]
async fn empty_lines_before_a_request_are_limited() {
    let server = http(limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for part in ["\r", "\n\r", "\nGET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"] {
        socket.write_all(part.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answer = String::new();
    timeout(Duration::from_secs(10), socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // A client that sends only empty lines is rejected at once.
    let answer = talk(&server, "\r\n".repeat(100_000)).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.end().await;
}
