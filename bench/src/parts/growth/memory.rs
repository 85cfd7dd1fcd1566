//! The memory of `kvs serve` with much data, and with many clients that wait.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::{LARGEST, PART};
use crate::client;
use crate::data;
use crate::row::Row;
use crate::run::Run;
use crate::servers::Servers;
use crate::turns::float;

const CLIENTS: usize = 5_000;
const MEGABYTE: f64 = 1e6;
/// The longest time for all clients to connect and wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn measure(run: &mut Run) {
    let rounds = run.options.long_rounds();
    let mut servers = Servers::with_data(LARGEST);
    let file = std::fs::metadata(servers.data().join("default.yaml")).unwrap().len();
    let file = float(usize::try_from(file).unwrap());
    let row = Row::limited(PART, "memory, 1,000,000 keys / size of the file", "ratio", 1.5);
    run.add(row.figures((0..rounds).map(|_| after_start(&mut servers) / file)));
    drop(servers);

    assert!(kvs::server::connections_allowed(12_000) > CLIENTS + 100, "this machine allows too few open files");
    let poll = "GET /?k=door&wait=25&seen=none HTTP/1.1\r\nHost: kvs.test\r\n\r\n";
    let row = Row::limited(PART, "memory, 5,000 long polls", "MB", 160.0);
    run.add(row.figures((0..rounds).map(|_| with_waiting(poll))));
    let stream = "GET /kv/default HTTP/1.1\r\nHost: kvs.test\r\nAccept: text/event-stream\r\n\r\n";
    let row = Row::limited(PART, "memory, 5,000 event streams", "MB", 200.0);
    run.add(row.figures((0..rounds).map(|_| with_waiting(stream))));
}

/// The bytes that a server uses a second after its first answer.
fn after_start(servers: &mut Servers) -> f64 {
    servers.start_kvs(&[]);
    let start = Instant::now();
    let request = client::get(&format!("/?k={}", data::key(501)));
    while client::try_answer(servers.port, &request).is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "kvs does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_secs(1));
    let memory = float(servers.memory());
    servers.stop();
    memory
}

/// The megabytes that a server uses while all clients wait for a response to this request.
fn with_waiting(request: &'static str) -> f64 {
    let servers = Servers::kvs(0, &["--reads", "listed", "--address-share", "100%"]);
    let runtime = Runtime::new().unwrap();
    let mut clients = vec![];
    for _ in 0..CLIENTS {
        clients.push(runtime.block_on(async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, servers.port)).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }));
    }
    let start = Instant::now();
    while waiting(&servers) < CLIENTS {
        assert!(start.elapsed() < CONNECT_TIMEOUT, "only {} clients wait", waiting(&servers));
        std::thread::sleep(Duration::from_millis(50));
    }
    let memory = servers.memory();
    // All of them get the change.
    servers.store("", "door", "open");
    for client in &mut clients {
        let mut buffer = [0; 4096];
        let mut text = String::new();
        while !text.contains("open") {
            let read = runtime.block_on(client.read(&mut buffer)).unwrap();
            assert!(read > 0, "a client was disconnected: {text}");
            text += &String::from_utf8_lossy(&buffer[..read]);
        }
    }
    float(memory.max(servers.memory())) / MEGABYTE
}

/// How many clients wait, as the server reports it.
fn waiting(servers: &Servers) -> usize {
    let metrics = client::answer(servers.port, &client::get("/metrics"));
    let count = metrics.lines().find_map(|line| line.strip_prefix("kvs_waiters "));
    count.expect("the metric kvs_waiters").trim().parse().unwrap()
}
