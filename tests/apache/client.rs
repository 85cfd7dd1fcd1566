//! A client that sends exactly the given bytes and parses the response. It follows no redirects and corrects nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

/// The timeout of reads and writes.
const PATIENCE: Duration = Duration::from_secs(40);

/// The response of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order in which they were sent; names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is complete: as long as announced, or with the last chunk.
    pub(crate) whole: bool,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the output of a CGI program: headers, with `Status:` among them, then the body.
    pub(crate) fn from_gateway(bytes: &[u8]) -> Self {
        let (head, body) = split_head(bytes).unwrap_or_else(|| panic!("no headers: {}", printable(bytes)));
        let headers = headers(&head);
        let status = headers.iter().find(|(n, _)| n == "status").map_or("200", |(_, v)| &v[..3]);
        Self { status: status.parse().unwrap(), headers, body: body.to_vec(), whole: true }
    }

    /// Parses the last response of a connection, and skips interim responses (1xx).
    pub(crate) fn from_wire(mut bytes: &[u8], to_head: bool) -> Option<Self> {
        loop {
            let (head, rest) = split_head(bytes)?;
            let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
            if (100..200).contains(&status) {
                bytes = rest;
                continue;
            }
            let headers = headers(&head);
            let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            let (body, whole) = if to_head || status == 304 || status == 204 {
                (rest.to_vec(), rest.is_empty())
            } else if find("transfer-encoding").is_some() {
                unchunk(rest)
            } else if let Some(length) = find("content-length") {
                (rest.to_vec(), length.parse() == Ok(rest.len()))
            } else {
                (rest.to_vec(), true)
            };
            return Some(Self { status, headers, body, whole });
        }
    }
}

/// Sends a request and reads until the server closes the connection, so the request must ask for that.
pub(crate) fn send(port: u16, request: &[u8]) -> Answer {
    let (answer, received) = exchange(port, request);
    answer.unwrap_or_else(|| {
        panic!("no response to {}\nreceived: {}", printable(request), String::from_utf8_lossy(&received))
    })
}

/// The same for a server that may not respond at all.
pub(crate) fn try_send(port: u16, request: &[u8]) -> Option<Answer> {
    exchange(port, request).0
}

/// Sends bytes that may be an incomplete request, closes the sending side, and returns the response, if any.
pub(crate) fn send_and_close(port: u16, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(port).ok()?;
    // A server that rejects the request may stop reading.
    _ = stream.write_all(bytes);
    _ = stream.shutdown(Shutdown::Write);
    let mut received = vec![];
    _ = stream.read_to_end(&mut received);
    Answer::from_wire(&received, bytes.starts_with(b"HEAD "))
}

/// Sends a part of a request, then closes the sending side.
pub(crate) fn send_part(port: u16, bytes: &[u8]) {
    let mut stream = connect(port).expect("the server listens");
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut sink = vec![];
    // The server may respond to half a request or not.
    _ = stream.read_to_end(&mut sink);
}

fn exchange(port: u16, request: &[u8]) -> (Option<Answer>, Vec<u8>) {
    let mut received = vec![];
    let Ok(mut stream) = connect(port) else { return (None, received) };
    // A server that rejects a long body may stop reading, and responds nevertheless.
    _ = stream.write_all(request);
    _ = stream.read_to_end(&mut received);
    (Answer::from_wire(&received, request.starts_with(b"HEAD ")), received)
}

pub(crate) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn split_head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]))
}

fn headers(head: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()));
    head.split("\r\n").filter(|line| !line.starts_with("HTTP/")).filter_map(pair).collect()
}

/// The body from its chunks, and whether the last chunk was there.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = vec![];
    loop {
        let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else { return (body, false) };
        let size = String::from_utf8_lossy(&bytes[..end]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).expect("the size of a chunk");
        bytes = &bytes[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if bytes.len() < size + 2 {
            return (body, false);
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}

/// The first bytes of a request, readable.
pub(crate) fn printable(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(600)].escape_ascii().to_string()
}
