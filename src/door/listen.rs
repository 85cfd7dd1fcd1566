//! Sockets that listen: bound here, handed over by systemd, or inherited. What is said over them is not known here.
//!
//! A Unix socket is reachable only after its mode is set. Its file is removed at the end, unless another process has put
//! its own there; a file that is no socket, or that somebody listens on, is never removed.

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
use super::limits::Limits;
use super::stream::Stream;
use crate::model::{Error, Kind, Result};

/// The mode of a Unix socket if nothing else is said: owner and group. The web server's user must be in that group.
pub const SOCKET_MODE: u32 = 0o660;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    file: Option<SocketFile>,
}

impl Listener {
    /// Listens at `address`; a Unix socket gets `mode`.
    pub fn bind(address: &Address, mode: u32) -> Result<Self> {
        let bound = match address {
            Address::Tcp(host, port) => bind_tcp(host, *port).map(|socket| Self { socket, file: None }),
            Address::Unix(path) => bind_unix(path, mode),
        };
        bound.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => Kind::Invalid,
                _ => Kind::Failed,
            };
            Error::new(kind, format!("cannot listen at {address}")).because(error)
        })
    }

    /// Where it listens, as [`Address`] is written.
    pub fn place(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string()),
            Socket::Unix(socket) => match socket.local_addr().ok().as_ref().and_then(|a| a.as_pathname()) {
                Some(path) => format!("unix:{}", path.display()),
                None => "unix".to_owned(),
            },
        }
    }

    /// The address and port of a TCP socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// A listening socket that was inherited. None if it is no such socket.
    pub(super) fn inherited(descriptor: OwnedFd) -> io::Result<Option<Self>> {
        if !sockopt::socket_acceptconn(&descriptor).unwrap_or(false) {
            return Ok(None);
        }
        let socket = match sockopt::socket_domain(&descriptor)? {
            AddressFamily::UNIX => Socket::Unix(descriptor.into()),
            AddressFamily::INET | AddressFamily::INET6 => Socket::Tcp(descriptor.into()),
            _ => return Ok(None),
        };
        Ok(Some(Self { socket, file: None }))
    }

    /// The same socket once more, if it is a Unix socket; its file stays with this one.
    pub(super) fn unix(&self) -> io::Result<Option<UnixListener>> {
        match &self.socket {
            Socket::Unix(socket) => socket.try_clone().map(Some),
            Socket::Tcp(_) => Ok(None),
        }
    }

    /// Makes it ready to accept; needs a runtime.
    pub(super) fn open(self) -> io::Result<Accepting> {
        let socket = match self.socket {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Opened::Tcp(tokio::net::TcpListener::from_std(socket)?)
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                #[expect(deprecated, reason = "unsound for types that change their descriptor, as a listener does not")]
                Opened::Unix(AsyncFd::with_interest(socket, Interest::READABLE)?)
            }
        };
        Ok(Accepting { socket, file: self.file })
    }
}

enum Opened {
    Tcp(tokio::net::TcpListener),
    Unix(AsyncFd<UnixListener>),
}

/// A listener within a runtime.
pub(super) struct Accepting {
    socket: Opened,
    file: Option<SocketFile>,
}

impl Accepting {
    /// The next connection. Safe to give up: no connection is lost by it.
    pub(super) async fn accept(&self, limits: &Limits) -> io::Result<Stream> {
        match &self.socket {
            Opened::Tcp(socket) => socket.accept().await.map(|(stream, peer)| Stream::tcp(stream, peer.ip(), limits)),
            Opened::Unix(socket) => loop {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let accept = |fd: &AsyncFd<UnixListener>| Ok(rustix::net::accept_with(fd.get_ref(), flags)?);
                // Otherwise it only seemed to be ready.
                if let Ok(accepted) = socket.readable().await?.try_io(accept) {
                    return accepted.map(|connection| Stream::direct(connection, limits));
                }
            },
        }
    }

    /// A connection that has been waiting; none if none is.
    pub(super) fn waiting(&self, limits: &Limits) -> io::Result<Option<Stream>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = match &self.socket {
            Opened::Unix(socket) => {
                rustix::net::accept_with(socket.get_ref(), flags).map(|connection| Stream::direct(connection, limits))
            }
            Opened::Tcp(socket) => match rustix::net::accept_with(socket, flags) {
                Ok(connection) => {
                    let stream = tokio::net::TcpStream::from_std(connection.into())?;
                    let peer = stream.peer_addr()?.ip();
                    Ok(Stream::tcp(stream, peer, limits))
                }
                Err(error) => Err(error),
            },
        };
        match accepted {
            Ok(stream) => Ok(Some(stream)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the file of a Unix socket, so that nobody new finds it.
    pub(super) fn hide(&mut self) {
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

fn bind_tcp(host: &str, port: u16) -> io::Result<Socket> {
    let addresses: Vec<SocketAddr> = if host.is_empty() {
        // The first takes IPv4 as well, unless the machine has no IPv6.
        vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into(), (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()]
    } else {
        (host, port).to_socket_addrs()?.collect()
    };
    // Binds at the first of them that works.
    let socket = TcpListener::bind(addresses.as_slice())?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Socket::Tcp(socket))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let found = std::fs::symlink_metadata(path)?;
    let file = SocketFile { path: std::path::absolute(path)?, identity: (found.dev(), found.ino()) };
    // Before it listens: nobody connects with the rights of the umask.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Listener { socket: Socket::Unix(socket.into()), file: Some(file) })
}

/// Removes what a process left that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "a file that is no socket stands there; move it away"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there; stop it first")),
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
    fn socket_file_is_removed_when_stale_or_done() {
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
        assert!(path.exists(), "the file is another's now");
        drop(successor);
    }

    #[test]
    fn file_stays_when_it_is_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::File::create(&path).unwrap();
        let error = Listener::bind(&unix(&path), SOCKET_MODE).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
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
    fn port_is_taken_on_all_addresses_when_no_host_is_given() {
        let listener = Listener::bind(&":0".parse().unwrap(), SOCKET_MODE).unwrap();
        let address = listener.tcp_address().unwrap();
        assert!(address.ip().is_unspecified() && address.port() > 0);
        let error = Listener::bind(&Address::Tcp(String::new(), address.port()), 0).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
