//! How the program was started: by a web server as CGI, by one as FastCGI, or from a command line.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::net::listener::Listener;

/// How the program was started.
#[derive(Debug)]
pub enum Launch {
    /// By a web server, for one request, which is in the environment and on standard input. The arguments come from the
    /// client and must not be read.
    Cgi,
    /// By a web server, with a listening FastCGI socket as standard input.
    FastCgi(Listener),
    /// By a person or a service manager. The arguments are those of the command line.
    Standalone,
}

impl Launch {
    /// Detects this from the environment and from standard input.
    pub fn detect() -> io::Result<Self> {
        Self::detect_from(std::env::var_os("GATEWAY_INTERFACE").as_deref(), io::stdin().as_fd())
    }

    /// The variable decides first: the standard input of a CGI program may be a socket too, a connected one.
    fn detect_from(interface: Option<&OsStr>, input: BorrowedFd<'_>) -> io::Result<Self> {
        if interface.is_some() {
            return Ok(Self::Cgi);
        }
        // Web servers do not close standard input.
        let Ok(descriptor) = input.try_clone_to_owned() else { return Ok(Self::Standalone) };
        Ok(Listener::inherited(descriptor)?.map_or(Self::Standalone, Self::FastCgi))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn launch_is_detected_from_variable_and_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listening = UnixListener::bind(&path).unwrap();
        let connected = UnixStream::connect(&path).unwrap();
        let interface = Some(OsStr::new("CGI/1.1"));
        assert!(matches!(Launch::detect_from(interface, listening.as_fd()), Ok(Launch::Cgi)));
        assert!(matches!(Launch::detect_from(interface, connected.as_fd()), Ok(Launch::Cgi)));
        assert!(matches!(Launch::detect_from(None, connected.as_fd()), Ok(Launch::Standalone)));
        let Ok(Launch::FastCgi(listener)) = Launch::detect_from(None, listening.as_fd()) else { panic!("not seen") };
        drop(listener);
        assert!(path.exists(), "the file belongs to the web server");
    }
}
