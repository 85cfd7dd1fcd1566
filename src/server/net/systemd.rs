//! Sockets that systemd opened and passed to this process (`LISTEN_FDS`). They are found by the name in the socket unit
//! (`FileDescriptorName=http` or `fastcgi`).

use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use super::listener::Listener;
use crate::model::{Error, ErrorKind, Result};

/// The sockets from systemd that were not taken yet.
#[derive(Debug, Default)]
pub struct Activated(Vec<(String, Listener)>);

impl Activated {
    /// Takes over all sockets that were passed to this process. Call it once, before any thread starts: it removes the
    /// variables, so that no child process takes the sockets for its own.
    pub fn from_env() -> Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut activated = ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..activated.len() {
            let name = names.split(':').nth(index).unwrap_or_default();
            let failed = |error| Error::io(format!("cannot take over socket {index} ({name}) from systemd"), error);
            let descriptor: Option<OwnedFd> = match activated.take_unix_listener(index) {
                Ok(socket) => socket.map(OwnedFd::from),
                Err(_) => activated.take_tcp_listener(index).map_err(failed)?.map(OwnedFd::from),
            };
            let Some(descriptor) = descriptor else { continue };
            let listener = Listener::inherited(descriptor).map_err(failed)?.ok_or_else(|| {
                let text = format!("socket {index} ({name}) from systemd does not listen; set Accept=no in its unit");
                Error::new(ErrorKind::Invalid, text)
            })?;
            listeners.push((name.to_owned(), listener));
        }
        Ok(Self(listeners))
    }

    /// Whether all sockets were taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one of the sockets named `name`.
    pub fn take(&mut self, name: &str) -> Option<Listener> {
        let index = self.0.iter().position(|(socket_name, _)| socket_name == name)?;
        Some(self.0.remove(index).1)
    }

    /// The names of the sockets that were not taken, so that unknown names can be reported.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::net::listener::SOCKET_MODE;

    #[test]
    fn socket_is_found_by_its_name() {
        let bind = || Listener::bind(&"127.0.0.1:0".parse().unwrap(), SOCKET_MODE).unwrap();
        let (http, fastcgi) = (bind(), bind());
        let port = fastcgi.tcp_address();
        let mut activated = Activated(vec![("http".into(), http), ("fastcgi".into(), fastcgi)]);
        assert_eq!(activated.take("fastcgi").unwrap().tcp_address(), port);
        assert!(activated.take("fastcgi").is_none());
        assert_eq!(activated.names().collect::<Vec<_>>(), ["http"]);
        assert!(!activated.is_empty());
    }
}
