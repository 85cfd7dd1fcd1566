//! A FastCGI peer that sends records without a request holds neither memory nor a connection.

use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use crate::server::echo::{self, Seen, fastcgi, limits};
use crate::server::fastcgi_client::{
    ABORT, BEGIN, PARAMS, STDIN, answer, begin, params, post, read_record, record, stream,
};

const GET_VALUES: u8 = 9;

/// Records that the server answers, each in another way.
fn record_kinds() -> [(&'static str, Vec<u8>); 4] {
    let authorizer = record(BEGIN, 1, &[0, 2, 1, 0, 0, 0, 0, 0]);
    [
        ("unknown", record(77, 0, b"")),
        ("values", record(GET_VALUES, 0, &params(&[("FCGI_MAX_CONNS", b"")]))),
        ("aborted", [begin(1, true), record(ABORT, 1, b"")].concat()),
        ("role", [authorizer, record(PARAMS, 1, b"")].concat()),
    ]
}

/// How many bytes of these the server reads from a client that does not read, until it stops reading.
async fn taken(mut socket: impl AsyncWriteExt + Unpin, records: &[u8], limit: usize) -> usize {
    let many = records.repeat((64 << 10) / records.len());
    let mut sent = 0;
    while sent < limit {
        match timeout(Duration::from_millis(500), socket.write(&many[sent % many.len()..])).await {
            Ok(Ok(count)) => sent += count,
            _ => break,
        }
    }
    sent
}

#[tokio::test]
async fn peer_that_does_not_read_is_not_read_from() {
    // More than the system buffers for both directions of a connection, and much less than the client would send.
    let limit = 64 << 20;
    for (name, records) in record_kinds() {
        let server = fastcgi(BasePath::served(), limits());
        let socket = TcpStream::connect(server.address).await.unwrap();
        let sent = taken(socket, &records, limit).await;
        assert!(sent < limit, "{name}: {sent} bytes were read");
        server.end().await;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
        let listener = echo::listener(&format!("unix:{}", path.display()));
        let app = echo::app(&seen);
        let task =
            tokio::spawn(kvs::server::fastcgi::serve(listener, app, BasePath::spawned(), limits(), stop.clone()));
        let sent = taken(UnixStream::connect(&path).await.unwrap(), &records, limit).await;
        assert!(sent < limit, "{name}, spawned: {sent} bytes were read");
        stop.cancel();
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn delayed_responses_are_sent_when_the_peer_reads_again() {
    let server = fastcgi(BasePath::served(), limits());
    let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
    let count = 300_000;
    let sending = tokio::spawn(async move {
        for _ in 0..count / 1000 {
            write.write_all(&record(77, 0, b"").repeat(1000)).await.unwrap();
        }
        write
    });
    sleep(Duration::from_millis(300)).await;
    let mut answers = vec![0; count * 16];
    timeout(Duration::from_secs(20), read.read_exact(&mut answers)).await.expect("all answers").unwrap();
    assert!(answers.chunks(16).all(|answer| answer[1] == 11 && answer[8] == 77));
    drop(sending.await.unwrap());
    server.end().await;
}

#[tokio::test]
async fn other_records_do_not_extend_the_timeout_of_a_request() {
    for (name, records) in [
        ("unknown", record(77, 0, b"")),
        ("values", record(GET_VALUES, 0, &params(&[("FCGI_MAX_CONNS", b"")]))),
        ("body without a request", record(STDIN, 9, b"x")),
        ("others aborted", [begin(2, true), record(ABORT, 2, b"")].concat()),
        ("half a record at the end", [record(77, 0, b""), vec![1, 77, 0]].concat()),
    ] {
        let server = fastcgi(BasePath::served(), limits());
        let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
        let started = Instant::now();
        let request = [begin(1, true), stream(PARAMS, 1, &post("4"), 100), record(STDIN, 1, b"fou")].concat();
        write.write_all(&request).await.unwrap();
        let half = name.starts_with("half");
        let sending = tokio::spawn(async move {
            if half {
                let _ = write.write_all(&records).await;
                return sleep(Duration::from_secs(4)).await;
            }
            while write.write_all(&records).await.is_ok() && started.elapsed() < Duration::from_secs(4) {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let closed = timeout(Duration::from_secs(3), async { while read_record(&mut read).await.is_some() {} }).await;
        assert!(closed.is_ok(), "{name}: the request outlives its time");
        assert!(started.elapsed() > Duration::from_millis(350), "{name}: {:?}", started.elapsed());
        sending.abort();
        server.end().await;
    }
}

#[tokio::test]
async fn continuous_records_do_not_keep_an_incomplete_request_alive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
    let listener = echo::listener(&format!("unix:{}", path.display()));
    let app = echo::app(&seen);
    let task = tokio::spawn(kvs::server::fastcgi::serve(listener, app, BasePath::served(), limits(), stop.clone()));
    let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let flood = std::thread::spawn(move || {
        let started = Instant::now();
        std::io::Write::write_all(&mut socket, &begin(1, true)).unwrap();
        let many = record(STDIN, 9, b"x").repeat(1000);
        // None of this is answered, so only the timeout of the request ends it.
        while started.elapsed() < Duration::from_secs(6) && std::io::Write::write_all(&mut socket, &many).is_ok() {}
        started.elapsed()
    });
    let took = tokio::task::spawn_blocking(move || flood.join().unwrap()).await.unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}");
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn management_records_do_not_keep_a_connection_open() {
    let server = fastcgi(BasePath::served(), ServerLimits { idle_timeout: Duration::from_millis(600), ..limits() });
    let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        while write.write_all(&record(77, 0, b"")).await.is_ok() && started.elapsed() < Duration::from_secs(4) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let closed = timeout(Duration::from_secs(3), async { while read_record(&mut read).await.is_some() {} }).await;
    assert!(closed.is_ok(), "the connection stays open");
    sending.abort();
    server.end().await;
}

#[tokio::test]
async fn pending_response_does_not_shorten_the_timeout_of_a_request() {
    let server = fastcgi(BasePath::served(), limits());
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let incomplete = [begin(2, true), stream(PARAMS, 2, &post("4"), 100), record(STDIN, 2, b"fo")].concat();
    let late = || crate::server::fastcgi_client::whole(1, true, &crate::server::fastcgi_client::get("/late"), b"");
    socket.write_all(&[incomplete, late(), late()].concat()).await.unwrap();
    for _ in 0..2 {
        assert!(answer(&mut socket, 1).await.text.starts_with("Status: 200 "));
    }
    socket.write_all(&stream(STDIN, 2, b"ur", 9)).await.unwrap();
    assert!(answer(&mut socket, 2).await.text.ends_with("\n\nfour"));
    drop(socket);
    server.end().await;
}
