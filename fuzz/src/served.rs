//! Servers of this process on Unix sockets, and a client that sends any bytes and reads to the end.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use kvs::server::{BasePath, Handler, Listener, ServerLimits};
use kvs::web::{Body, ClientAddr, Response};
use tokio_util::sync::CancellationToken;

/// The protocol of a server.
#[derive(Clone, Copy)]
pub enum Protocol {
    Http,
    FastCgi,
}

/// A handler that is replaced before each input.
pub struct Replaced<H>(Arc<Mutex<Option<H>>>);

impl<H> Clone for Replaced<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler> Handler for Replaced<H> {
    async fn handle(&self, request: Request<Body>, client: ClientAddr) -> Response {
        let handler = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        handler.expect("a handler").handle(request, client).await
    }
}

/// A server on a thread of its own.
pub struct Server<H> {
    handler: Replaced<H>,
    path: PathBuf,
}

fn limits() -> ServerLimits {
    ServerLimits {
        body: 20_000,
        head: 20_000,
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(5),
        ..ServerLimits::default()
    }
}

impl<H: Handler> Server<H> {
    pub fn start(protocol: Protocol, base_path: BasePath) -> Self {
        let name = format!("kvs-fuzz-{}-{}", std::process::id(), protocol as u8);
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = Listener::bind(&format!("unix:{}", path.display()).parse().expect("an address"), 0o600);
        let listener = listener.expect("a socket");
        let handler = Replaced(Arc::default());
        let served = handler.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let stop = CancellationToken::new();
            runtime.block_on(async {
                match protocol {
                    Protocol::Http => kvs::server::http1::serve(listener, served, base_path, limits(), stop).await,
                    Protocol::FastCgi => kvs::server::fastcgi::serve(listener, served, base_path, limits(), stop).await,
                }
            })
        });
        Self { handler, path }
    }

    /// Sends these bytes to a new handler, and returns all that the server sends until it closes the connection.
    pub fn send(&self, handler: H, bytes: &[u8]) -> Vec<u8> {
        *self.handler.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
        let mut socket = UnixStream::connect(&self.path).expect("the server accepts");
        socket.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
        // A server that rejects a request may stop reading.
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = vec![];
        if let Err(error) = socket.read_to_end(&mut answer) {
            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "the server neither answers nor closes");
        }
        answer
    }
}

/// A head in lines, and what follows. Checks that each line is a header of printable characters.
pub fn head(bytes: &[u8]) -> Option<(Vec<(String, String)>, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let mut headers = vec![];
    for line in bytes[..end].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", String::from_utf8_lossy(line));
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Some((headers, &bytes[end + 4..]))
}

/// A record of FastCGI.
fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[1, kind][..], &id.to_be_bytes(), &length, &[0, 0], content].concat()
}

/// A stream in records of at most `size` bytes, with its end.
fn stream(kind: u8, content: &[u8], size: usize) -> Vec<u8> {
    let mut all: Vec<u8> = content.chunks(size.max(1)).flat_map(|part| record(kind, 1, part)).collect();
    all.extend(record(kind, 1, b""));
    all
}

/// A request over FastCGI with these variables, in records of at most `size` bytes.
pub fn fastcgi_request(variables: &[(&[u8], &[u8])], body: &[u8], size: usize) -> Vec<u8> {
    let mut list = vec![];
    for (name, value) in variables {
        for length in [name.len(), value.len()] {
            match u8::try_from(length) {
                Ok(short) if short < 0x80 => list.push(short),
                _ => list.extend((u32::try_from(length).expect("short") | 0x8000_0000).to_be_bytes()),
            }
        }
        list.extend_from_slice(name);
        list.extend_from_slice(value);
    }
    [record(1, 1, &[0, 1, 0, 0, 0, 0, 0, 0]), stream(4, &list, size), stream(5, body, size)].concat()
}

/// The standard output in an answer of FastCGI, and whether the request has ended. Checks the form of the records.
pub fn fastcgi_answer(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let (mut output, mut is_ended) = (vec![], false);
    while let [version, kind, _, _, high, low, padding, _, rest @ ..] = bytes {
        assert_eq!(*version, 1, "the version of a record");
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = rest.get(..length) else { break };
        match kind {
            6 => output.extend_from_slice(content),
            3 => is_ended = true,
            // Standard error, answers to management records.
            7 | 10 | 11 => {}
            other => panic!("a record of type {other}"),
        }
        bytes = rest.get(length + usize::from(*padding)..).unwrap_or_default();
    }
    (output, is_ended)
}

/// The variables and the body in a text: lines `NAME=VALUE`, an empty line, the body.
pub fn variables(text: &[u8]) -> (Vec<(&[u8], &[u8])>, &[u8]) {
    let end = text.windows(2).position(|two| two == b"\n\n").unwrap_or(text.len());
    let lines = text[..end].split(|byte| *byte == b'\n');
    let variables = lines.filter_map(|line| {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        Some((&line[..equals], &line[equals + 1..]))
    });
    (variables.collect(), text.get(end + 2..).unwrap_or_default())
}
