//! A FastCGI peer that sends what needs no request holds neither memory nor a connection.

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

/// Records that make the server answer, each in its own way.
fn questions() -> [(&'static str, Vec<u8>); 4] {
    let authorizer = record(BEGIN, 1, &[0, 2, 1, 0, 0, 0, 0, 0]);
    [
        ("unknown", record(77, 0, b"")),
        ("values", record(GET_VALUES, 0, &params(&[("FCGI_MAX_CONNS", b"")]))),
        ("given up", [begin(1, true), record(ABORT, 1, b"")].concat()),
        ("role", [authorizer, record(PARAMS, 1, b"")].concat()),
    ]
}

/// How much of these the server takes from a client that reads no answer, until it stops taking.
async fn taken(mut socket: impl AsyncWriteExt + Unpin, question: &[u8], most: usize) -> usize {
    let many = question.repeat((64 << 10) / question.len());
    let mut sent = 0;
    while sent < most {
        match timeout(Duration::from_millis(500), socket.write(&many[sent % many.len()..])).await {
            Ok(Ok(count)) => sent += count,
            _ => break,
        }
    }
    sent
}

#[tokio::test]
async fn peer_that_does_not_read_is_not_read_from() {
    // What the system holds for both directions of a connection, and far below what was sent.
    let most = 64 << 20;
    for (name, question) in questions() {
        let door = fastcgi(BasePath::served(), limits());
        let socket = TcpStream::connect(door.address).await.unwrap();
        let sent = taken(socket, &question, most).await;
        assert!(sent < most, "{name}: {sent} bytes were taken");
        door.end().await;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
        let listener = echo::listener(&format!("unix:{}", path.display()));
        let app = echo::app(&seen);
        let task =
            tokio::spawn(kvs::server::fastcgi::serve(listener, app, BasePath::spawned(), limits(), stop.clone()));
        let sent = taken(UnixStream::connect(&path).await.unwrap(), &question, most).await;
        assert!(sent < most, "{name}, spawned: {sent} bytes were taken");
        stop.cancel();
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn delayed_responses_are_sent_when_the_peer_reads_again() {
    let door = fastcgi(BasePath::served(), limits());
    let (mut read, mut write) = TcpStream::connect(door.address).await.unwrap().into_split();
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
    door.end().await;
}

#[tokio::test]
async fn other_records_do_not_extend_the_timeout_of_a_request() {
    for (name, question) in [
        ("unknown", record(77, 0, b"")),
        ("values", record(GET_VALUES, 0, &params(&[("FCGI_MAX_CONNS", b"")]))),
        ("body of nobody", record(STDIN, 9, b"x")),
        ("others given up", [begin(2, true), record(ABORT, 2, b"")].concat()),
        ("half a record at the end", [record(77, 0, b""), vec![1, 77, 0]].concat()),
    ] {
        let door = fastcgi(BasePath::served(), limits());
        let (mut read, mut write) = TcpStream::connect(door.address).await.unwrap().into_split();
        let started = Instant::now();
        let request = [begin(1, true), stream(PARAMS, 1, &post("4"), 100), record(STDIN, 1, b"fou")].concat();
        write.write_all(&request).await.unwrap();
        let half = name.starts_with("half");
        let sending = tokio::spawn(async move {
            if half {
                let _ = write.write_all(&question).await;
                return sleep(Duration::from_secs(4)).await;
            }
            while write.write_all(&question).await.is_ok() && started.elapsed() < Duration::from_secs(4) {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let closed = timeout(Duration::from_secs(3), async { while read_record(&mut read).await.is_some() {} }).await;
        assert!(closed.is_ok(), "{name}: the request outlives its time");
        assert!(started.elapsed() > Duration::from_millis(350), "{name}: {:?}", started.elapsed());
        sending.abort();
        door.end().await;
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
        // Nothing of this is answered, so that only the time of the request ends it.
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
    let door = fastcgi(BasePath::served(), ServerLimits { idle_timeout: Duration::from_millis(600), ..limits() });
    let (mut read, mut write) = TcpStream::connect(door.address).await.unwrap().into_split();
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        while write.write_all(&record(77, 0, b"")).await.is_ok() && started.elapsed() < Duration::from_secs(4) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let closed = timeout(Duration::from_secs(3), async { while read_record(&mut read).await.is_some() {} }).await;
    assert!(closed.is_ok(), "it stays");
    sending.abort();
    door.end().await;
}

#[tokio::test]
async fn pending_response_does_not_shorten_the_timeout_of_a_request() {
    let door = fastcgi(BasePath::served(), limits());
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    let begun = [begin(2, true), stream(PARAMS, 2, &post("4"), 100), record(STDIN, 2, b"fo")].concat();
    let late = || crate::server::fastcgi_client::whole(1, true, &crate::server::fastcgi_client::get("/late"), b"");
    socket.write_all(&[begun, late(), late()].concat()).await.unwrap();
    for _ in 0..2 {
        assert!(answer(&mut socket, 1).await.text.starts_with("Status: 200 "));
    }
    socket.write_all(&stream(STDIN, 2, b"ur", 9)).await.unwrap();
    assert!(answer(&mut socket, 2).await.text.ends_with("\n\nfour"));
    drop(socket);
    door.end().await;
}
