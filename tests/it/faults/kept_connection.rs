//! A client that keeps its connection, and tells apart what was answered, what was not, and what could not be sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::served::SECRET;

/// A response: its status and its body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with one connection.
pub(super) struct Http {
    address: String,
    connection: Option<TcpStream>,
    patience: Duration,
}

impl Http {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None, patience: Duration::from_secs(20) }
    }

    /// Sends a request with the secret. `None` if there is no whole response: the request may have been done.
    pub(super) fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
        let answer = self.try_ask(method, target, body);
        if answer.is_none() {
            self.connection = None;
        }
        answer
    }

    fn try_ask(&mut self, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
        if self.connection.is_none() {
            let connection = TcpStream::connect(&self.address).ok()?;
            connection.set_read_timeout(Some(self.patience)).unwrap();
            connection.set_write_timeout(Some(self.patience)).unwrap();
            connection.set_nodelay(true).unwrap();
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut()?;
        let length = body.len();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nX-KVS-Auth: {SECRET}\r\nContent-Length: {length}");
        let request = [head.as_bytes(), b"\r\n\r\n", body].concat();
        // A server that refuses a body may stop reading, and responds nevertheless.
        let _ = connection.write_all(&request);
        let (answer, closes) = read(connection)?;
        if closes {
            self.connection = None;
        }
        Some(answer)
    }
}

/// Reads a response, and whether the server closes the connection after it.
fn read(connection: &mut TcpStream) -> Option<(Answer, bool)> {
    let (mut bytes, mut part) = (vec![], [0; 16 << 10]);
    let mut more = |bytes: &mut Vec<u8>| {
        let length = connection.read(&mut part).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&part[..length]);
        Some(())
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        more(&mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = field("content-length:").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        more(&mut bytes)?;
    }
    let closes = field("connection:") == Some("close");
    Some((Answer { status, body: bytes[end..end + length].to_vec() }, closes))
}
