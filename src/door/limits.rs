//! What a door lets a peer take: bytes, connections and time. Every door keeps the same ones.

use std::net::IpAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::forwarded::{self, Proxy};
use crate::service::{Budget, Shares, Taken};

/// Descriptors that are needed for anything but connections: files, locks, the log.
const RESERVED: u64 = 64;

/// The bounds of a door. Doors that get clones of the same share what is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest body, in bytes. A longer one is answered 413 and never held as a whole.
    pub body: usize,
    /// The memory of all bodies together, and what of it one address may have.
    pub bodies: Budget,
    /// The longest parameter list (FastCGI), or request line with its headers (HTTP, where 64 KiB is the most), in
    /// bytes.
    pub head: usize,
    /// The most connections at once. Further ones wait in the queue of the system.
    pub connections: usize,
    /// How many of them, or over FastCGI how many requests, one address may have.
    pub shares: Shares,
    /// Who speaks for many clients and tells their addresses, and so has no share of the connections (HTTP).
    pub proxies: Vec<Proxy>,
    /// How long the request line and headers may take (HTTP). A connection kept alive is closed after the same time.
    pub head_time: Duration,
    /// How long a body may take, over FastCGI a whole request.
    pub body_time: Duration,
    /// How long an answer may stand still because nobody takes it.
    pub write_time: Duration,
    /// In how long a client must take some of an answer: 16 KiB for each second of it, or all that is left.
    pub response_time: Duration,
    /// How long a FastCGI connection may stay without a request.
    pub idle_time: Duration,
    /// How long requests that have begun may take to be answered after the stop.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let body = 4 << 20;
        Self {
            body,
            bodies: Budget::new(64 << 20, body).sharing(32 << 20),
            head: 256 << 10,
            connections: 12_000,
            shares: Shares::new(6_000),
            proxies: vec![],
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            write_time: Duration::from_secs(60),
            response_time: Duration::from_secs(60),
            idle_time: Duration::from_secs(300),
            drain_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// A part of the share of whoever connects over HTTP, until dropped; none if the share is used up. A trusted proxy has
    /// no share.
    pub(super) fn enter(&self, peer: Option<IpAddr>) -> Option<Taken> {
        self.shares.enter(peer.filter(|_| !forwarded::is_trusted(&self.proxies, peer)))
    }

    /// The same limits for a program that a web server has spawned. `mod_fcgid` kills it 8 seconds after it asked it
    /// to stop, so the answers must be out before. It gets one request at a time, so nobody has a share.
    #[must_use]
    pub fn spawned(mut self) -> Self {
        self.drain_time = self.drain_time.min(Duration::from_secs(7));
        self.shares = Shares::default();
        self
    }
}

/// How many of so many connections the descriptors of this process allow; the soft limit is raised as far as it may be.
/// At least half of the descriptors are for connections, however few there are.
#[must_use]
pub fn connections_allowed(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            allowed = raised;
        }
    }
    let room = usize::try_from(allowed - RESERVED.min(allowed / 2)).unwrap_or(usize::MAX);
    wanted.min(room).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_is_shorter_than_the_patience_of_the_server_when_spawned() {
        assert_eq!(Limits::default().spawned().drain_time, Duration::from_secs(7));
        let short = Limits { drain_time: Duration::from_secs(1), shares: Shares::default(), ..Limits::default() };
        assert_eq!(short.clone().spawned(), short);
    }

    #[test]
    fn connections_are_what_was_wanted_when_the_system_allows_it() {
        assert_eq!(connections_allowed(10), 10);
        assert_eq!(connections_allowed(0), 1);
        assert!(connections_allowed(usize::MAX) >= 10);
    }
}
