//! The server shuts down in time, however busy its clients are.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvs::server::{BasePath, ServerLimits};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::server::echo::{self, fastcgi, http, limits, patient};
use crate::server::fastcgi_client::{PARAMS, STDIN, answer, begin, get, post, record, stream, whole};

/// How long a shutdown may take without pending requests: much less than the drain timeout.
const SOON: Duration = Duration::from_secs(5);

/// Where a program listens, and its protocol.
#[derive(Clone)]
enum At {
    Tcp(String),
    Unix(PathBuf),
    FastCgi(PathBuf),
}

impl At {
    /// Sends one request on a new connection. Returns whether it was answered.
    fn ask(&self) -> std::io::Result<bool> {
        const GET: &[u8] = b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        match self {
            Self::Tcp(address) => exchange(TcpStream::connect(address)?, GET, b"HTTP/1.1 200"),
            Self::Unix(path) => exchange(unix(path)?, GET, b"HTTP/1.1 200"),
            Self::FastCgi(path) => exchange(unix(path)?, &whole(1, false, &get("/livez"), b""), b"\x01\x06"),
        }
    }
}

fn unix(path: &Path) -> std::io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    // On a systemd socket, a connection waits for the next server.
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    Ok(socket)
}

fn exchange(mut socket: impl Read + Write, request: &[u8], begin: &[u8]) -> std::io::Result<bool> {
    socket.write_all(request)?;
    let mut answer = vec![];
    socket.read_to_end(&mut answer)?;
    Ok(answer.starts_with(begin))
}

/// Clients that open a new connection for each request, until they are dropped.
struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Clients {
    fn of(at: &At) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = || {
            let (over, answered, at) = (over.clone(), answered.clone(), at.clone());
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    match at.ask() {
                        Ok(true) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        _ => thread::sleep(Duration::from_millis(1)),
                    }
                }
            })
        };
        let threads = (0..3).map(|_| client()).collect();
        Self { over, answered, threads }
    }

    /// Waits until they have this many more responses.
    fn are_served(&self) {
        let (start, before) = (Instant::now(), self.answered.load(Ordering::SeqCst));
        while self.answered.load(Ordering::SeqCst) < before + 50 {
            assert!(start.elapsed() < Duration::from_secs(20), "no client is served");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|client| client.join().unwrap());
    }
}

struct Program {
    folder: TempDir,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.arg("serve").args(args).stdin(Stdio::null());
        Self::started(command, folder)
    }

    fn started(mut command: Command, folder: TempDir) -> Self {
        command.current_dir(folder.path()).env("KVS_HOME", folder.path());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        Self { folder, child }
    }

    /// The line that the program prints when it is ready.
    fn line(&mut self) -> String {
        let mut line = vec![];
        let output = self.child.stdout.as_mut().unwrap();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Stops the program while these clients continue, and checks that it ends soon.
    #[track_caller]
    fn ends_under_load(&mut self, at: &At) {
        let clients = Clients::of(at);
        clients.are_served();
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < SOON, "it still answers: {:?}", clients.answered);
            thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}");
    }
}

#[test]
fn reconnecting_clients_do_not_delay_shutdown_over_tcp() {
    let mut program = Program::start(&["--http", "127.0.0.1:0"]);
    let line = program.line();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    program.ends_under_load(&At::Tcp(address));
}

#[test]
fn reconnecting_clients_do_not_delay_shutdown_over_a_unix_socket() {
    let mut program = Program::start(&["--http", "unix:s"]);
    program.line();
    let path = program.folder.path().join("s");
    program.ends_under_load(&At::Unix(path.clone()));
    assert!(!path.exists());
}

#[test]
fn reconnecting_clients_do_not_delay_shutdown_over_fastcgi() {
    let mut program = Program::start(&["--fastcgi", "unix:s"]);
    program.line();
    program.ends_under_load(&At::FastCgi(program.folder.path().join("s")));
}

/// A socket that stays open when the program ends, like that of systemd or a web server.
fn inherited(folder: &TempDir) -> (std::os::unix::net::UnixListener, OwnedFd, PathBuf) {
    let path = folder.path().join("s");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let inherited_socket = socket.try_clone().unwrap().into();
    (socket, inherited_socket, path)
}

#[test]
fn reconnecting_clients_do_not_delay_shutdown_on_a_systemd_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, inherited_socket, path) = inherited(&folder);
    let mut command = Command::new("sh");
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec \"$0\" serve 3<&0 </dev/null";
    command.args(["-c", script, env!("CARGO_BIN_EXE_kvs")]).stdin(inherited_socket);
    let mut program = Program::started(command, folder);
    program.line();
    program.ends_under_load(&At::Unix(path.clone()));
    assert!(path.exists(), "the socket is not ours");
    drop(socket);
}

#[test]
fn reconnecting_clients_do_not_delay_shutdown_when_spawned() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, inherited_socket, path) = inherited(&folder);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.env_clear().stdin(inherited_socket);
    let mut program = Program::started(command, folder);
    program.ends_under_load(&At::FastCgi(path));
    drop(socket);
}

#[tokio::test]
async fn busy_kept_connections_end_at_shutdown() {
    let server = http(patient());
    let mut busy = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (stop, task) = (server.stop.clone(), server.task);
    let client = tokio::spawn(async move {
        let (mut read, mut write) = busy.split();
        let asking = async { while write.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.is_ok() {} };
        let mut nowhere = tokio::io::sink();
        let reading = tokio::io::copy(&mut read, &mut nowhere);
        tokio::join!(asking, reading)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    ends(stop, task).await;
    client.await.unwrap().1.ok();

    let server = fastcgi(BasePath::served(), patient());
    let mut busy = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (stop, task) = (server.stop.clone(), server.task);
    let client = tokio::spawn(async move {
        let (mut read, mut write) = busy.split();
        let asking = async { while write.write_all(&whole(1, true, &get("/"), b"")).await.is_ok() {} };
        let mut nowhere = tokio::io::sink();
        let reading = tokio::io::copy(&mut read, &mut nowhere);
        tokio::join!(asking, reading)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    ends(stop, task).await;
    client.await.unwrap().1.ok();
}

/// The server ends in much less than the drain timeout.
async fn ends(stop: tokio_util::sync::CancellationToken, task: tokio::task::JoinHandle<std::io::Result<()>>) {
    let started = Instant::now();
    stop.cancel();
    tokio::time::timeout(SOON, task).await.expect("it ends").unwrap().unwrap();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn requests_arriving_at_shutdown_are_answered() {
    let server = fastcgi(BasePath::served(), ServerLimits { body_timeout: Duration::from_secs(2), ..limits() });
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    // The first response takes longer than the grace period after the stop; the second request began before it.
    let incomplete = [begin(2, true), stream(PARAMS, 2, &post("4"), 100), record(STDIN, 2, b"fo")].concat();
    socket.write_all(&[incomplete, whole(1, true, &get("/late"), b"")].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_, (first, second)) = tokio::join!(server.end(), async {
        let first = answer(&mut socket, 1).await;
        socket.write_all(&stream(STDIN, 2, b"ur", 9)).await.unwrap();
        (first, answer(&mut socket, 2).await)
    });
    assert!(first.text.starts_with("Status: 200 ") && second.text.ends_with("\n\nfour"), "{}", second.text);
}

#[tokio::test]
async fn connections_in_the_backlog_are_answered_at_shutdown() {
    let listener = echo::listener("127.0.0.1:0");
    let address = listener.tcp_address().unwrap();
    let (seen, stop) = (echo::Seen::default(), tokio_util::sync::CancellationToken::new());
    let mut sockets = vec![];
    for n in 0..20 {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    stop.cancel();
    kvs::server::http1::serve(listener, echo::app(&seen), BasePath::served(), limits(), stop).await.unwrap();
    for (n, mut socket) in sockets.into_iter().enumerate() {
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await.unwrap();
        assert!(answer.contains(&format!("GET /{n}\n")), "{answer}");
    }
}
