//! What a door lets a peer take: bytes, connections and time. Every door keeps the same ones.

use std::time::Duration;

/// The bounds of a door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest body, in bytes. A longer one is answered 413 and never held as a whole.
    pub body: usize,
    /// The longest parameter list (FastCGI), or request line with its headers (HTTP, where 64 KiB is the most), in
    /// bytes.
    pub head: usize,
    /// The most connections at once. Further ones wait in the queue of the system.
    pub connections: usize,
    /// How long the request line and headers may take (HTTP). A connection kept alive is closed after the same time.
    pub head_time: Duration,
    /// How long a body may take, over FastCGI a whole request.
    pub body_time: Duration,
    /// How long an answer may stand still because nobody takes it.
    pub write_time: Duration,
    /// How long a FastCGI connection may stay without a request.
    pub idle_time: Duration,
    /// How long requests that have begun may take to be answered after the stop.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            head: 256 << 10,
            connections: 12_000,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            write_time: Duration::from_secs(60),
            idle_time: Duration::from_secs(300),
            drain_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The same limits for a program that a web server has spawned. `mod_fcgid` kills it 8 seconds after it asked it
    /// to stop, so the answers must be out before.
    #[must_use]
    pub fn spawned(mut self) -> Self {
        self.drain_time = self.drain_time.min(Duration::from_secs(7));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_is_shorter_than_the_patience_of_the_server_when_spawned() {
        assert_eq!(Limits::default().spawned().drain_time, Duration::from_secs(7));
        let short = Limits { drain_time: Duration::from_secs(1), ..Limits::default() };
        assert_eq!(short.spawned(), short);
    }
}
