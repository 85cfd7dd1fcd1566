//! Transfers that a test does in steps: it sends a part of a request, or reads a part of a response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{Answer, connect};

/// Sends the beginning of a request.
pub(crate) fn begin(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(port).expect("the server listens");
    stream.write_all(bytes).unwrap();
    stream
}

/// Reads the response until the server closes the connection. Sends nothing more, and does not say so.
pub(super) fn answer(mut stream: TcpStream) -> Option<Answer> {
    let mut received = vec![];
    // A server that refuses a request may close the connection before it has read all.
    _ = stream.read_to_end(&mut received);
    Answer::from_wire(&received, false)
}

/// Breaks the connection off, as a client that crashes: the server receives a reset.
pub(crate) fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

/// A response whose body is read in steps.
pub(super) struct Download {
    stream: TcpStream,
    /// Without its body.
    pub(super) head: Answer,
    /// Bytes of the body that arrived with the head.
    early: Vec<u8>,
}

impl Download {
    /// Sends a request and reads the head of the response.
    pub(super) fn open(port: u16, request: &str) -> Self {
        let mut stream = begin(port, request.as_bytes());
        let mut received = vec![];
        let end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut block = [0; 4096];
            let count = stream.read(&mut block).unwrap();
            assert!(count > 0, "the response ends in its head: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&block[..count]);
        };
        let early = received.split_off(end);
        let head = Answer::from_wire(&received, true).expect("the head of a response");
        Self { stream, head, early }
    }

    /// Reads until the block is full, the body ends or the connection is broken. Returns the number of bytes.
    pub(super) fn read(&mut self, block: &mut [u8]) -> usize {
        let from_head = self.early.len().min(block.len());
        block[..from_head].copy_from_slice(&self.early[..from_head]);
        self.early.drain(..from_head);
        let mut count = from_head;
        while count < block.len() {
            match self.stream.read(&mut block[count..]).unwrap_or(0) {
                0 => break,
                more => count += more,
            }
        }
        count
    }

    /// Reads the rest of the body.
    pub(super) fn rest(mut self) -> Vec<u8> {
        let mut bytes = self.early;
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }
}
