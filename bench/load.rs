//! A generator of HTTP load: so many keep-alive connections, each sending its next request when the answer is whole.
//!
//! One thread, so that it takes as little as can be from the servers it measures. An answer that is not 200, or that
//! does not say how long it is, ends the measurement.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::duel::rate;

/// Answers a second from `port` of 127.0.0.1 over so many `connections`, for `time`. `request` writes the n-th request.
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

/// The answer to one request, head and body, on a connection of its own.
pub(crate) fn answer(port: u16, request: &[u8]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let mut client = Client::connect(port).await;
        client.ask(request).await;
        String::from_utf8_lossy(&client.buffer).into_owned()
    })
}

struct Client {
    port: u16,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { port, stream, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and reads the whole answer.
    async fn ask(&mut self, request: &[u8]) {
        // Apache ends connections between two requests when it gives up a process that it does not need.
        while !self.try_ask(request).await {
            *self = Self::connect(self.port).await;
        }
        assert!(self.buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.buffer));
    }

    /// Whether there was an answer: a connection that ended before its first byte gives none.
    async fn try_ask(&mut self, request: &[u8]) -> bool {
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
            assert!(read > 0, "half an answer: {}", String::from_utf8_lossy(&self.buffer));
            whole = whole.or_else(|| length(&self.buffer));
        }
        true
    }
}

/// The length of head and body, once the head is there.
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
