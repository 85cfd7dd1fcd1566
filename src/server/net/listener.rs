//! Listening sockets: bound here, passed by systemd, or inherited. This file does not know the protocol.
//!
//! A Unix socket accepts connections only after its mode is set. Its file is removed at the end, unless another process
//! has replaced it by its own socket. A file is never removed if it is not a socket or if a process listens on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::address::Address;
use super::stream::Stream;
use super::workers::{Place, Workers};
use crate::model::{Error, ErrorKind, Result};
use crate::server::limits::ServerLimits;

/// The default mode of a Unix socket: owner and group. The user of the web server must be in that group.
pub const SOCKET_MODE: u32 = 0o660;

/// How many connections may wait to be accepted. The system may allow fewer.
const MAX_BACKLOG: i32 = 4096;

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: ListenerSocket,
    file: Option<SocketFile>,
    workers: Workers,
}

impl Listener {
    fn new(socket: ListenerSocket) -> Self {
        Self { socket, file: None, workers: Workers::default() }
    }

    /// Listens on `address`. A Unix socket gets `mode`.
    ///
    /// # Errors
    /// `Invalid` if the address is in use, not found or wrong; otherwise `Unavailable`.
    pub fn bind(address: &Address, mode: u32) -> Result<Self> {
        let bound = match address {
            Address::Tcp(host, port) => bind_tcp(host, *port).map(Self::new),
            Address::Unix(path) => bind_unix(path, mode),
        };
        bound.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("cannot listen at {address}")).with_source(error)
        })
    }

    /// The address on which it listens, as an [`Address`] is written.
    pub fn place(&self) -> String {
        match &self.socket {
            ListenerSocket::Tcp(socket) => {
                socket.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
            }
            ListenerSocket::Unix(socket) => match socket.local_addr().ok().as_ref().and_then(|a| a.as_pathname()) {
                Some(path) => format!("unix:{}", path.display()),
                None => "unix".to_owned(),
            },
        }
    }

    /// The address and port of a TCP socket; `None` for a Unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => socket.local_addr().ok(),
            ListenerSocket::Unix(_) => None,
        }
    }

    /// The socket of an inherited descriptor; `None` if it is not a listening TCP or Unix socket.
    pub(crate) fn inherited(descriptor: OwnedFd) -> io::Result<Option<Self>> {
        if !sockopt::socket_acceptconn(&descriptor).unwrap_or(false) {
            return Ok(None);
        }
        let socket = match sockopt::socket_domain(&descriptor)? {
            AddressFamily::UNIX => ListenerSocket::Unix(descriptor.into()),
            AddressFamily::INET | AddressFamily::INET6 => ListenerSocket::Tcp(descriptor.into()),
            _ => return Ok(None),
        };
        Ok(Some(Self::new(socket)))
    }

    /// A duplicate of the socket, if it is a Unix socket. The socket file stays with the original.
    pub(crate) fn unix(&self) -> io::Result<Option<UnixListener>> {
        match &self.socket {
            ListenerSocket::Unix(socket) => socket.try_clone().map(Some),
            ListenerSocket::Tcp(_) => Ok(None),
        }
    }

    /// Gives the connections to these runtimes.
    #[must_use]
    pub fn served_by(self, workers: Workers) -> Self {
        Self { workers, ..self }
    }

    /// Registers the listener with the runtime, so that it can accept connections. Needs a runtime.
    pub(crate) fn register(self) -> io::Result<RegisteredListener> {
        let (socket, is_tcp): (OwnedFd, bool) = match self.socket {
            ListenerSocket::Tcp(socket) => (socket.into(), true),
            ListenerSocket::Unix(socket) => (socket.into(), false),
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        #[expect(deprecated, reason = "unsound for types that change their descriptor, as a listener does not")]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(RegisteredListener { socket, is_tcp, file: self.file, workers: self.workers })
    }
}

/// A listener that is registered with the runtime.
pub(crate) struct RegisteredListener {
    socket: AsyncFd<OwnedFd>,
    is_tcp: bool,
    file: Option<SocketFile>,
    workers: Workers,
}

/// A connection that belongs to no runtime yet.
pub(crate) struct Accepted {
    socket: OwnedFd,
    /// The address of a TCP client.
    peer: Option<IpAddr>,
}

impl Accepted {
    /// Registers the connection with the runtime.
    pub(crate) fn register(self, limits: &ServerLimits) -> io::Result<Stream> {
        match self.peer {
            Some(peer) => {
                let socket = tokio::net::TcpStream::from_std(self.socket.into())?;
                Ok(Stream::tcp(socket, peer, limits))
            }
            None => Ok(Stream::nonblocking(self.socket, limits)),
        }
    }
}

impl RegisteredListener {
    /// The next connection. Cancel safe: no connection is lost.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        loop {
            // An error here means that the socket was not ready after all.
            if let Ok(accepted) = self.socket.readable().await?.try_io(|_| Ok(self.accept_now()?)) {
                return accepted;
            }
        }
    }

    /// A connection from the backlog; `None` if it is empty.
    pub(crate) fn try_accept(&self) -> io::Result<Option<Accepted>> {
        match self.accept_now() {
            Ok(accepted) => Ok(Some(accepted)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn accept_now(&self) -> rustix::io::Result<Accepted> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, address) = rustix::net::acceptfrom_with(self.socket.get_ref(), flags)?;
        let peer = match address {
            Some(address) if self.is_tcp => Some(SocketAddr::try_from(address)?.ip()),
            // The client may have gone already.
            None if self.is_tcp => return Err(Errno::CONNABORTED),
            _ => None,
        };
        Ok(Accepted { socket, peer })
    }

    /// A place for the next connection.
    pub(crate) fn place(&self) -> Place {
        self.workers.place()
    }

    /// Removes the file of a Unix socket, so that no new client finds it.
    pub(crate) fn remove_file(&mut self) {
        self.file = None;
    }
}

/// The file of a Unix socket, removed when dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket there already.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn bind_tcp(host: &str, port: u16) -> io::Result<ListenerSocket> {
    let addresses: Vec<SocketAddr> = if host.is_empty() {
        // The first accepts IPv4 as well. The second is for machines without IPv6.
        vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(), (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()]
    } else {
        (host, port).to_socket_addrs()?.collect()
    };
    // Binds to the first address that works.
    let socket = TcpListener::bind(addresses.as_slice())?;
    rustix::net::listen(&socket, MAX_BACKLOG)?;
    Ok(ListenerSocket::Tcp(socket))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let found = std::fs::symlink_metadata(path)?;
    let file = SocketFile { path: std::path::absolute(path)?, identity: (found.dev(), found.ino()) };
    // The mode is set before the socket listens, so that nobody connects with the permissions of the umask.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    rustix::net::listen(&socket, MAX_BACKLOG)?;
    Ok(Listener { file: Some(file), ..Listener::new(ListenerSocket::Unix(socket.into())) })
}

/// Removes the socket of a process that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "a file with this name is not a socket; move it away"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process is listening there; stop it first")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Address {
        Address::Unix(path.to_owned())
    }

    #[test]
    fn socket_file_is_removed_when_stale_or_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = Listener::bind(&unix(&path), SOCKET_MODE).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(listener.place(), format!("unix:{}", path.display()));
        let error = Listener::bind(&unix(&path), SOCKET_MODE).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        drop(listener);
        assert!(!path.exists());

        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left as by a killed process");
        let listener = Listener::bind(&unix(&path), 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists(), "the file belongs to the successor");
        drop(successor);
    }

    #[test]
    fn file_that_is_not_a_socket_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::File::create(&path).unwrap();
        let error = Listener::bind(&unix(&path), SOCKET_MODE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(path.exists());
    }

    #[test]
    fn socket_is_inherited_only_when_it_listens() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let connected = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(Listener::inherited(listening.into()).unwrap().unwrap().tcp_address(), Some(address));
        assert!(Listener::inherited(connected.into()).unwrap().is_none());
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(Listener::inherited(one.into()).unwrap().is_none());
        let file = tempfile::tempfile().unwrap();
        assert!(Listener::inherited(file.into()).unwrap().is_none());
    }

    #[test]
    fn port_is_bound_on_all_addresses_without_a_host() {
        let listener = Listener::bind(&":0".parse().unwrap(), SOCKET_MODE).unwrap();
        let address = listener.tcp_address().unwrap();
        assert!(address.ip().is_unspecified() && address.port() > 0);
        let error = Listener::bind(&Address::Tcp(String::new(), address.port()), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
