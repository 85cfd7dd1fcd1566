//! Slows down who guesses: wrong secrets are counted by address, in the store itself, so that every process counts on.
//!
//! Five wrong ones are answered; from the fifth on the address is paused, for a second at first and twice as long for each
//! further one, up to a minute. Fifteen quiet minutes and all is forgotten. A count is valid in this process before it is
//! stored, so that a thousand guesses sent at once find no gap; and if the store fails, this process counts on alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{
    Batch, Bucket, Clock, Condition, ContentType, Entry, Error, Expectation, Key, Kind, Outcome, Result, Time, Write,
};
use crate::store::Store;

/// Wrong secrets that are answered without a pause before them.
const FREE: u32 = 5;
/// The longest pause, in seconds.
const LONGEST: u64 = 60;
/// After this time without a wrong secret an address is forgotten.
const QUIET: Duration = Duration::from_secs(15 * 60);
/// Addresses remembered in this process; beyond it those that are in the store are dropped.
const MOST: usize = 10_000;
/// Attempts to store a count while other processes store theirs.
const ATTEMPTS: usize = 100;

/// Whether a request may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may.
    Pass,
    /// Its secret is wrong; it was counted.
    Wrong,
    /// Its address is paused. Its secret was not looked at, or was wrong again.
    Paused {
        /// For so many more seconds.
        seconds: u64,
    },
}

pub(crate) struct Throttle {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    bucket: Bucket,
    known: Mutex<HashMap<Key, Known>>,
    /// One count is stored at a time, so that counts of this process do not race each other.
    recording: tokio::sync::Mutex<()>,
}

/// What this process knows of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The count in the store, as far as we know.
    stored: u32,
    /// Wrong secrets that are not in the store yet.
    unstored: u32,
    until: Time,
    last: Time,
}

impl Known {
    fn wrong(&self) -> u32 {
        self.stored.saturating_add(self.unstored)
    }

    /// Seconds left of the pause, rounded up. An end further off than any pause is from before the clock was set back.
    fn pause(&self, now: Time) -> Option<u64> {
        let left = self.until.since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        (self.wrong() >= FREE && (1..=LONGEST).contains(&seconds)).then_some(seconds)
    }
}

impl Throttle {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        #[expect(clippy::expect_used, reason = "the name is constant, and a test makes one")]
        let bucket = Bucket::new("_kvs.throttle").expect("a good name");
        Self { store, clock, bucket, known: Mutex::default(), recording: tokio::sync::Mutex::default() }
    }

    /// Judges a request from this address; `is_right` tells whether its secret is not wrong, and is not asked while the
    /// address is paused.
    pub(crate) async fn judge(&self, address: Option<IpAddr>, is_right: impl FnOnce() -> bool + Send) -> Verdict {
        let key = match key(address) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!("throttle: {error}");
                return if is_right() { Verdict::Pass } else { Verdict::Wrong };
            }
        };
        match self.stored(&key).await {
            Ok((state, _)) => self.learn(&key, state),
            Err(error) => tracing::error!("reading the count of wrong secrets: {error}"),
        }
        let verdict = self.judge_now(&key, is_right);
        let counted = matches!(verdict, (_, true));
        if counted && let Err(error) = self.record(&key).await {
            tracing::error!("storing the count of wrong secrets: {error}");
        }
        verdict.0
    }

    /// The judgement, and whether a wrong secret was counted. Without a wait in it, so that no guess slips in between.
    fn judge_now(&self, key: &Key, is_right: impl FnOnce() -> bool) -> (Verdict, bool) {
        let mut known = self.known.lock();
        let now = self.clock.now();
        if let Some(seconds) = known.get(key).filter(|k| is_remembered(k, now)).and_then(|k| k.pause(now)) {
            return (Verdict::Paused { seconds }, false);
        }
        if is_right() {
            return (Verdict::Pass, false);
        }
        let this = known_of(&mut known, key, now);
        this.unstored += 1;
        this.last = now;
        if this.wrong() < FREE {
            return (Verdict::Wrong, true);
        }
        let seconds = pause_after(this.wrong());
        this.until = now.plus(Duration::from_secs(seconds));
        let verdict = if this.wrong() == FREE { Verdict::Wrong } else { Verdict::Paused { seconds } };
        (verdict, true)
    }

    /// Takes in what the store says.
    fn learn(&self, key: &Key, stored: Option<Stored>) {
        let Some(stored) = stored else { return };
        let mut known = self.known.lock();
        let this = known_of(&mut known, key, self.clock.now());
        this.stored = this.stored.max(stored.wrong);
        this.until = this.until.max(stored.until);
        this.last = this.last.max(stored.last);
    }

    /// Adds to the store what has been counted here.
    async fn record(&self, key: &Key) -> Result<()> {
        let _turn = self.recording.lock().await;
        for _ in 0..ATTEMPTS {
            let (before, entry) = self.stored(key).await?;
            // Read under the turn: nobody else takes from it meanwhile.
            let Some(mine) = self.known.lock().get(key).copied() else { return Ok(()) };
            if mine.unstored == 0 {
                return Ok(());
            }
            let before = before.unwrap_or_default();
            let wrong = before.wrong.saturating_add(mine.unstored);
            let mut until = mine.until.max(before.until);
            if wrong >= FREE {
                until = until.max(mine.last.plus(Duration::from_secs(pause_after(wrong))));
            }
            let condition = entry.map_or(Condition::Absent, |e| Condition::RevisionIn(vec![e.revision]));
            let write = Write::Put {
                key: key.clone(),
                value: format!("wrong={wrong} until={until}").into(),
                content_type: ContentType::default(),
                expires: Some(mine.last.plus(QUIET)),
                modified: None,
            };
            let expected = vec![Expectation { key: key.clone(), condition }];
            let batch = Batch::of(vec![write]).expecting(expected).untold();
            if let Outcome::Committed { .. } = self.store.apply(&self.bucket, batch).await? {
                if let Some(this) = self.known.lock().get_mut(key) {
                    this.stored = wrong;
                    this.unstored = this.unstored.saturating_sub(mine.unstored);
                    this.until = this.until.max(until);
                }
                return Ok(());
            }
        }
        Err(Error::new(Kind::Busy, "too many others store counts"))
    }

    async fn stored(&self, key: &Key) -> Result<(Option<Stored>, Option<Entry>)> {
        let entry = self.store.get(&self.bucket, std::slice::from_ref(key)).await?.entries.into_iter().next().flatten();
        Ok((entry.as_ref().map(Stored::new), entry))
    }
}

/// What the store holds of an address: `wrong=5 until=2026-11-20T12:00:01Z`.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    wrong: u32,
    until: Time,
    last: Time,
}

impl Stored {
    /// What is not understood counts as nothing: a person may have edited it.
    fn new(entry: &Entry) -> Self {
        let text = String::from_utf8_lossy(&entry.value);
        let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name));
        Self {
            wrong: field("wrong=").and_then(|t| t.parse().ok()).unwrap_or(0),
            until: field("until=").and_then(|t| t.parse().ok()).unwrap_or_default(),
            last: entry.updated(),
        }
    }
}

/// The pause that the wrong secret of this number begins, in seconds.
fn pause_after(wrong: u32) -> u64 {
    1_u64.checked_shl(wrong.saturating_sub(FREE)).unwrap_or(LONGEST).clamp(1, LONGEST)
}

/// What is known of an address, to be added to. A new one is found room for, also if it is only learnt from the store.
fn known_of<'a>(known: &'a mut HashMap<Key, Known>, key: &Key, now: Time) -> &'a mut Known {
    if known.len() >= MOST && !known.contains_key(key) {
        known.retain(|_, k| is_remembered(k, now));
        if known.len() >= MOST {
            known.retain(|_, k| k.unstored > 0);
        }
        if known.len() >= MOST {
            // Only while the store fails: better to forget than to grow without end.
            known.clear();
        }
    }
    let this = known.entry(key.clone()).or_default();
    if !is_remembered(this, now) {
        *this = Known::default();
    }
    this
}

fn is_remembered(known: &Known, now: Time) -> bool {
    known.wrong() > 0 && now.since(known.last) < QUIET
}

/// The entry of an address; all that are not known share one. An IPv4 address written as IPv6 is the same address.
fn key(address: Option<IpAddr>) -> Result<Key> {
    Key::new(&address.map_or_else(|| "unknown".to_owned(), |a| a.to_canonical().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::yielding_store::YieldingStore;
    use std::net::Ipv4Addr;

    /// Stands still until it is told to move.
    #[derive(Clone)]
    struct HandClock(Arc<Mutex<Time>>);

    impl HandClock {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(Time::from_secs(1_000_000))))
        }

        fn move_on(&self, seconds: u64) {
            let mut now = self.0.lock();
            *now = now.plus(Duration::from_secs(seconds));
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Time {
            *self.0.lock()
        }
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn paused(seconds: u64) -> Verdict {
        Verdict::Paused { seconds }
    }

    fn processes<const N: usize>(clock: &HandClock) -> [Throttle; N] {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let store: Arc<dyn Store> = Arc::new(YieldingStore::new(Arc::clone(&clock)));
        [(); N].map(|()| Throttle::new(Arc::clone(&store), Arc::clone(&clock)))
    }

    #[tokio::test]
    async fn the_pause_doubles_over_processes_and_is_forgotten() {
        let clock = HandClock::new();
        let [a, b] = processes(&clock);
        for throttle in [&a, &b, &a, &b, &a] {
            assert_eq!(throttle.judge(Some(address(1)), || false).await, Verdict::Wrong);
        }
        for throttle in [&a, &b] {
            let looked = throttle.judge(Some(address(1)), || panic!("the secret is not looked at")).await;
            assert_eq!(looked, paused(1));
            assert_eq!(throttle.judge(Some(address(2)), || true).await, Verdict::Pass);
        }
        for (turn, seconds) in [2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            clock.move_on(60);
            let throttle = if turn % 2 == 0 { &b } else { &a };
            assert_eq!(throttle.judge(Some(address(1)), || false).await, paused(seconds));
        }
        clock.move_on(60);
        assert_eq!(b.judge(Some(address(1)), || true).await, Verdict::Pass);
        clock.move_on(15 * 60);
        for throttle in [&b, &a, &b, &a, &b] {
            assert_eq!(throttle.judge(Some(address(1)), || false).await, Verdict::Wrong);
        }
        assert_eq!(a.judge(Some(address(1)), || true).await, paused(1));
    }

    #[tokio::test]
    async fn guesses_sent_at_once_find_no_gap() {
        let clock = HandClock::new();
        let [a] = processes(&clock);
        let looked = Mutex::new(0);
        let guess = || {
            *looked.lock() += 1;
            false
        };
        let verdicts = futures_util::future::join_all((0..200).map(|_| a.judge(Some(address(1)), guess))).await;
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Wrong).count(), 5);
        assert_eq!(*looked.lock(), 5);
        let (stored, _) = a.stored(&key(Some(address(1))).unwrap()).await.unwrap();
        assert_eq!(stored.unwrap().wrong, 5);
    }

    #[tokio::test]
    async fn counts_add_up_however_they_meet() {
        let address = Some(address(1));
        for (apart, by) in (0..8).flat_map(|apart| [[0; 4], [0, 1, 0, 1], [0, 1, 2, 3]].map(|by| (apart, by))) {
            let some = processes::<4>(&HandClock::new());
            let guesses = (0..).zip(by).map(async |(turn, process): (usize, usize)| {
                for _ in 0..turn * apart {
                    tokio::task::yield_now().await;
                }
                some[process].judge(address, || false).await
            });
            assert_eq!(futures_util::future::join_all(guesses).await, [Verdict::Wrong; 4]);
            let (stored, _) = some[0].stored(&key(address).unwrap()).await.unwrap();
            assert_eq!(stored.unwrap().wrong, 4, "{apart} {by:?}");
            assert!(some.iter().all(|process| process.known.lock().values().all(|k| k.unstored == 0)));
        }
    }

    #[tokio::test]
    async fn unknown_addresses_share_and_mapped_ones_are_the_same() {
        let clock = HandClock::new();
        let [a] = processes(&clock);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for address in [Some(mapped), Some(address(1)), Some(mapped), Some(address(1)), Some(address(1))] {
            assert_eq!(a.judge(address, || false).await, Verdict::Wrong);
        }
        assert_eq!(a.judge(Some(mapped), || true).await, paused(1));
        assert_eq!(a.judge(None, || true).await, Verdict::Pass);
        for _ in 0..5 {
            assert_eq!(a.judge(None, || false).await, Verdict::Wrong);
        }
        assert_eq!(a.judge(None, || true).await, paused(1));
    }

    #[tokio::test]
    async fn no_number_of_addresses_fills_the_memory() {
        let [a, b] = processes(&HandClock::new());
        let addresses = || (0..=u32::try_from(MOST).unwrap()).map(|n| Some(Ipv4Addr::from(n).into()));
        for address in addresses() {
            assert_eq!(a.judge(address, || false).await, Verdict::Wrong);
        }
        // What is learnt from the store takes room as well.
        for address in addresses() {
            assert_eq!(b.judge(address, || true).await, Verdict::Pass);
        }
        assert!(a.known.lock().len() <= MOST && b.known.lock().len() <= MOST);
    }

    #[test]
    fn a_clock_set_back_pauses_nobody_for_hours() {
        let known = Known { stored: 9, until: Time::from_secs(10_000), ..Known::default() };
        assert_eq!(known.pause(Time::from_secs(9_999)), Some(1));
        assert_eq!(known.pause(Time::from_secs(5_000)), None);
        assert_eq!(known.pause(Time::from_secs(10_000)), None);
    }
}
