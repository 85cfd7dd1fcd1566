//! The FastCGI server of a program that a web server has started: its one thread answers usual requests at once, and
//! the runtime answers all others while the thread continues.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::echo::{self, Seen, limits, listener, patient};
use super::fastcgi_client::{
    ABORT, PARAMS, STDIN, answer, begin, get, params, post, read_record, record, stream, whole,
};

/// The name of the thread that answers at once.
const SPOT: &str = "\r\n\r\nkvs serial";

struct SpawnedServer {
    _folder: TempDir,
    path: PathBuf,
    seen: Seen,
    stop: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl SpawnedServer {
    fn open(limits: ServerLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (seen, stop) = (Seen::default(), tokio_util::sync::CancellationToken::new());
        let listener = listener(&format!("unix:{}", path.display()));
        let app = echo::app(&seen);
        let task = tokio::spawn(kvs::server::fastcgi::serve(listener, app, BasePath::spawned(), limits, stop.clone()));
        Self { _folder: folder, path, seen, stop, task }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// A connection on which this was sent.
    async fn sent(&self, bytes: &[u8]) -> UnixStream {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        socket
    }

    /// The answer to this, after which the connection ends.
    async fn ask(&self, bytes: &[u8]) -> String {
        let mut socket = self.sent(bytes).await;
        let answered = answer(&mut socket, 1).await;
        assert_eq!(answered.status, Some(0), "{}", answered.text);
        assert!(read_record(&mut socket).await.is_none(), "it closes");
        answered.text
    }

    async fn assert_serving(&self) {
        let text = self.ask(&whole(1, false, &get("/thread"), b"")).await;
        assert!(text.ends_with(SPOT), "{text}");
    }

    /// Stops it and waits for its end. Returns how long that took.
    async fn end(self) -> Duration {
        let started = Instant::now();
        self.stop.cancel();
        timeout(Duration::from_secs(5), self.task).await.expect("it drains").unwrap().unwrap();
        started.elapsed()
    }
}

#[tokio::test]
async fn usual_requests_are_answered_by_the_thread() {
    let server = SpawnedServer::open(limits());
    server.assert_serving().await;
    let text = server.ask(&whole(1, false, &get("/a?k=b"), b"")).await;
    assert!(text.starts_with("Status: 200 OK\r\n") && text.contains("GET /a?k=b\ncaller: Some(192.0.2.7)\n"), "{text}");
    assert!(server.ask(&whole(1, false, &post("4"), b"four")).await.ends_with("\n\nfour"));
    assert!(server.ask(&whole(1, false, &post("5"), b"four")).await.starts_with("Status: 400 "));
    assert!(server.ask(&whole(1, false, &get("/panic"), b"")).await.starts_with("Status: 500 "));
    let head = params(&[("REQUEST_METHOD", b"HEAD"), ("REQUEST_URI", b"/large")]);
    assert!(server.ask(&whole(1, false, &head, b"")).await.ends_with("\r\nContent-Length: 3000000\r\n\r\n"));
    server.assert_serving().await;
    assert!(server.end().await < Duration::from_millis(1900), "idle, it ends at once");
}

#[tokio::test]
async fn all_queued_connections_are_answered() {
    let server = SpawnedServer::open(limits());
    let mut sockets = Vec::new();
    for n in 0..100 {
        sockets.push(server.sent(&whole(1, n % 3 == 0, &get(&format!("/{n}")), b"")).await);
    }
    for (n, socket) in sockets.iter_mut().enumerate().rev() {
        assert!(answer(socket, 1).await.text.contains(&format!("GET /{n}\n")));
    }
    drop(sockets);
    server.end().await;
}

#[tokio::test]
async fn others_are_served_while_a_response_is_pending() {
    let server = SpawnedServer::open(limits());
    let mut late = server.sent(&whole(1, false, &get("/late"), b"")).await;
    let never = server.sent(&whole(1, false, &get("/never"), b"")).await;
    let mut aborting = server.sent(&whole(3, false, &get("/never"), b"")).await;
    server.assert_serving().await;
    let answered = answer(&mut late, 1).await;
    assert!(answered.text.starts_with("Status: 200 ") && answered.status == Some(0));
    assert!(read_record(&mut late).await.is_none());
    // Reads without a client are dropped.
    assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 0);
    drop(never);
    aborting.write_all(&record(ABORT, 3, b"")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(3);
    while server.seen.dropped.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(10)).await;
    }
    server.assert_serving().await;
    server.end().await;
}

#[tokio::test]
async fn request_is_complete_however_it_is_split() {
    let server = SpawnedServer::open(limits());
    let list = [post("10"), params(&[("HTTP_X_LONG", &[b'x'; 300])])].concat();
    let bytes = [begin(1, false), stream(PARAMS, 1, &list, 50), stream(STDIN, 1, b"0123456789", 3)].concat();
    // Fewer pieces than the thread waits for, and more of them.
    for (size, pause) in [(200, 1), (7, 0), (20, 1), (200, 70)] {
        let mut socket = server.connect().await;
        for piece in bytes.chunks(size) {
            socket.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(pause)).await;
        }
        let answered = answer(&mut socket, 1).await;
        assert!(answered.text.ends_with("\n\n0123456789"), "{size}: {}", answered.text);
        assert!(read_record(&mut socket).await.is_none());
    }
    // Other clients do not wait for the rest of it.
    let (first, rest) = bytes.split_at(100);
    let mut cut = server.sent(first).await;
    for _ in 0..3 {
        server.assert_serving().await;
    }
    cut.write_all(rest).await.unwrap();
    assert!(answer(&mut cut, 1).await.text.ends_with("\n\n0123456789"));
    server.end().await;
}

#[tokio::test]
async fn long_bodies_are_accepted_or_rejected() {
    let server = SpawnedServer::open(limits());
    let body = vec![b'b'; 90_000];
    assert!(server.ask(&whole(1, false, &post("90000"), &body)).await.contains("\n\nbbbb"));
    let text = server.ask(&whole(1, false, &post("3000000"), &vec![b'x'; 3_000_000])).await;
    assert!(text.starts_with("Status: 413 "), "{text}");
    server.assert_serving().await;
    server.end().await;
}

#[tokio::test]
async fn connection_continues_when_the_web_server_keeps_it() {
    let server = SpawnedServer::open(limits());
    let mut socket = server.connect().await;
    for round in 0..3 {
        socket.write_all(&whole(1, true, &get(&format!("/{round}")), b"")).await.unwrap();
        assert!(answer(&mut socket, 1).await.text.contains(&format!("GET /{round}\n")));
        server.assert_serving().await;
    }
    // Two at once, the second of which ends the connection.
    socket.write_all(&[whole(1, true, &get("/a"), b""), whole(2, false, &get("/b"), b"")].concat()).await.unwrap();
    assert!(answer(&mut socket, 1).await.text.contains("GET /a\n"));
    assert!(answer(&mut socket, 2).await.text.contains("GET /b\n"));
    assert!(read_record(&mut socket).await.is_none());
    // A management record before the request, and another role.
    let asked = [record(9, 0, &params(&[("FCGI_MPXS_CONNS", b"")])), whole(1, false, &get("/thread"), b"")].concat();
    let mut socket = server.sent(&asked).await;
    assert_eq!(read_record(&mut socket).await.unwrap(), (10, 0, params(&[("FCGI_MPXS_CONNS", b"1")])));
    assert!(!answer(&mut socket, 1).await.text.ends_with(SPOT));
    let mut socket = server.sent(&[record(1, 1, &[0, 2, 0, 0, 0, 0, 0, 0]), record(PARAMS, 1, b"")].concat()).await;
    assert_eq!(answer(&mut socket, 1).await.status, Some(3));
    server.end().await;
}

#[tokio::test]
async fn response_is_complete_when_the_client_reads_slowly() {
    let server = SpawnedServer::open(limits());
    let mut slow = server.sent(&whole(1, false, &get("/large"), b"")).await;
    sleep(Duration::from_millis(50)).await;
    server.assert_serving().await;
    let answered = answer(&mut slow, 1).await;
    assert_eq!(answered.text.split_once("\r\n\r\n").unwrap().1.len(), 3_000_000);
    assert_eq!(answered.status, Some(0));
    let mut broken = server.sent(&whole(1, false, &get("/broken"), b"")).await;
    assert_eq!(answer(&mut broken, 1).await.status, None, "half an answer has no end");
    // A response that the thread sends itself, longer than the socket takes at once, while nobody reads.
    let body = vec![b'b'; 99_000];
    let echo = whole(1, false, &post("99000"), &body);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(server.sent(&echo).await);
    }
    for socket in &mut sockets {
        assert_eq!(answer(socket, 1).await.text.split_once("\n\n").unwrap().1.len(), 99_000);
    }
    server.end().await;
}

#[tokio::test]
async fn slow_and_silent_clients_are_closed_in_time() {
    let server = SpawnedServer::open(ServerLimits { idle_timeout: Duration::from_secs(2), ..limits() });
    let started = Instant::now();
    let mut slow = server.sent(&[begin(1, false), stream(PARAMS, 1, &post("4"), 100)].concat()).await;
    let mut idle = server.connect().await;
    assert!(read_record(&mut slow).await.is_none());
    let took = started.elapsed();
    assert!(took > Duration::from_millis(350) && took < Duration::from_millis(1800), "{took:?}");
    assert!(read_record(&mut idle).await.is_none());
    assert!(started.elapsed() > Duration::from_millis(1900));
    let mut junk = server.sent(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(read_record(&mut junk).await.is_none());
    drop(server.connect().await);
    assert_eq!(server.seen.calls.load(Ordering::SeqCst), 0);
    server.assert_serving().await;
    server.end().await;
}

#[tokio::test]
async fn requests_that_have_begun_are_answered_at_shutdown() {
    let server = SpawnedServer::open(patient());
    let mut late = server.sent(&whole(1, false, &get("/late"), b"")).await;
    let mut sending = server.sent(&[begin(1, false), stream(PARAMS, 1, &post("4"), 100)].concat()).await;
    let mut idle = server.connect().await;
    sleep(Duration::from_millis(20)).await;
    let (took, (late, sent)) = tokio::join!(server.end(), async {
        sleep(Duration::from_millis(150)).await;
        sending.write_all(&stream(STDIN, 1, b"four", 9)).await.unwrap();
        assert!(read_record(&mut idle).await.is_none());
        (answer(&mut late, 1).await, answer(&mut sending, 1).await)
    });
    assert!(late.text.starts_with("Status: 200 ") && sent.text.ends_with("\n\nfour"), "{}", sent.text);
    assert!(took > Duration::from_millis(150) && took < Duration::from_millis(4500), "{took:?}");
}

/// The program as `mod_fcgid` starts it.
struct Program {
    folder: TempDir,
    child: Child,
}

impl Program {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.env_clear().env("KVS_HOME", folder.path()).stdin(OwnedFd::from(socket)).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), folder }
    }

    async fn sent(&self, uri: &str) -> UnixStream {
        let mut socket = UnixStream::connect(self.folder.path().join("s")).await.unwrap();
        socket.write_all(&whole(1, false, &get(uri), b"")).await.unwrap();
        socket
    }

    /// The CPU time of all its threads, in clock ticks.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Asks it to stop, as `mod_fcgid` does. Returns how long it took to end.
    async fn stop(&mut self, signal: Signal) -> Duration {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None => sleep(Duration::from_millis(5)).await,
            }
            assert!(started.elapsed() < Duration::from_secs(5), "it does not end");
        };
        assert_eq!(code, Some(0));
        started.elapsed()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn idle_process_uses_no_cpu_and_ends_at_once_when_asked() {
    for signal in [Signal::TERM, Signal::USR1, Signal::HUP] {
        let mut program = Program::start();
        assert!(answer(&mut program.sent("/?k=a").await, 1).await.text.starts_with("Status: 404 "));
        let before = program.ticks();
        sleep(Duration::from_millis(300)).await;
        assert!(program.ticks() <= before + 1, "it waits without work");
        let took = program.stop(signal).await;
        assert!(took < Duration::from_secs(5), "{signal:?}: {took:?}");
    }
}

#[tokio::test]
async fn long_poll_is_answered_at_shutdown() {
    let mut program = Program::start();
    let mut held = program.sent("/?k=a&seen=none&wait=20").await;
    let mut other = program.sent("/?k=b").await;
    assert!(answer(&mut other, 1).await.text.starts_with("Status: 404 "), "answered meanwhile");
    let before = program.ticks();
    let early = timeout(Duration::from_millis(500), held.read_u8()).await;
    assert!(early.is_err(), "there is no response yet");
    assert!(program.ticks() <= before + 10, "a long poll uses no CPU: {} of {before}", program.ticks());
    let took = program.stop(Signal::TERM).await;
    let answered = answer(&mut held, 1).await;
    assert!(answered.text.starts_with("Status: 404 ") && answered.text.contains("\r\nRetry-After: 1\r\n"));
    assert_eq!(answered.status, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}
