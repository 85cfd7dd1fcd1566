//! Tests of the rate limit with several processes, a store that yields in each call, and a clock that is set by hand.

use super::*;
use crate::model::{Page, Projection, Revision, Scan, Snapshot};
use crate::store::suite::TestClock;
use crate::store::{Blobs, Changes, Limits, Logs, Report};
use async_trait::async_trait;
use bytes::Bytes;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::yield_now;

/// A store that lets other tasks run before and after each call, as a store on a disk does.
struct YieldingStore {
    inner: MemoryStore,
    commits: AtomicUsize,
    sweeps: AtomicUsize,
    is_down: AtomicBool,
    failed_reads: AtomicUsize,
}

impl YieldingStore {
    fn new(clock: &Arc<TestClock>) -> Self {
        let inner = MemoryStore::new(Arc::clone(clock) as _, Limits::default());
        Self {
            inner,
            commits: AtomicUsize::default(),
            sweeps: AtomicUsize::default(),
            is_down: AtomicBool::default(),
            failed_reads: AtomicUsize::default(),
        }
    }

    /// The number of batches that were committed.
    fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    async fn bucket(&self) -> Bucket {
        let [bucket] = self.inner.buckets().await.unwrap().try_into().unwrap();
        bucket
    }

    /// The number of entries that have not expired.
    async fn live_entries(&self) -> u64 {
        let count = Scan { projection: Projection::Count, ..Scan::default() };
        self.inner.scan(&self.bucket().await, count).await.unwrap().count.unwrap()
    }

    /// The number of entries, including expired ones that were not removed before. Removes the expired ones.
    async fn all_entries(&self) -> u64 {
        let report = self.inner.maintain(&self.bucket().await, Task::RemoveExpired).await.unwrap();
        report.entries + report.removed
    }
}

#[async_trait]
impl Store for YieldingStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        yield_now().await;
        if self.is_down.load(Ordering::Relaxed) {
            self.failed_reads.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::Busy, "down"));
        }
        let snapshot = self.inner.get(bucket, keys).await;
        yield_now().await;
        snapshot
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        yield_now().await;
        let outcome = self.inner.apply(bucket, batch).await;
        if matches!(outcome, Ok(Outcome::Committed { .. })) {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        // Longer than a `get` takes, so that other tasks see the write before the writer returns.
        for _ in 0..3 {
            yield_now().await;
        }
        outcome
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        yield_now().await;
        self.inner.scan(bucket, query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        self.inner.maintain(bucket, task).await
    }

    fn changes(&self) -> Option<&dyn Changes> {
        self.inner.changes()
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.inner.logs()
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        self.inner.blobs()
    }
}

fn test_clock() -> Arc<TestClock> {
    let clock = TestClock::default();
    clock.set(Time::from_secs(1_000_000));
    Arc::new(clock)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn paused(seconds: u64) -> AttemptOutcome {
    AttemptOutcome::Paused { seconds }
}

const RIGHT: &str = "right";

impl RateLimiter {
    async fn try_attempt(&self, address: impl Into<Option<IpAddr>>, secret: &str) -> Result<AttemptOutcome> {
        let secrets = if secret.is_empty() { vec![] } else { vec![secret.as_bytes().to_vec()] };
        let attempt = SecretAttempt { address: address.into(), secrets: &secrets };
        self.check(&attempt, || secret.is_empty() || secret == RIGHT).await
    }

    async fn attempt(&self, address: impl Into<Option<IpAddr>>, secret: &str) -> AttemptOutcome {
        self.try_attempt(address, secret).await.unwrap()
    }

    async fn count(&self, address: IpAddr) -> Count {
        let client = ClientId::new(Some(address)).unwrap();
        let found = self.fetch(&client).await.unwrap();
        found.slot(&client).count()
    }
}

fn rate_limiter(store: &Arc<YieldingStore>, clock: &Arc<TestClock>) -> RateLimiter {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    RateLimiter::new(store, Arc::clone(clock) as _, |key| {
        key.fill(7);
        Ok(())
    })
}

fn processes<const N: usize>(clock: &Arc<TestClock>) -> [RateLimiter; N] {
    let store = Arc::new(YieldingStore::new(clock));
    [(); N].map(|()| rate_limiter(&store, clock))
}

#[tokio::test]
async fn pause_doubles_over_all_processes_and_ends_after_a_quiet_time() {
    let clock = test_clock();
    let [a, b] = processes(&clock);
    for (n, rate_limiter) in [&a, &b, &a, &b, &a].into_iter().enumerate() {
        assert_eq!(rate_limiter.attempt(address(1), &format!("guess {n}")).await, AttemptOutcome::Wrong);
    }
    for rate_limiter in [&a, &b] {
        let secrets = [RIGHT.as_bytes().to_vec()];
        let attempt = SecretAttempt { address: Some(address(1)), secrets: &secrets };
        let result = rate_limiter.check(&attempt, || panic!("the secret was checked during a pause")).await;
        assert_eq!(result.unwrap(), paused(1));
        assert_eq!(rate_limiter.attempt(address(1), "").await, paused(1));
        assert_eq!(rate_limiter.attempt(address(2), RIGHT).await, AttemptOutcome::Pass);
    }
    for (turn, seconds) in [2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        clock.advance(Duration::from_secs(60));
        let rate_limiter = if turn % 2 == 0 { &b } else { &a };
        assert_eq!(rate_limiter.attempt(address(1), &format!("more {turn}")).await, paused(seconds));
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(b.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
    clock.advance(Duration::from_secs(15 * 60));
    for (n, rate_limiter) in [&b, &a, &b, &a, &b].into_iter().enumerate() {
        assert_eq!(rate_limiter.attempt(address(1), &format!("later {n}")).await, AttemptOutcome::Wrong);
    }
    assert_eq!(a.attempt(address(1), RIGHT).await, paused(1));
}

#[tokio::test]
async fn parallel_guesses_get_the_same_responses_as_sequential_ones() {
    // The right secret has another position each time; there are one process, two, and one for each guess.
    for (right, some) in [0, 3, 6, 20, 39].into_iter().flat_map(|right| [1, 2, 40].map(|some| (right, some))) {
        let all = processes::<40>(&test_clock());
        let guesses = (0..40).map(|n| {
            let secret = if n == right { RIGHT.to_owned() } else { format!("guess {n}") };
            let rate_limiter = &all[n % some];
            async move { rate_limiter.attempt(address(1), &secret).await }
        });
        let outcomes = futures_util::future::join_all(guesses).await;
        assert_eq!(outcomes.iter().filter(|v| **v == AttemptOutcome::Wrong).count(), 5, "{right} {some}");
        let passed = outcomes[right] == AttemptOutcome::Pass;
        assert!(passed || outcomes[right] == paused(1), "{:?}", outcomes[right]);
        assert!(
            outcomes
                .iter()
                .enumerate()
                .all(|(n, v)| n == right || matches!(v, AttemptOutcome::Wrong | AttemptOutcome::Paused { .. }))
        );
        assert_eq!(all[0].count(address(1)).await.wrong(), 5);
        if some == 1 {
            assert_eq!(passed, right < 5, "one process answers them in their order");
        }
    }
}

#[tokio::test]
async fn counts_of_several_processes_add_up() {
    for (apart, by) in (0..8).flat_map(|apart| [[0; 4], [0, 1, 0, 1], [0, 1, 2, 3]].map(|by| (apart, by))) {
        let some = processes::<4>(&test_clock());
        let guesses = (0..).zip(by).map(async |(turn, process): (usize, usize)| {
            for _ in 0..turn * apart {
                tokio::task::yield_now().await;
            }
            some[process].attempt(address(1), &format!("guess {turn}")).await
        });
        assert_eq!(futures_util::future::join_all(guesses).await, [AttemptOutcome::Wrong; 4]);
        assert_eq!(some[0].count(address(1)).await.wrong(), 4, "{apart} {by:?}");
    }
}

#[tokio::test]
async fn repeated_wrong_secret_is_one_guess_in_all_processes() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    for turn in 0..40 {
        // As under CGI: a process for each request. Four devices with outdated secrets, and one with the right one.
        for device in 0..4 {
            assert_eq!(
                rate_limiter(&store, &clock).attempt(address(1), &format!("old {device}")).await,
                AttemptOutcome::Wrong,
                "{turn}"
            );
        }
        assert_eq!(rate_limiter(&store, &clock).attempt(address(1), RIGHT).await, AttemptOutcome::Pass, "{turn}");
        clock.advance(Duration::from_secs(1));
    }
    let one = rate_limiter(&store, &clock);
    assert_eq!(one.count(address(1)).await.wrong(), 4);
    assert_eq!(one.attempt(address(1), "a guess").await, AttemptOutcome::Wrong);
    assert_eq!(one.attempt(address(1), RIGHT).await, paused(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!(one.attempt(address(1), "a guess").await, AttemptOutcome::Wrong);
    assert_eq!(one.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
}

#[tokio::test]
async fn right_secret_is_written_once_and_then_only_read() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    for _ in 0..50 {
        assert_eq!(rate_limiter(&store, &clock).attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
        clock.advance(Duration::from_secs(60));
    }
    assert_eq!(store.commits(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_counts_cannot_be_read_only_accepted_secrets_are_right() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    let (used, unused) = (rate_limiter(&store, &clock), rate_limiter(&store, &clock));
    assert_eq!(used.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
    assert_eq!(used.attempt(address(1), "wrong").await, AttemptOutcome::Wrong);
    store.is_down.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        assert_eq!(used.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
        for (process, client, secret) in [(&used, 1, "wrong"), (&used, 2, RIGHT), (&unused, 1, RIGHT)] {
            assert!(process.try_attempt(address(client), secret).await.is_err(), "{client} {secret}");
        }
    }
    assert_eq!(store.failed_reads.load(Ordering::Relaxed), 2, "one for each process within a second");
    store.is_down.store(false, Ordering::Relaxed);
    assert!(used.try_attempt(address(2), RIGHT).await.is_err());
    tokio::time::advance(UNREADABLE_FOR).await;
    assert_eq!(used.attempt(address(2), RIGHT).await, AttemptOutcome::Pass);
    assert_eq!(used.attempt(address(1), "wrong").await, AttemptOutcome::Wrong);
}

#[tokio::test]
async fn right_secret_in_use_does_not_expire() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    for _ in 0..100 {
        assert_eq!(rate_limiter(&store, &clock).attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
        clock.advance(Duration::from_secs(60 * 60));
    }
    // Once, and again after each half day.
    assert!((8..=10).contains(&store.commits()), "{} commits", store.commits());
    let count = rate_limiter(&store, &clock).count(address(1)).await;
    assert!(count != Count::default());
}

#[tokio::test]
async fn setting_the_clock_back_does_not_end_a_pause() {
    let clock = test_clock();
    let [a, b] = processes(&clock);
    for n in 0..9 {
        clock.advance(Duration::from_secs(60));
        a.attempt(address(1), &format!("guess {n}")).await;
    }
    clock.set(Time::from_secs(900_000));
    assert_eq!(b.attempt(address(1), "another").await, paused(16));
    clock.set(Time::from_secs(900_015));
    assert_eq!(a.attempt(address(1), RIGHT).await, paused(1));
    clock.set(Time::from_secs(900_016));
    assert_eq!(a.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
    assert_eq!(b.attempt(address(1), "another").await, paused(32));
}

#[tokio::test]
async fn ipv6_network_is_one_client() {
    let [a] = processes(&test_clock());
    let host = |n: u64| -> IpAddr { format!("2001:db8:0:1::{n:x}").parse().unwrap() };
    for n in 0..1600 {
        let attempted = a.attempt(host(n), &format!("guess {n}")).await;
        assert_eq!(attempted == AttemptOutcome::Wrong, n < 5, "{n} {attempted:?}");
    }
    let neighbour: IpAddr = "2001:db8:0:2::1".parse().unwrap();
    assert_eq!(a.attempt(neighbour, RIGHT).await, AttemptOutcome::Pass);
}

#[tokio::test]
async fn unknown_addresses_share_a_count_and_mapped_ones_are_the_same() {
    let [a] = processes(&test_clock());
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    for (n, address) in [mapped, address(1), mapped, address(1), address(1)].into_iter().enumerate() {
        assert_eq!(a.attempt(address, &format!("guess {n}")).await, AttemptOutcome::Wrong);
    }
    assert_eq!(a.attempt(mapped, RIGHT).await, paused(1));
    assert_eq!(a.attempt(None, RIGHT).await, AttemptOutcome::Pass);
    for n in 0..5 {
        assert_eq!(a.attempt(None, &format!("guess {n}")).await, AttemptOutcome::Wrong);
    }
    assert_eq!(a.attempt(None, RIGHT).await, paused(1));
}

#[tokio::test]
async fn many_addresses_do_not_fill_the_store() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    let a = rate_limiter(&store, &clock);
    let max_clients = u32::try_from(client_limit::MAX_CLIENTS).unwrap();
    assert_eq!(a.attempt(address(1), RIGHT).await, AttemptOutcome::Pass);
    let mut checked = 0;
    for n in 0..max_clients + 2000 {
        checked += u32::from(
            a.attempt(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)), &format!("guess {n}")).await
                == AttemptOutcome::Wrong,
        );
        if n % 1000 == 0 {
            clock.advance(Duration::from_secs(1));
        }
    }
    let live = store.live_entries().await;
    assert!(live <= client_limit::MAX_CLIENTS as u64 + 3, "{live}");
    // Once there is no more room, all new clients in 10.0.0.0/8 share one count.
    assert!(checked > max_clients - 10 && checked <= max_clients + 5, "{checked}");
    assert_eq!(a.attempt(address(1), RIGHT).await, AttemptOutcome::Pass, "a known client is not slowed down");
    assert_eq!(
        a.attempt(IpAddr::from([11, 0, 0, 1]), RIGHT).await,
        AttemptOutcome::Pass,
        "nor a client from another network"
    );
    clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(a.attempt(IpAddr::from([10, 99, 0, 1]), "a new guess").await, AttemptOutcome::Wrong);
    let all = store.all_entries().await;
    assert!(all < 10, "expired counts are removed, not only hidden: {all}");
}

#[tokio::test]
async fn expired_counts_are_removed_once_in_a_quarter_of_an_hour() {
    let clock = test_clock();
    let store = Arc::new(YieldingStore::new(&clock));
    let [a, b] = [(); 2].map(|()| rate_limiter(&store, &clock));
    for (minutes, sweeps) in [(0, 1), (14, 1), (16, 2), (30, 2), (32, 3)] {
        clock.set(Time::from_secs(1_000_000 + minutes * 60));
        for (n, rate_limiter) in [(1, &a), (2, &b)] {
            rate_limiter.attempt(address(n), &format!("guess {minutes}")).await;
        }
        assert_eq!(store.sweeps.load(Ordering::Relaxed), sweeps, "after {minutes} minutes");
    }
}
