//! Ten thousand connections that do nothing: others are served as before, within little memory.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::kept_connection::Http;
use crate::support::served::Served;

const CONNECTIONS: u16 = 10_000;

/// How many addresses of this machine the clients have.
const ADDRESSES: u16 = 4;

/// How many clients connect at once.
const GROUP: u16 = 200;

const REQUEST: &[u8] = b"GET /kv/default/a HTTP/1.1\r\nHost: h\r\n\r\n";

/// Connects, sends a request, and keeps the connection.
async fn idle(server: SocketAddr, address: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, address), 0).into()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    read_value(&mut stream).await;
    stream
}

/// Sends a request and reads its response.
async fn read_value(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\nhere") {
        let length = stream.read_buf(&mut answer).await.unwrap();
        assert!(length > 0, "closed after {}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_disturb_nobody() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(CONNECTIONS) + 2_000;
    assert!(limit.maximum.is_none_or(|maximum| maximum >= wanted), "the limit of open files is {limit:?}");
    setrlimit(Resource::Nofile, Rlimit { current: limit.current.map(|now| now.max(wanted)), ..limit }).unwrap();
    let served = Served::start(&["--header-timeout", "60s"]);
    served.put("/kv/default/a", "here");
    let before = served.present_memory();
    let server: SocketAddr = served.address.parse().unwrap();
    let mut idle_ones = vec![];
    for group in 0..CONNECTIONS / GROUP {
        let connect = |n: u16| idle(server, u8::try_from(1 + (group + n) % ADDRESSES).unwrap());
        idle_ones.extend(futures_util::future::join_all((0..GROUP).map(connect)).await);
    }
    assert!(served.open_files() > usize::from(CONNECTIONS), "{} files are open", served.open_files());
    let memory = served.present_memory().saturating_sub(before);
    let address = served.address.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        for turn in 0..200 {
            // A new connection each time.
            let mut http = Http::new(&address);
            let stored = http.ask("PUT", "/kv/default/b", turn.to_string().as_bytes()).unwrap();
            assert!(stored.status < 300, "{stored:?}");
            assert_eq!(http.ask("GET", "/kv/default/b", b"").unwrap().text(), turn.to_string());
        }
        assert_eq!(Http::new(&address).ask("GET", "/readyz", b"").unwrap().status, 200);
        assert_eq!(Http::new(&address).ask("GET", "/status", b"").unwrap().text(), "ok");
        start.elapsed()
    });
    let asked = asked.await.unwrap();
    println!("{memory} MiB for {CONNECTIONS} connections; 400 requests next to them took {asked:?}");
    assert!(asked < Duration::from_secs(20), "{asked:?}");
    assert!(memory < 400, "{memory} MiB for {CONNECTIONS} idle connections");
    // The idle ones are still served.
    for stream in idle_ones.iter_mut().step_by(97) {
        read_value(stream).await;
    }
}
