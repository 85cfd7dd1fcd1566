//! A generator of HTTP load: keep-alive connections, each of which sends a request after each complete response.
//!
//! It uses one thread, to take little time from the measured servers. A response other than 200, or without a length,
//! ends the measurement.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::comparison::rate;

/// Sends requests to `port` of 127.0.0.1 over `connections` for `time`. Returns the responses per second. `request`
/// creates the n-th request.
pub(crate) fn load(
    port: u16,
    connections: usize,
    time: Duration,
    request: impl Fn(usize) -> Vec<u8> + Copy + 'static,
) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let count = std::rc::Rc::new(Cell::new(0));
        let start = Instant::now();
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                let count = std::rc::Rc::clone(&count);
                tokio::task::spawn_local(async move {
                    let mut client = Client::connect(port).await;
                    while start.elapsed() < time {
                        client.ask(&request(count.get())).await;
                        count.set(count.get() + 1);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        rate(count.get(), start)
    })
}

/// Sends one request on its own connection. Returns the response, head and body.
pub(crate) fn answer(port: u16, request: &[u8]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let mut client = Client::connect(port).await;
        client.ask(request).await;
        String::from_utf8_lossy(&client.buffer).into_owned()
    })
}

pub(crate) struct Client {
    port: u16,
    stream: TcpStream,
    pub(crate) buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { port, stream, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and reads the complete response.
    pub(crate) async fn ask(&mut self, request: &[u8]) {
        // Apache closes connections between two requests when it stops a process that it does not need.
        while !self.try_ask(request).await {
            *self = Self::connect(self.port).await;
        }
        assert!(self.buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.buffer));
    }

    /// Returns false if the connection was closed before the first byte of the response.
    pub(crate) async fn try_ask(&mut self, request: &[u8]) -> bool {
        self.buffer.clear();
        let mut whole = None;
        if self.stream.write_all(request).await.is_err() {
            return false;
        }
        while whole.is_none_or(|length| self.buffer.len() < length) {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
            if read == 0 && self.buffer.is_empty() {
                return false;
            }
            assert!(read > 0, "incomplete response: {}", String::from_utf8_lossy(&self.buffer));
            whole = whole.or_else(|| length(&self.buffer));
        }
        true
    }
}

/// The length of head and body, if the head is complete.
fn length(answer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let field = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let body: usize = field.unwrap_or_else(|| panic!("an answer without a length: {text}")).parse().unwrap();
    Some(head + body)
}
