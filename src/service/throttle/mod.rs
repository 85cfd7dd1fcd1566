//! Slows down who guesses: wrong secrets are counted by client, in the store itself, so that all processes count together.
//!
//! Five wrong ones are answered; from the fifth on the client is paused, for a second at first and twice as long for each
//! further one, up to a minute. What always holds: requests are answered as if they had come one after another, however
//! many come at once over however many processes. A secret that this client has not sent before is judged in private;
//! then what it was is stored, in one write that expects what was read; and only then is it answered. So nobody
//! learns anything from a guess that is not counted, and what cannot be counted is not answered at all.
//!
//! A secret that the client has sent before costs one read: a right one is known again by its mark, and a wrong one is no
//! new guess.

mod client;
mod count;
mod mark;
mod room;

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::model::{
    Batch, Bucket, Clock, Condition, ContentType, Entry, Error, Expectation, Key, Kind, Outcome, Result, Time, Write,
};
use crate::store::{Store, Task};
use client::Client;
use count::{Count, FREE, QUIET};
use mark::{MarkKey, Random};
use room::Room;

pub(crate) use mark::random;

/// Attempts to store a count while other processes store theirs.
const ATTEMPTS: usize = 100;
/// How long a request waits for its count to be stored.
const PATIENCE: Duration = Duration::from_secs(1);
/// Clients whose counts are stored at the same time.
const TURNS: usize = 64;

/// Whether a request may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may.
    Pass,
    /// Its secret is wrong. It was counted, now or when it came before.
    Wrong,
    /// Its client is paused. Its secret was not looked at, or was wrong again.
    Paused {
        /// For so many more seconds.
        seconds: u64,
    },
}

/// A request with secrets.
pub(crate) struct Attempt<'a> {
    /// Where it comes from.
    pub(crate) address: Option<IpAddr>,
    /// What it carries; may be nothing.
    pub(crate) secrets: &'a [Vec<u8>],
}

pub(crate) struct Throttle {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Random,
    bucket: Bucket,
    /// The entry with the key of the marks.
    key: Key,
    /// An entry that ends when what has expired is to be removed the next time.
    swept: Key,
    room: Room,
    /// Of a client one count is stored at a time, so that those of this process do not race each other.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// What the store holds that matters to a client.
struct Found {
    /// The key of the marks, and what is stored of it: nothing yet, or something that a person has made of it.
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

impl Found {
    /// Where the client is counted so far.
    fn slot<'a>(&'a self, client: &'a Client) -> Slot<'a> {
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

impl Throttle {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, random: Random) -> Self {
        #[expect(clippy::expect_used, reason = "the names are constant, and a test makes one")]
        let (bucket, [key, swept]) = (
            Bucket::new("_kvs.throttle").expect("a good name"),
            ["key", "swept"].map(|name| Key::new(name).expect("a good name")),
        );
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { store, clock, random, bucket, key, swept, room: Room::default(), turns }
    }

    /// Judges a request; `is_right` tells whether its secrets are not wrong, and is not asked while its client is paused.
    ///
    /// # Errors
    /// What the store says, if the counts cannot be read, or this secret cannot be counted. Nobody may know then what it
    /// was.
    pub(crate) async fn judge(&self, attempt: &Attempt<'_>, is_right: impl FnOnce() -> bool + Send) -> Result<Verdict> {
        let client = Client::new(attempt.address)?;
        let found = self.look(&client).await?;
        let (now, slot) = (self.clock.now(), found.slot(&client));
        let count = slot.count();
        if let Some(back) = count.set_back(now) {
            // If another was faster, it has done the same; and if it cannot be stored, the pause holds all the same.
            self.put_if_possible(&found, slot, &back).await;
        }
        if let Some(seconds) = count.pause(now) {
            return Ok(Verdict::Paused { seconds });
        }
        if attempt.secrets.is_empty() {
            return Ok(Verdict::Pass);
        }
        let is_right = is_right();
        if count.knows(found.key.mark(attempt.secrets)?, is_right) {
            if is_right && slot.before.is_some_and(|entry| Count::is_old(entry, now)) {
                self.put_if_possible(&found, slot, &count).await;
            }
            return Ok(attempt.repeated(is_right));
        }
        let recorded = timeout(PATIENCE, self.record(attempt, &client, is_right)).await;
        let (verdict, sweep) = recorded.unwrap_or_else(|_| {
            Err(Error::new(Kind::Busy, format!("a count was not stored within {} s", PATIENCE.as_secs())))
        })?;
        if sweep && let Err(error) = self.store.upkeep(&self.bucket, Task::PurgeExpired).await {
            // It is tried again with the next count.
            tracing::debug!("removing counts that have expired: {error}");
        }
        Ok(verdict)
    }

    /// Stores a count that this request does not depend on.
    async fn put_if_possible(&self, found: &Found, slot: Slot<'_>, count: &Count) {
        if let Err(error) = self.put(found, slot, count).await {
            tracing::debug!("a count was not stored: {error}");
        }
    }

    /// Stores what a secret was that the client has not sent before, and only then tells; also whether it is time to
    /// remove what has expired.
    async fn record(&self, attempt: &Attempt<'_>, client: &Client, is_right: bool) -> Result<(Verdict, bool)> {
        let _turn = self.turn(client).lock().await;
        for _ in 0..ATTEMPTS {
            let found = self.look(client).await?;
            let now = self.clock.now();
            let known = found.slot(client).count();
            if let Some(seconds) = known.pause(now) {
                return Ok((Verdict::Paused { seconds }, false));
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
                let verdict = if is_right { Verdict::Pass } else { attempt.counted(&next, now) };
                return Ok((verdict, !found.is_swept));
            }
        }
        Err(Error::new(Kind::Busy, "too many others store counts"))
    }

    fn turn(&self, client: &Client) -> &tokio::sync::Mutex<()> {
        let [first, rest @ ..] = &self.turns;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&client.key);
        usize::try_from(hash % TURNS as u64).ok().and_then(|n| rest.get(n)).unwrap_or(first)
    }

    async fn look(&self, client: &Client) -> Result<Found> {
        let keys = [&self.key, &self.swept, &client.key, &client.range].map(Key::clone);
        let mut entries = self.store.get(&self.bucket, &keys).await?.entries.into_iter();
        let mut next = || entries.next().flatten();
        let (stored_key, is_swept, own, range) = (next(), next().is_some(), next(), next());
        let key = stored_key.as_ref().and_then(MarkKey::stored).map_or_else(|| MarkKey::new(self.random), Ok)?;
        Ok(Found { key, stored_key, is_swept, own, range })
    }

    /// Stores a count where nothing has changed since it was found; whether that was so.
    async fn put(&self, found: &Found, slot: Slot<'_>, count: &Count) -> Result<bool> {
        let now = self.clock.now();
        let (mut expected, mut writes) = (vec![], vec![]);
        let mut put = |key: &Key, before: Option<&Entry>, value: String, expires: Option<Time>| {
            let condition = before.map_or(Condition::Absent, |e| Condition::RevisionIn(vec![e.revision]));
            expected.push(Expectation { key: key.clone(), condition });
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
        let batch = Batch::of(writes).expecting(expected).untold();
        Ok(matches!(self.store.apply(&self.bucket, batch).await?, Outcome::Committed { .. }))
    }
}

impl Attempt<'_> {
    /// Of secrets that were judged before.
    fn repeated(&self, is_right: bool) -> Verdict {
        if is_right {
            return Verdict::Pass;
        }
        tracing::debug!("the same wrong secret again from {}", self.sender());
        Verdict::Wrong
    }

    /// Of a wrong secret that has just been counted.
    fn counted(&self, count: &Count, now: Time) -> Verdict {
        let pause = count.pause(now);
        let then = pause.map_or(String::new(), |seconds| format!("; paused for {seconds} s"));
        tracing::warn!("wrong secret from {}, number {}{then}", self.sender(), count.wrong());
        match pause {
            Some(seconds) if count.wrong() > FREE => Verdict::Paused { seconds },
            _ => Verdict::Wrong,
        }
    }

    fn sender(&self) -> String {
        self.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_canonical().to_string())
    }
}

#[cfg(test)]
mod tests;
