//! The settings of the hooks, checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::target::HookUrl;
use crate::model::{Bucket, Clock, Error, ErrorKind};

/// The receivers of changes, and the limits of the delivery.
#[derive(Clone)]
pub struct HookSettings {
    /// The caches. Each gets a `PURGE` for every address of a changed key.
    pub purge: Vec<HookUrl>,
    /// The webhooks. Events are posted to each URL, signed with its secret.
    pub webhook: Vec<(HookUrl, Secret)>,
    /// The buckets whose changes are delivered; empty: all.
    pub buckets: Vec<Bucket>,
    /// The limits of each URL.
    pub limits: DeliveryLimits,
    /// The clock for the timestamps of signatures.
    pub clock: Arc<dyn Clock>,
}

/// The limits of the delivery to one URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliveryLimits {
    /// The maximum number of events (for purges: addresses) that wait. Default: 10,000.
    pub max_queued: usize,
    /// The maximum number of attempts to send a request. Default: 10.
    pub max_attempts: u32,
    /// An event older than this is given up. Default: 5 min.
    pub max_age: Duration,
    /// The longest time of a request, until the end of the response. Default: 10 s.
    pub request_timeout: Duration,
    /// The pause before the second attempt; it doubles with each further one. Default: 200 ms.
    pub initial_backoff: Duration,
    /// The longest pause, unless the receiver asks for a longer one. Default: 30 s.
    pub max_backoff: Duration,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            max_queued: 10_000,
            max_attempts: 10,
            max_age: Duration::from_secs(300),
            request_timeout: Duration::from_secs(10),
            initial_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// The key that signs the events of a webhook. Its `Debug` output does not show it.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The minimum length of a secret, in bytes.
    pub const MIN_BYTES: usize = 16;

    /// Takes the secret from a text, without the whitespace around it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is shorter than [`Secret::MIN_BYTES`].
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() < Self::MIN_BYTES {
            let text =
                format!("a webhook secret must have at least {} characters; kvs passcode creates one", Self::MIN_BYTES);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self(text.as_bytes().into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
