//! A FastCGI client for tests. It is independent of the program's own implementation of the protocol.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

pub(crate) const BEGIN: u8 = 1;
pub(crate) const ABORT: u8 = 2;
pub(crate) const END: u8 = 3;
pub(crate) const PARAMS: u8 = 4;
pub(crate) const STDIN: u8 = 5;
pub(crate) const STDOUT: u8 = 6;

pub(crate) fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = vec![0; (8 - content.len() % 8) % 8];
    let tail = [u8::try_from(padding.len()).unwrap(), 0];
    [&[1, kind][..], &id.to_be_bytes(), &length, &tail, content, &padding].concat()
}

/// A stream in records of at most `size` bytes, with its end.
pub(crate) fn stream(kind: u8, id: u16, content: &[u8], size: usize) -> Vec<u8> {
    let mut records: Vec<u8> = content.chunks(size).flat_map(|part| record(kind, id, part)).collect();
    records.extend(record(kind, id, b""));
    records
}

pub(crate) fn begin(id: u16, keep: bool) -> Vec<u8> {
    record(BEGIN, id, &[0, 1, u8::from(keep), 0, 0, 0, 0, 0])
}

pub(crate) fn params(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, value) in pairs {
        for length in [name.len(), value.len()] {
            match u8::try_from(length) {
                Ok(short) if short < 0x80 => list.push(short),
                _ => list.extend((u32::try_from(length).unwrap() | 0x8000_0000).to_be_bytes()),
            }
        }
        list.extend_from_slice(name.as_bytes());
        list.extend_from_slice(value);
    }
    list
}

pub(crate) fn get(uri: &str) -> Vec<u8> {
    params(&[("REQUEST_METHOD", b"GET"), ("REQUEST_URI", uri.as_bytes()), ("REMOTE_ADDR", b"192.0.2.7")])
}

pub(crate) fn post(length: &str) -> Vec<u8> {
    params(&[("REQUEST_METHOD", b"POST"), ("REQUEST_URI", b"/"), ("CONTENT_LENGTH", length.as_bytes())])
}

pub(crate) fn whole(id: u16, keep: bool, list: &[u8], body: &[u8]) -> Vec<u8> {
    [begin(id, keep), stream(PARAMS, id, list, 60_000), stream(STDIN, id, body, 60_000)].concat()
}

/// The response to a request. `status` is its protocol status; `None` if the connection ended before.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) status: Option<u8>,
}

pub(crate) async fn read_record(socket: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u16, Vec<u8>)> {
    let mut head = [0; 8];
    let wait = Duration::from_secs(5);
    timeout(wait, socket.read_exact(&mut head)).await.expect("a record").ok()?;
    let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6])];
    timeout(wait, socket.read_exact(&mut content)).await.expect("all of a record").ok()?;
    content.truncate(usize::from(u16::from_be_bytes([head[4], head[5]])));
    Some((head[1], u16::from_be_bytes([head[2], head[3]]), content))
}

pub(crate) async fn answer(socket: &mut (impl AsyncRead + Unpin), id: u16) -> Answer {
    let mut bytes = Vec::new();
    let mut status = None;
    while let Some((kind, of, content)) = read_record(socket).await {
        assert_eq!(of, id);
        match kind {
            STDOUT => bytes.extend(content),
            END => {
                status = Some(content[4]);
                break;
            }
            _ => assert!(content.is_empty(), "nothing goes to the error stream"),
        }
    }
    Answer { text: String::from_utf8(bytes).unwrap(), status }
}
