//! A connection, TCP or Unix, with a bound on how long a write may stand still. What is said on it is not known here.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

use super::limits::Limits;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted connection.
pub(super) struct Stream {
    socket: Socket,
    peer: Option<IpAddr>,
    patience: Duration,
    /// Runs while a write stands still.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn tcp(socket: TcpStream, peer: IpAddr, limits: &Limits) -> Self {
        // Answers are written in one piece; waiting for more would only delay them. Without it things are slower,
        // nothing else.
        let _ = socket.set_nodelay(true);
        // IPv4 clients of an IPv6 socket keep the address that people know.
        let peer = Some(peer.to_canonical());
        Self { socket: Socket::Tcp(socket), peer, patience: limits.write_time, stalled: None }
    }

    pub(super) fn unix(socket: UnixStream, limits: &Limits) -> Self {
        Self { socket: Socket::Unix(socket), peer: None, patience: limits.write_time, stalled: None }
    }

    /// The address of the other side; a Unix socket has none.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// What a write came to; an error once it has stood still too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        sleep.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "nobody takes the answer")))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        };
        self.bounded(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        };
        self.bounded(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets hold nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn write_fails_when_nobody_reads() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let limits = Limits { write_time: Duration::from_millis(30), ..Limits::default() };
        let mut stream = Stream::unix(ours, &limits);
        let error = stream.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
