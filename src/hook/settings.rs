//! What hooks are set to do, checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::target::Target;
use crate::model::{Bucket, Clock, Error, Kind};

/// Whom to tell, and within which bounds.
#[derive(Clone)]
pub struct Settings {
    /// Caches: the addresses of a changed key are sent to each as `PURGE`.
    pub purge: Vec<Target>,
    /// Programs: events are posted to each, signed with its secret.
    pub webhook: Vec<(Target, Secret)>,
    /// The buckets that are told of; none: all.
    pub buckets: Vec<Bucket>,
    /// The bounds.
    pub bounds: Bounds,
    /// The time that signatures tell.
    pub clock: Arc<dyn Clock>,
}

/// The bounds of each URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// How many events (addresses, of purges) may wait.
    pub queue: usize,
    /// How often a request is sent before it is given up.
    pub tries: u32,
    /// How old an event may grow before it is given up.
    pub age: Duration,
    /// How long a request may take from its beginning to the end of its answer.
    pub timeout: Duration,
    /// The pause before the second try; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            queue: 10_000,
            tries: 10,
            age: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// What events are signed with. Never shown.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The shortest, in bytes.
    pub const MIN: usize = 16;

    /// The secret in that text, blanks around it left away.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is shorter than [`Secret::MIN`].
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() < Self::MIN {
            let text = format!("a secret for webhooks has at least {} characters; kvs passcode makes one", Self::MIN);
            return Err(Error::new(Kind::Invalid, text));
        }
        Ok(Self(text.as_bytes().into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
