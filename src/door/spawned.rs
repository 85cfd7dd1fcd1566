//! How the program was started: by a web server as CGI, by one as FastCGI, or by a person.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::listen::Listener;

/// Who started the program.
#[derive(Debug)]
pub enum Spawned {
    /// A web server, for one request: it is in the environment and on standard input. The arguments belong to the
    /// client and must not be read.
    Cgi,
    /// A web server, with a socket to answer FastCGI on as standard input.
    FastCgi(Listener),
    /// A person, or a service manager: the command line counts.
    No,
}

impl Spawned {
    /// Looks at the environment and at standard input.
    pub fn detect() -> io::Result<Self> {
        Self::judge(std::env::var_os("GATEWAY_INTERFACE").as_deref(), io::stdin().as_fd())
    }

    /// The variable decides first: a CGI program may have a socket as standard input too, a connected one.
    fn judge(interface: Option<&OsStr>, input: BorrowedFd<'_>) -> io::Result<Self> {
        if interface.is_some() {
            return Ok(Self::Cgi);
        }
        // Closed standard input is a person's matter.
        let Ok(descriptor) = input.try_clone_to_owned() else { return Ok(Self::No) };
        Ok(Listener::inherited(descriptor)?.map_or(Self::No, Self::FastCgi))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn starter_is_told_by_variable_and_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listening = UnixListener::bind(&path).unwrap();
        let connected = UnixStream::connect(&path).unwrap();
        let interface = Some(OsStr::new("CGI/1.1"));
        assert!(matches!(Spawned::judge(interface, listening.as_fd()), Ok(Spawned::Cgi)));
        assert!(matches!(Spawned::judge(interface, connected.as_fd()), Ok(Spawned::Cgi)));
        assert!(matches!(Spawned::judge(None, connected.as_fd()), Ok(Spawned::No)));
        let Ok(Spawned::FastCgi(listener)) = Spawned::judge(None, listening.as_fd()) else { panic!("not seen") };
        drop(listener);
        assert!(path.exists(), "the file is the web server's");
    }
}
