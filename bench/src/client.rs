//! A client for single requests over HTTP/1.1, on a keep-alive connection. The load comes from `wrk`.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends one request on its own connection. Returns the response, head and body, which must have status 200.
pub(crate) fn answer(port: u16, request: &[u8]) -> String {
    try_answer(port, request).expect("a response")
}

/// The same; none if the connection fails.
pub(crate) fn try_answer(port: u16, request: &[u8]) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let mut client = Client::try_connect(port).await.ok()?;
        if !client.try_ask(request).await {
            return None;
        }
        client.assert_success();
        Some(String::from_utf8_lossy(&client.buffer).into_owned())
    })
}

/// A GET request.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: kvs.test\r\nUser-Agent: bench\r\n\r\n").into_bytes()
}

/// A POST request.
pub(crate) fn post(target: &str, content_type: &str, body: &str) -> Vec<u8> {
    post_with(target, content_type, "", body)
}

/// A POST request with additional headers, each of which ends its line.
pub(crate) fn post_with(target: &str, content_type: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: {content_type}\r\n{headers}");
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The names of the headers of a response, and its body.
pub(crate) fn shape(answer: &str) -> (Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let name = |line: &str| line.split(':').next().unwrap_or("").to_ascii_lowercase();
    let mut names: Vec<String> = head.lines().skip(1).map(name).collect();
    names.sort();
    (names, body.to_owned())
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// The last response.
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Self {
        Self::try_connect(port).await.unwrap()
    }

    async fn try_connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the complete response.
    pub(crate) async fn ask(&mut self, request: &[u8]) {
        assert!(self.try_ask(request).await, "the connection was closed");
        self.assert_success();
    }

    fn assert_success(&self) {
        assert!(self.buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.buffer));
    }

    /// Returns false if the connection was closed before the first byte of the response.
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
