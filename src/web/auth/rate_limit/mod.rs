//! The rate limit on wrong secrets. They are counted for each client, in the store itself, so all processes share the
//! counts.
//!
//! The first five wrong secrets are reported as wrong. The fifth and each further one starts a pause of the client: one
//! second at first, then twice as long each time, up to a minute. Always true: the responses are the same as if the
//! requests had come one after another, however many arrive at once, over however many processes. A secret that this
//! client has not sent before is checked first. Then the result is stored, in one write that expects the count that was
//! read. Only then is the response sent. So a guess that is not counted reveals nothing.
//!
//! A secret that the client has sent before costs one read: a right one is recognized by its mark, and a wrong one is
//! not a new guess.

pub(super) mod client_id;
pub(super) mod count;
pub(super) mod mark;
pub(super) mod room;
#[cfg(test)]
pub(super) mod yielding_store;

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::client_id::ClientId;
use self::count::{Count, FREE, QUIET};
use self::mark::{MarkKey, Random};
use self::room::ClientLimit;
use crate::model::{
    Batch, Bucket, Clock, ContentType, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Time, Write,
};
use crate::store::{Store, Task};

pub(crate) use self::mark::random;

/// How often storing a count is tried while other processes store theirs.
const ATTEMPTS: usize = 100;
/// How long a request waits until its count is stored.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many counts one process stores at the same time.
const TURNS: usize = 64;

/// The result of checking the secrets of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attempted {
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

pub(crate) struct RateLimiter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Random,
    bucket: Bucket,
    /// The entry with the key of the marks.
    key: Key,
    /// An entry that expires when it is time to remove expired counts again.
    swept: Key,
    room: ClientLimit,
    /// Locks, so that this process stores the counts of one client one after another.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// The entries in the store that concern a client.
struct StoredCount {
    /// The key of the marks. `stored_key` is its entry: missing at first, perhaps invalid if a person edited it.
    key: MarkKey,
    stored_key: Option<Entry>,
    is_swept: bool,
    own: Option<Entry>,
    range: Option<Entry>,
}

/// Where a count is stored, and what it replaces there.
#[derive(Clone, Copy)]
struct Slot<'a> {
    key: &'a Key,
    before: Option<&'a Entry>,
}

impl StoredCount {
    /// Where the count of the client is stored now.
    fn slot<'a>(&'a self, client: &'a ClientId) -> Slot<'a> {
        match (&self.own, &self.range) {
            (None, Some(range)) => Slot { key: &client.range, before: Some(range) },
            (own, _) => Slot { key: &client.key, before: own.as_ref() },
        }
    }
}

impl Slot<'_> {
    fn count(&self) -> Count {
        self.before.map(Count::stored).unwrap_or_default()
    }
}

impl RateLimiter {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, random: Random) -> Self {
        #[expect(clippy::expect_used, reason = "the names are constant, and a test makes one")]
        let (bucket, [key, swept]) = (
            Bucket::new("_kvs.throttle").expect("a good name"),
            ["key", "swept"].map(|name| Key::new(name).expect("a good name")),
        );
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { store, clock, random, bucket, key, swept, room: ClientLimit::default(), turns }
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
    ) -> Result<Attempted> {
        let client = ClientId::new(attempt.address)?;
        let found = self.fetch(&client).await?;
        let (now, slot) = (self.clock.now(), found.slot(&client));
        let count = slot.count();
        if let Some(back) = count.set_back(now) {
            // If another request was faster, it has stored the same. If this is not stored, the pause still applies.
            self.put_if_possible(&found, slot, &back).await;
        }
        if let Some(seconds) = count.pause(now) {
            return Ok(Attempted::Paused { seconds });
        }
        if attempt.secrets.is_empty() {
            return Ok(Attempted::Pass);
        }
        let is_right = is_right();
        if count.knows(found.key.mark(attempt.secrets)?, is_right) {
            if is_right && slot.before.is_some_and(|entry| Count::is_old(entry, now)) {
                self.put_if_possible(&found, slot, &count).await;
            }
            return Ok(attempt.repeated(is_right));
        }
        let recorded = timeout(PATIENCE, self.record(attempt, &client, is_right)).await;
        let (attempted, sweep) = recorded.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Busy,
                format!("the count of wrong secrets was not stored within {} s", PATIENCE.as_secs()),
            ))
        })?;
        if sweep && let Err(error) = self.store.maintain(&self.bucket, Task::RemoveExpired).await {
            // The next count tries it again.
            tracing::debug!("cannot remove expired counts of wrong secrets: {error}");
        }
        Ok(attempted)
    }

    /// Stores a count whose failure does not affect this request.
    async fn put_if_possible(&self, found: &StoredCount, slot: Slot<'_>, count: &Count) {
        if let Err(error) = self.put(found, slot, count).await {
            tracing::debug!("cannot store a count of wrong secrets: {error}");
        }
    }

    /// Stores the result for a secret that the client has not sent before, and then returns it. The second value is
    /// true if it is time to remove expired counts.
    async fn record(
        &self,
        attempt: &SecretAttempt<'_>,
        client: &ClientId,
        is_right: bool,
    ) -> Result<(Attempted, bool)> {
        let _turn = self.turn(client).lock().await;
        for _ in 0..ATTEMPTS {
            let found = self.fetch(client).await?;
            let now = self.clock.now();
            let known = found.slot(client).count();
            if let Some(seconds) = known.pause(now) {
                return Ok((Attempted::Paused { seconds }, false));
            }
            let mark = found.key.mark(attempt.secrets)?;
            if known.knows(mark, is_right) {
                return Ok((attempt.repeated(is_right), false));
            }
            let slot = if found.own.is_some() || self.room.is_left(&*self.store, &self.bucket, now).await? {
                Slot { key: &client.key, before: found.own.as_ref() }
            } else {
                Slot { key: &client.range, before: found.range.as_ref() }
            };
            let next = slot.count().and(mark, is_right, now);
            if self.put(&found, slot, &next).await? {
                let attempted = if is_right { Attempted::Pass } else { attempt.counted(&next, now) };
                return Ok((attempted, !found.is_swept));
            }
        }
        Err(Error::new(ErrorKind::Busy, "too many requests store counts of wrong secrets at the same time"))
    }

    fn turn(&self, client: &ClientId) -> &tokio::sync::Mutex<()> {
        let [first, rest @ ..] = &self.turns;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&client.key);
        usize::try_from(hash % TURNS as u64).ok().and_then(|n| rest.get(n)).unwrap_or(first)
    }

    async fn fetch(&self, client: &ClientId) -> Result<StoredCount> {
        let keys = [&self.key, &self.swept, &client.key, &client.range].map(Key::clone);
        let mut entries = self.store.get(&self.bucket, &keys).await?.entries.into_iter();
        let mut next = || entries.next().flatten();
        let (stored_key, is_swept, own, range) = (next(), next().is_some(), next(), next());
        let key = stored_key.as_ref().and_then(MarkKey::stored).map_or_else(|| MarkKey::new(self.random), Ok)?;
        Ok(StoredCount { key, stored_key, is_swept, own, range })
    }

    /// Stores a count if nothing has changed since it was read. Returns false if something has.
    async fn put(&self, found: &StoredCount, slot: Slot<'_>, count: &Count) -> Result<bool> {
        let now = self.clock.now();
        let (mut expected, mut writes) = (vec![], vec![]);
        let mut put = |key: &Key, before: Option<&Entry>, value: String, expires: Option<Time>| {
            expected.push(Expectation::unchanged(key.clone(), before));
            let (key, content_type) = (key.clone(), ContentType::default());
            writes.push(Write::Put { key, value: value.into(), content_type, expires, modified: None });
        };
        put(slot.key, slot.before, count.text(), Some(count.expires(now)));
        if found.stored_key.as_ref().and_then(MarkKey::stored).is_none() {
            put(&self.key, found.stored_key.as_ref(), found.key.to_string(), None);
        }
        if !found.is_swept {
            put(&self.swept, None, String::new(), Some(now.plus(QUIET)));
        }
        let batch = Batch::new(writes).with_expectations(expected).returning_nothing();
        Ok(matches!(self.store.apply(&self.bucket, batch).await?, Outcome::Committed { .. }))
    }
}

impl SecretAttempt<'_> {
    /// The result for secrets that were checked before.
    fn repeated(&self, is_right: bool) -> Attempted {
        if is_right {
            return Attempted::Pass;
        }
        tracing::debug!("the same wrong secret again from {}", self.sender());
        Attempted::Wrong
    }

    /// The result for a wrong secret that has just been counted.
    fn counted(&self, count: &Count, now: Time) -> Attempted {
        let pause = count.pause(now);
        let then = pause.map_or(String::new(), |seconds| format!("; paused for {seconds} s"));
        tracing::warn!("wrong secret from {}, number {}{then}", self.sender(), count.wrong());
        match pause {
            Some(seconds) if count.wrong() > FREE => Attempted::Paused { seconds },
            _ => Attempted::Wrong,
        }
    }

    fn sender(&self) -> String {
        self.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_canonical().to_string())
    }
}

#[cfg(test)]
mod tests;
