//! The limits of the servers: bytes, connections and time. They are the same for every protocol.

use std::net::IpAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::http1::forwarded;
use super::http1::forwarded::Proxy;
use crate::web::{Budget, SharePermit, Shares};

/// How many descriptors are reserved for files, locks and the log.
const RESERVED_DESCRIPTORS: u64 = 64;

/// The limits of a server. Clones share the budget and the counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerLimits {
    /// The longest body that is kept in memory, in bytes. A longer one is answered with 413, unless it is a value that
    /// is stored piece by piece.
    pub body: usize,
    /// The longest body that is stored piece by piece, in bytes; 0 if there are none.
    pub piecewise_body: u64,
    /// The memory budget for all bodies together, and the part of it for one address.
    pub bodies: Budget,
    /// The size limit of all variables (FastCGI, CGI) or headers (HTTP, between 8 and 64 KiB) together, in bytes.
    pub head: usize,
    /// How many connections may be open at once. Further ones wait in the accept queue of the system.
    pub connections: usize,
    /// How many of these connections (over FastCGI: how many requests) one address may have.
    pub shares: Shares,
    /// Proxies that are trusted to report the addresses of their clients. They may have any number of connections
    /// (HTTP).
    pub proxies: Vec<Proxy>,
    /// How long a request line and headers may take (HTTP). An idle connection is closed after the same time.
    pub header_timeout: Duration,
    /// How long a body may take; over FastCGI, a whole request. A body that is stored piece by piece may take longer if
    /// 16 KiB arrive for each second of this time.
    pub body_timeout: Duration,
    /// How long a write may wait for a client that does not read.
    pub write_timeout: Duration,
    /// In each period of this length a client must read 16 KiB of its response for each second, or all that is left.
    pub response_time: Duration,
    /// How long a FastCGI connection may be open without a request.
    pub idle_timeout: Duration,
    /// How long requests in progress may take after the stop.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        let body = 4 << 20;
        Self {
            body,
            piecewise_body: 0,
            bodies: Budget::new(64 << 20, body).sharing(32 << 20),
            head: 256 << 10,
            connections: 12_000,
            shares: Shares::new(6_000),
            proxies: vec![],
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            response_time: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerLimits {
    /// Counts one connection of this peer until the permit is dropped (HTTP); `None` if the peer has reached its limit.
    /// A trusted proxy has no limit.
    pub(crate) fn try_acquire(&self, peer: Option<IpAddr>) -> Option<SharePermit> {
        self.shares.try_acquire(peer.filter(|_| !forwarded::is_trusted(&self.proxies, peer)))
    }

    /// The longest body of any kind, in bytes.
    pub(crate) fn longest_body(&self) -> u64 {
        self.piecewise_body.max(self.body as u64)
    }

    /// The same limits for a program that a web server starts. `mod_fcgid` kills the program 8 seconds after it asked
    /// it to stop, so the responses must be sent before that. The program gets one request at a time, so there is no
    /// limit per address.
    #[must_use]
    pub fn spawned(mut self) -> Self {
        self.drain_timeout = self.drain_timeout.min(Duration::from_secs(7));
        self.shares = Shares::default();
        self
    }
}

/// How many of the `wanted` connections the descriptors of this process allow. The soft limit is raised if necessary
/// and possible. At least half of the descriptors are for connections.
#[must_use]
pub fn connections_allowed(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(RESERVED_DESCRIPTORS);
    let limit = getrlimit(Resource::Nofile);
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            allowed = raised;
        }
    }
    let room = usize::try_from(allowed - RESERVED_DESCRIPTORS.min(allowed / 2)).unwrap_or(usize::MAX);
    wanted.min(room).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawned_program_drains_before_the_web_server_kills_it() {
        assert_eq!(ServerLimits::default().spawned().drain_timeout, Duration::from_secs(7));
        let short = ServerLimits {
            drain_timeout: Duration::from_secs(1),
            shares: Shares::default(),
            ..ServerLimits::default()
        };
        assert_eq!(short.clone().spawned(), short);
    }

    #[test]
    fn wanted_connections_are_allowed_when_descriptors_suffice() {
        assert_eq!(connections_allowed(10), 10);
        assert_eq!(connections_allowed(0), 1);
        assert!(connections_allowed(usize::MAX) >= 10);
    }
}
