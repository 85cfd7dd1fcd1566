//! The FastCGI server over real sockets, with a client of the tests, an independent client (`cgi-fcgi`), and malformed
//! records.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::echo::{self, Running, Seen, fastcgi, limits, listener, patient, random};
use super::fastcgi_client::{
    ABORT, BEGIN, PARAMS, STDIN, answer, begin, get, params, post, read_record, record, stream, whole,
};

async fn ask(server: &Running, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let answer = answer(&mut socket, 1).await;
    assert_eq!(answer.status, Some(0), "{}", answer.text);
    answer.text
}

#[tokio::test]
async fn target_is_passed_on_raw_in_every_form() {
    let server = fastcgi(BasePath::served(), limits());
    for (raw, uri) in [("/a%2Cb?k=%2541,+", "/a%2Cb?k=%2541,+"), ("http://h/x?y", "/x?y"), ("//x", "//x")] {
        let text = ask(&server, &whole(1, false, &get(raw), b"")).await;
        assert!(text.starts_with("Status: 200 OK\r\nContent-Type: text/plain"), "{text}");
        assert!(text.contains(&format!("\r\n\r\nGET {uri}\ncaller: Some(192.0.2.7)\n")), "{text}");
    }
    let list = params(&[("REQUEST_METHOD", b"GET"), ("HTTP_X_BYTES", b"\xff"), ("REQUEST_URI", b"/last")]);
    let text = ask(&server, &whole(1, false, &list, b"")).await;
    assert!(text.contains("GET /last\n") && text.contains("x-bytes: \\xff\n"), "{text}");
    let list = params(&[("REQUEST_METHOD", b"GET"), ("HTTP_X_BAD", b"a\r\nb"), ("REQUEST_URI", b"/last")]);
    let text = ask(&server, &whole(1, false, &list, b"")).await;
    assert!(text.starts_with("Status: 400 Bad Request\r\n"), "{text}");
    server.end().await;
}

#[tokio::test]
async fn base_path_is_that_of_the_script_when_spawned() {
    let server = fastcgi(BasePath::spawned(), limits());
    let names: &[(&str, &[u8])] = &[
        ("REQUEST_METHOD", b"GET"),
        ("REQUEST_URI", b"/kv/kvs.fcgi/a%20b?c"),
        ("SCRIPT_NAME", b"/kv/kvs.fcgi"),
        ("SCRIPT_FILENAME", b"/var/www/kv/kvs.fcgi"),
    ];
    let text = ask(&server, &whole(1, false, &params(names), b"")).await;
    assert!(text.contains("GET /a%20b?c\n"), "{text}");
    let with_base = [names, &[("KVS_BASE_PATH", b"/kv")]].concat();
    let text = ask(&server, &whole(1, false, &params(&with_base), b"")).await;
    assert!(text.contains("GET /kvs.fcgi/a%20b?c\n"), "{text}");
    server.end().await;
}

#[tokio::test]
async fn connection_is_kept_when_the_web_server_asks_for_it() {
    let server = fastcgi(BasePath::served(), limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    for round in 0..3 {
        socket.write_all(&whole(1, true, &get(&format!("/{round}")), b"")).await.unwrap();
        assert!(answer(&mut socket, 1).await.text.contains(&format!("GET /{round}\n")));
    }
    // Two requests in one write; two requests with interleaved records.
    socket.write_all(&[whole(1, true, &get("/a"), b""), whole(2, true, &get("/b"), b"")].concat()).await.unwrap();
    assert!(answer(&mut socket, 1).await.text.contains("GET /a\n"));
    assert!(answer(&mut socket, 2).await.text.contains("GET /b\n"));
    let mixed = [begin(1, true), begin(2, true), stream(PARAMS, 1, &post("3"), 7), stream(PARAMS, 2, &post("3"), 5)];
    let bodies = [record(STDIN, 1, b"on"), stream(STDIN, 2, b"two", 1), stream(STDIN, 1, b"e", 1)];
    socket.write_all(&[mixed.concat(), bodies.concat()].concat()).await.unwrap();
    assert!(answer(&mut socket, 2).await.text.ends_with("\n\ntwo"));
    assert!(answer(&mut socket, 1).await.text.ends_with("\n\none"));
    socket.write_all(&whole(1, false, &get("/last"), b"")).await.unwrap();
    assert_eq!(answer(&mut socket, 1).await.status, Some(0));
    assert!(read_record(&mut socket).await.is_none(), "closed, as asked");
    server.end().await;
}

#[tokio::test]
async fn response_is_complete_when_large_or_to_head() {
    let server = fastcgi(BasePath::served(), limits());
    let text = ask(&server, &whole(1, false, &get("/large"), b"")).await;
    assert!(text.contains("\r\nContent-Length: 3000000\r\n"));
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 3_000_000);
    let head = params(&[("REQUEST_METHOD", b"HEAD"), ("REQUEST_URI", b"/large")]);
    let text = ask(&server, &whole(1, false, &head, b"")).await;
    assert!(text.contains("\r\nContent-Length: 3000000\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    // An incomplete response has no end.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&whole(1, true, &get("/broken"), b"")).await.unwrap();
    assert_eq!(answer(&mut socket, 1).await.status, None);
    server.end().await;
}

#[tokio::test]
async fn handler_is_not_called_when_the_body_is_incomplete() {
    let server = fastcgi(BasePath::served(), limits());
    let with = |name: &str, value: &[u8]| [post("4"), params(&[(name, value)])].concat();
    for (list, body, status) in [
        (post("4"), &b"five!"[..], 400),
        (post("4"), b"two", 400),
        (post("4"), b"", 400),
        (post("x"), b"four", 400),
        (post(""), b"four", 411),
        (post("100001"), b"", 413),
        (with("KVS_CLIENT_LENGTH", b"5"), b"four", 413),
        (with("REDIRECT_KVS_CLIENT_LENGTH", b"5"), b"four", 413),
        ([post(""), params(&[("KVS_CLIENT_CHUNKED", b"1")])].concat(), &[b'x'; 8192], 411),
        ([post(""), params(&[("HTTP_TRANSFER_ENCODING", b"chunked")])].concat(), b"", 411),
        (params(&[]), b"", 400),
    ] {
        let text = ask(&server, &whole(1, false, &list, body)).await;
        assert!(text.starts_with(&format!("Status: {status} ")), "{status}: {text}");
    }
    // A body above the limit is read to its end and answered, and the connection stays open.
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    for length in ["3000000", ""] {
        socket.write_all(&whole(1, true, &post(length), &vec![b'x'; 3_000_000])).await.unwrap();
        let text = answer(&mut socket, 1).await.text;
        assert!(text.starts_with("Status: 413 "), "{length}: {text}");
    }
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    socket.write_all(&whole(1, true, &post("4"), b"four")).await.unwrap();
    assert!(answer(&mut socket, 1).await.text.ends_with("\n\nfour"));
    drop(socket);
    server.end().await;
}

#[tokio::test]
async fn long_parameter_lists_are_accepted_or_rejected() {
    let server = fastcgi(BasePath::served(), limits());
    let value = vec![b'v'; 128 << 10];
    let list = [get("/long"), params(&[("HTTP_X_LONG", &value), ("HTTP_X_LAST", b"here")])].concat();
    for size in [60_000, 1_000] {
        let bytes = [begin(1, false), stream(PARAMS, 1, &list, size), stream(STDIN, 1, b"", 1)].concat();
        let text = ask(&server, &bytes).await;
        assert!(text.contains("GET /long\n") && text.contains("x-last: here\n"));
    }
    let names: Vec<String> = (0..12_000).map(|n| format!("HTTP_X_{n}")).collect();
    let pairs: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"value"[..])).collect();
    let text = ask(&server, &whole(1, false, &[get("/many"), params(&pairs)].concat(), b"")).await;
    assert!(text.contains("GET /many\n") && text.contains("x-11999: value\n"), "{}", text.len());
    let list = [get("/long"), params(&[("HTTP_X_LONG", &vec![b'v'; 500_000])])].concat();
    assert!(ask(&server, &whole(1, false, &list, b"")).await.starts_with("Status: 431 "));
    server.end().await;
}

#[tokio::test]
async fn others_are_served_after_a_panic_or_a_disconnect() {
    let server = fastcgi(BasePath::served(), limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&whole(1, true, &get("/panic"), b"")).await.unwrap();
    assert!(answer(&mut socket, 1).await.text.starts_with("Status: 500 "));
    socket.write_all(&whole(1, true, &get("/well"), b"")).await.unwrap();
    assert!(answer(&mut socket, 1).await.text.contains("GET /well\n"));

    // A read is dropped when its connection ends or when it is aborted.
    socket.write_all(&whole(1, true, &get("/never"), b"")).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(socket);
    let mut aborting = TcpStream::connect(server.address).await.unwrap();
    aborting.write_all(&whole(3, true, &get("/never"), b"")).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    aborting.write_all(&record(ABORT, 3, b"")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(3);
    while server.seen.dropped.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "{} dropped", server.seen.dropped.load(Ordering::SeqCst));
        sleep(Duration::from_millis(10)).await;
    }
    // An abort of an incomplete request is answered only with its end.
    let mut early = TcpStream::connect(server.address).await.unwrap();
    early.write_all(&[begin(1, true), record(ABORT, 1, b"")].concat()).await.unwrap();
    let ended = answer(&mut early, 1).await;
    assert_eq!((ended.text.as_str(), ended.status), ("", Some(0)));
    drop(early);
    server.end().await;
}

#[tokio::test]
async fn request_that_arrives_too_slowly_is_dropped() {
    let server = fastcgi(BasePath::served(), ServerLimits { idle_timeout: Duration::from_secs(2), ..limits() });
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    socket
        .write_all(&[begin(1, true), stream(PARAMS, 1, &post("4"), 100), record(STDIN, 1, b"fou")].concat())
        .await
        .unwrap();
    assert!(read_record(&mut socket).await.is_none());
    let took = started.elapsed();
    assert!(took > Duration::from_millis(350) && took < Duration::from_millis(1700), "{took:?}");
    // A connection without a request is closed later.
    let started = Instant::now();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert!(read_record(&mut idle).await.is_none());
    assert!(started.elapsed() > Duration::from_millis(1900));
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    server.end().await;
}

#[tokio::test]
async fn requests_that_have_begun_are_answered_at_shutdown() {
    let server = fastcgi(BasePath::served(), patient());
    let mut late = TcpStream::connect(server.address).await.unwrap();
    late.write_all(&whole(1, true, &get("/late"), b"")).await.unwrap();
    let mut sending = TcpStream::connect(server.address).await.unwrap();
    sending
        .write_all(&[begin(1, true), stream(PARAMS, 1, &post("4"), 100), record(STDIN, 1, b"fo")].concat())
        .await
        .unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(&whole(1, true, &get("/"), b"")).await.unwrap();
    answer(&mut idle, 1).await;
    sleep(Duration::from_millis(30)).await;
    let started = Instant::now();
    let (ended, (late, sent)) = tokio::join!(server.end(), async {
        sleep(Duration::from_millis(200)).await;
        sending.write_all(&stream(STDIN, 1, b"ur", 9)).await.unwrap();
        assert!(read_record(&mut idle).await.is_none());
        (answer(&mut late, 1).await, answer(&mut sending, 1).await)
    });
    assert!(late.text.starts_with("Status: 200 ") && late.status == Some(0));
    assert!(sent.text.ends_with("\n\nfour"), "{}", sent.text);
    assert!(started.elapsed() < Duration::from_millis(4500), "nothing waits for idle connections");
    assert!(ended >= Duration::from_millis(200), "it waits for what has begun, not {ended:?}");
}

#[tokio::test]
async fn management_records_are_answered() {
    let server = fastcgi(BasePath::served(), limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let names = params(&[("FCGI_MAX_CONNS", b""), ("FCGI_MPXS_CONNS", b""), ("OTHER", b"")]);
    socket.write_all(&record(9, 0, &names)).await.unwrap();
    let (kind, id, content) = read_record(&mut socket).await.unwrap();
    assert_eq!((kind, id), (10, 0));
    assert_eq!(content, params(&[("FCGI_MAX_CONNS", b"50"), ("FCGI_MPXS_CONNS", b"1")]));
    socket.write_all(&record(77, 0, b"?")).await.unwrap();
    let (kind, _, content) = read_record(&mut socket).await.unwrap();
    assert_eq!((kind, content[0]), (11, 77));
    let authorizer = record(BEGIN, 1, &[0, 2, 1, 0, 0, 0, 0, 0]);
    socket.write_all(&[authorizer, stream(PARAMS, 1, &get("/"), 100)].concat()).await.unwrap();
    assert_eq!(answer(&mut socket, 1).await.status, Some(3), "an unknown role");
    drop(socket);
    server.end().await;
}

#[tokio::test]
async fn malformed_records_do_not_stop_the_server() {
    let server = fastcgi(BasePath::served(), limits());
    let mut state = 0x2545_f491_4f6c_dd1d;
    for round in 0..300 {
        let mut bytes = Vec::new();
        for _ in 0..random(&mut state) % 12 {
            let kind = u8::try_from(random(&mut state) % 12).unwrap();
            let id = u16::try_from(random(&mut state) % 3).unwrap();
            let content: Vec<u8> = (0..random(&mut state) % 40).map(|_| random(&mut state).to_le_bytes()[3]).collect();
            bytes.extend(if kind == BEGIN && round % 2 == 0 { begin(id, true) } else { record(kind, id, &content) });
        }
        if round % 3 == 0 {
            bytes.extend((0..random(&mut state) % 300).map(|_| random(&mut state).to_le_bytes()[5]));
        }
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let _ = timeout(Duration::from_secs(5), socket.read_to_end(&mut Vec::new())).await.expect("it closes");
    }
    assert!(ask(&server, &whole(1, false, &get("/well"), b"")).await.contains("GET /well\n"));
    server.end().await;
}

#[tokio::test]
async fn independent_client_is_served_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
    let listener = listener(&format!("unix:{}", path.display()));
    let app = echo::app(&seen);
    let task = tokio::spawn(kvs::server::fastcgi::serve(listener, app, BasePath::served(), limits(), stop.clone()));
    let body = "b".repeat(70_000);
    for (method, length) in [("GET", String::new()), ("POST", body.len().to_string())] {
        let mut child = tokio::process::Command::new("cgi-fcgi")
            .args(["-bind", "-connect"])
            .arg(&path)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([
                ("REQUEST_METHOD", method),
                ("SCRIPT_NAME", "/a b"),
                ("QUERY_STRING", "k=%2C"),
                ("CONTENT_LENGTH", &length),
            ])
            .envs([("REMOTE_ADDR", "2001:db8::1"), ("HTTP_X_LONG", &"x".repeat(90_000))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cgi-fcgi of the package libfcgi-bin");
        let mut input = child.stdin.take().unwrap();
        if method == "POST" {
            input.write_all(body.as_bytes()).await.unwrap();
        }
        drop(input);
        let output = timeout(Duration::from_secs(10), child.wait_with_output()).await.expect("it ends").unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("Status: 200 OK\r\n"), "{text}");
        assert!(text.contains(&format!("\r\n\r\n{method} /a%20b?k=%2C\ncaller: Some(2001:db8::1)\n")));
        assert!(text.ends_with(if method == "POST" { &body } else { "\n\n" }));
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(!path.exists());
}
