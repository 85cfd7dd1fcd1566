//! The rate limit on wrong secrets. They are counted for each client, in the store itself, so all processes share the
//! counts.
//!
//! The first five wrong secrets are reported as wrong. The fifth and each further one starts a pause of the client: one
//! second at first, then twice as long each time, up to a minute. The responses are always the same as if the requests
//! had come one after another, even if many arrive at once in many processes. A secret that this client has not sent
//! before is checked first. Then the result is stored, in one write that expects the count that was read. Only then is
//! the response sent. So a guess that is not counted reveals nothing.
//!
//! A secret that the client has sent before costs one read: a right one is recognized by its mark, and a wrong one is
//! not a new guess. While the counts cannot be read, each process still accepts the secrets that it has accepted before.

mod accepted;
pub(super) mod client_id;
pub(super) mod client_limit;
pub(super) mod count;
pub(super) mod mark;

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::accepted::AcceptedSecrets;
use self::client_id::ClientId;
use self::client_limit::ClientLimit;
use self::count::{Count, FREE_WRONG_SECRETS, RESET_AFTER};
use self::mark::{FillRandom, MarkKey};
use crate::model::{
    Batch, Bucket, Clock, ContentType, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning, Time,
    Write,
};
use crate::store::{Store, Task};

pub(crate) use self::mark::random;

/// How often one request tries to store its count while other requests store theirs.
const MAX_ATTEMPTS: usize = 100;
/// How long a request may take to store its count.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);
/// The number of locks. One process stores at most this many counts at the same time.
const LOCKS: usize = 64;

/// The result of checking the secrets of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AttemptOutcome {
    /// The request may continue.
    Pass,
    /// The secret is wrong. It was counted, now or when it was sent before.
    Wrong,
    /// The client is paused. The secret was not checked, or it was wrong again.
    Paused {
        /// Seconds that are left of the pause.
        seconds: u64,
    },
}

/// The part of a request that the rate limit needs.
pub(crate) struct SecretAttempt<'a> {
    pub(crate) address: Option<IpAddr>,
    /// May be empty.
    pub(crate) secrets: &'a [Vec<u8>],
}

/// After a failed attempt to read the counts, one request tries it again after this time.
const UNREADABLE_FOR: Duration = Duration::from_secs(1);

/// Counts wrong secrets and pauses the clients that send them.
pub(crate) struct RateLimiter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: FillRandom,
    bucket: Bucket,
    /// The key of the entry that contains the key of the marks.
    key: Key,
    /// The key of an entry that expires when it is time to remove expired counts again.
    sweep_marker: Key,
    client_limit: ClientLimit,
    /// Locks, so that this process stores the counts of one client one after another.
    locks: [tokio::sync::Mutex<()>; LOCKS],
    accepted: AcceptedSecrets,
    /// While the counts cannot be read: when that was last tried, and why it failed.
    unreadable: parking_lot::Mutex<Option<(Instant, Error)>>,
}

/// The entries in the store that concern a client.
struct StoredCount {
    /// The key of the marks. `stored_key` is its entry: missing at first, perhaps invalid if a person edited it.
    key: MarkKey,
    stored_key: Option<Entry>,
    is_recently_swept: bool,
    own: Option<Entry>,
    range: Option<Entry>,
}

/// The key under which a count is stored, and the entry that it replaces.
#[derive(Clone, Copy)]
struct Slot<'a> {
    key: &'a Key,
    before: Option<&'a Entry>,
}

impl StoredCount {
    /// The slot in which the count of the client is stored now.
    fn slot<'a>(&'a self, client: &'a ClientId) -> Slot<'a> {
        match (&self.own, &self.range) {
            (None, Some(range)) => Slot { key: &client.range, before: Some(range) },
            (own, _) => Slot { key: &client.key, before: own.as_ref() },
        }
    }
}

impl Slot<'_> {
    fn count(&self) -> Count {
        self.before.map(Count::parse).unwrap_or_default()
    }
}

impl RateLimiter {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, random: FillRandom) -> Self {
        #[expect(clippy::expect_used, reason = "the names are constant, and a test makes one")]
        let (bucket, [key, sweep_marker]) = (
            Bucket::new("_kvs.throttle").expect("a good name"),
            ["key", "swept"].map(|name| Key::new(name).expect("a good name")),
        );
        let locks = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self {
            store,
            clock,
            random,
            bucket,
            key,
            sweep_marker,
            client_limit: ClientLimit::default(),
            locks,
            accepted: AcceptedSecrets::default(),
            unreadable: parking_lot::Mutex::default(),
        }
    }

    /// Checks the secrets of a request. `is_right` returns whether they are right; it is not called while the client is
    /// paused.
    ///
    /// # Errors
    /// The error of the store, if the counts cannot be read or this secret cannot be counted. Then the response must
    /// not show whether the secret was right.
    pub(crate) async fn check(
        &self,
        attempt: &SecretAttempt<'_>,
        is_right: impl FnOnce() -> bool + Send,
    ) -> Result<AttemptOutcome> {
        let client = ClientId::new(attempt.address)?;
        let found = match self.fetch(&client).await {
            Ok(found) => found,
            Err(error) => {
                let is_accepted = self.accepted.contains(&client, attempt.secrets) && is_right();
                return if is_accepted { Ok(AttemptOutcome::Pass) } else { Err(error) };
            }
        };
        let (now, slot) = (self.clock.now(), found.slot(&client));
        let count = slot.count();
        if let Some(restarted) = count.with_restarted_pause(now) {
            // If another request was faster, it has stored the same. If this is not stored, the pause still applies.
            self.put_if_possible(&found, slot, &restarted).await;
        }
        if let Some(seconds) = count.pause(now) {
            return Ok(AttemptOutcome::Paused { seconds });
        }
        if attempt.secrets.is_empty() {
            return Ok(AttemptOutcome::Pass);
        }
        let is_right = is_right();
        let outcome = if count.has_mark(found.key.mark(attempt.secrets)?, is_right) {
            if is_right && slot.before.is_some_and(|entry| Count::needs_refresh(entry, now)) {
                self.put_if_possible(&found, slot, &count).await;
            }
            attempt.repeated(is_right)
        } else {
            self.record_in_time(attempt, &client, is_right).await?
        };
        if outcome == AttemptOutcome::Pass {
            self.accepted.add(&client, attempt.secrets);
        }
        Ok(outcome)
    }

    /// Stores the result for a secret that the client has not sent before, and then returns it.
    async fn record_in_time(
        &self,
        attempt: &SecretAttempt<'_>,
        client: &ClientId,
        is_right: bool,
    ) -> Result<AttemptOutcome> {
        let recorded = timeout(RECORD_TIMEOUT, self.record(attempt, client, is_right)).await;
        let (outcome, sweep) = recorded.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Busy,
                format!("the count of wrong secrets was not stored within {} s", RECORD_TIMEOUT.as_secs()),
            ))
        })?;
        if sweep && let Err(error) = self.store.maintain(&self.bucket, Task::RemoveExpired).await {
            // The next count tries it again.
            tracing::debug!("cannot remove expired counts of wrong secrets: {error}");
        }
        Ok(outcome)
    }

    /// Stores a count whose failure does not affect this request.
    async fn put_if_possible(&self, found: &StoredCount, slot: Slot<'_>, count: &Count) {
        if let Err(error) = self.put(found, slot, count).await {
            tracing::debug!("cannot store a count of wrong secrets: {error}");
        }
    }

    /// The second value is true if it is time to remove expired counts.
    async fn record(
        &self,
        attempt: &SecretAttempt<'_>,
        client: &ClientId,
        is_right: bool,
    ) -> Result<(AttemptOutcome, bool)> {
        let _guard = self.lock_of(client).lock().await;
        for _ in 0..MAX_ATTEMPTS {
            let found = self.fetch(client).await?;
            let now = self.clock.now();
            let count = found.slot(client).count();
            if let Some(seconds) = count.pause(now) {
                return Ok((AttemptOutcome::Paused { seconds }, false));
            }
            let mark = found.key.mark(attempt.secrets)?;
            if count.has_mark(mark, is_right) {
                return Ok((attempt.repeated(is_right), false));
            }
            let slot = if found.own.is_some() || self.client_limit.has_room(&*self.store, &self.bucket, now).await? {
                Slot { key: &client.key, before: found.own.as_ref() }
            } else {
                Slot { key: &client.range, before: found.range.as_ref() }
            };
            let next = slot.count().with_secret(mark, is_right, now);
            if self.put(&found, slot, &next).await? {
                let outcome = if is_right { AttemptOutcome::Pass } else { attempt.counted(&next, now) };
                return Ok((outcome, !found.is_recently_swept));
            }
        }
        Err(Error::new(ErrorKind::Busy, "too many requests store counts of wrong secrets at the same time"))
    }

    fn lock_of(&self, client: &ClientId) -> &tokio::sync::Mutex<()> {
        let [first, rest @ ..] = &self.locks;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&client.key);
        usize::try_from(hash % LOCKS as u64).ok().and_then(|n| rest.get(n)).unwrap_or(first)
    }

    async fn fetch(&self, client: &ClientId) -> Result<StoredCount> {
        let keys = [&self.key, &self.sweep_marker, &client.key, &client.range].map(Key::clone);
        // If the machine with the counts is down, each attempt takes long. Others may have what the requests want.
        if let Some((tried, error)) = &mut *self.unreadable.lock() {
            if tried.elapsed() < UNREADABLE_FOR {
                return Err(error.duplicate());
            }
            *tried = Instant::now();
        }
        let read = self.store.get(&self.bucket, &keys).await;
        let is_down = |error: &&Error| matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable);
        *self.unreadable.lock() = read.as_ref().err().filter(is_down).map(|error| (Instant::now(), error.duplicate()));
        let mut entries = read?.entries.into_iter();
        let mut next = || entries.next().flatten();
        let (stored_key, is_recently_swept, own, range) = (next(), next().is_some(), next(), next());
        let key = stored_key.as_ref().and_then(MarkKey::parse).map_or_else(|| MarkKey::new(self.random), Ok)?;
        Ok(StoredCount { key, stored_key, is_recently_swept, own, range })
    }

    /// Stores a count if the entries are unchanged since they were read. Returns whether it was stored.
    async fn put(&self, found: &StoredCount, slot: Slot<'_>, count: &Count) -> Result<bool> {
        let now = self.clock.now();
        let (mut expected, mut writes) = (vec![], vec![]);
        let mut put = |key: &Key, before: Option<&Entry>, value: String, expires: Option<Time>| {
            expected.push(Expectation::unchanged(key.clone(), before));
            let (key, content_type) = (key.clone(), ContentType::default());
            writes.push(Write::Put { key, value: value.into(), content_type, expires, modified: None });
        };
        put(slot.key, slot.before, count.to_text(), Some(count.expires(now)));
        if found.stored_key.as_ref().and_then(MarkKey::parse).is_none() {
            put(&self.key, found.stored_key.as_ref(), found.key.to_string(), None);
        }
        if !found.is_recently_swept {
            put(&self.sweep_marker, None, String::new(), Some(now.plus(RESET_AFTER)));
        }
        let batch = Batch::new(writes).with_expectations(expected).returning(Returning::Nothing);
        Ok(matches!(self.store.apply(&self.bucket, batch).await?, Outcome::Committed { .. }))
    }
}

impl SecretAttempt<'_> {
    /// The result for secrets that were checked before.
    fn repeated(&self, is_right: bool) -> AttemptOutcome {
        if is_right {
            return AttemptOutcome::Pass;
        }
        tracing::debug!(target: "kvs::auth", "the same wrong secret again from {}", self.sender());
        AttemptOutcome::Wrong
    }

    /// The result for a wrong secret that has just been counted.
    fn counted(&self, count: &Count, now: Time) -> AttemptOutcome {
        let pause = count.pause(now);
        let suffix = pause.map_or(String::new(), |seconds| format!("; paused for {seconds} s"));
        // The filter of fail2ban in deploy/fail2ban reads this line.
        tracing::warn!(target: "kvs::auth", "wrong secret from {}, number {}{suffix}", self.sender(), count.wrong());
        match pause {
            Some(seconds) if count.wrong() > FREE_WRONG_SECRETS => AttemptOutcome::Paused { seconds },
            _ => AttemptOutcome::Wrong,
        }
    }

    fn sender(&self) -> String {
        self.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_canonical().to_string())
    }
}

// Imported here and not in `tests.rs`: only code after `cfg(test)` may use a floor that is not below this one.
#[cfg(test)]
use crate::memory::MemoryStore;
#[cfg(test)]
mod client_limit_tests;
#[cfg(test)]
mod tests;
