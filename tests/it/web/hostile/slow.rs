//! Slow clients: heads and bodies that arrive byte by byte or stop, and silent connections. They get an error or are
//! disconnected in time, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{SECRET, Target};

const CLIENTS: usize = 200;
/// The timeout for a head and for a body.
const ALLOWED: Duration = Duration::from_secs(2);

/// The start of a slow request, and the bytes that follow one by one.
fn slow() -> [(String, &'static [u8]); 6] {
    let put = format!("PUT /kv/default/a HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\n");
    [
        (String::new(), b""),
        ("GET /kv/def".to_owned(), b"ault"),
        ("GET /kv/default/a HTTP/1.1\r\nHost: h\r\n".to_owned(), b"X-a: b\r\nX-c: d\r\n"),
        (format!("{put}Content-Length: 1000\r\n\r\nslow"), b"body that takes for ever"),
        (format!("{put}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), b"1\r\nx\r\n1\r\ny\r\n1\r\nz\r\n"),
        (format!("{put}Transfer-Encoding: chunked\r\n\r\n"), b"0000000000000000000000000"),
    ]
}

#[test]
fn slow_clients_are_disconnected_and_others_served() {
    let target = Target::new(&["--header-timeout", "2s", "--body-timeout", "2s"]);
    let kinds = slow();
    let mut clients: Vec<(TcpStream, &[u8])> = (0..CLIENTS)
        .map(|number| {
            let (begin, rest) = &kinds[number % kinds.len()];
            let mut socket = target.served.connect();
            socket.write_all(begin.as_bytes()).unwrap();
            (socket, *rest)
        })
        .collect();
    let start = Instant::now();
    let mut turn = 0;
    // They send for longer than the timeout.
    while start.elapsed() < ALLOWED + Duration::from_secs(1) {
        for (socket, rest) in &mut clients {
            if !rest.is_empty() {
                // The server may have closed it.
                let _ = socket.write_all(&rest[turn % rest.len()..=turn % rest.len()]);
            }
        }
        turn += 1;
        let request_start = Instant::now();
        assert!(target.served.get("/kv/default/a").ends_with("\r\n\r\n1"));
        assert!(request_start.elapsed() < Duration::from_secs(2), "{:?}", request_start.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    for (number, (mut socket, _)) in clients.into_iter().enumerate() {
        socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        let mut answer = vec![];
        let ended = socket.read_to_end(&mut answer);
        let waited = ended.as_ref().is_err_and(|e| matches!(e.kind(), std::io::ErrorKind::WouldBlock));
        assert!(!waited, "client {} is still connected: {answer:?}", number % kinds.len());
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    target.assert_unharmed();
}
