//! Tests of the rate limit with several processes, a store that yields in each call, and a clock that is set by hand.

use super::yielding_store::YieldingStore;
use super::*;
use parking_lot::Mutex;
use std::net::Ipv4Addr;

/// A clock that only moves when a test moves it.
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

    fn set(&self, seconds: i64) {
        *self.0.lock() = Time::from_secs(seconds);
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

fn paused(seconds: u64) -> Attempted {
    Attempted::Paused { seconds }
}

const RIGHT: &str = "right";

impl RateLimiter {
    async fn attempt(&self, address: impl Into<Option<IpAddr>>, secret: &str) -> Attempted {
        let secrets = if secret.is_empty() { vec![] } else { vec![secret.as_bytes().to_vec()] };
        let attempt = SecretAttempt { address: address.into(), secrets: &secrets };
        self.check(&attempt, || secret.is_empty() || secret == RIGHT).await.unwrap()
    }

    async fn count(&self, address: IpAddr) -> Count {
        let client = ClientId::new(Some(address)).unwrap();
        let found = self.fetch(&client).await.unwrap();
        found.slot(&client).count()
    }
}

fn over(store: &Arc<YieldingStore>, clock: &HandClock) -> RateLimiter {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    RateLimiter::new(store, Arc::new(clock.clone()), |key| {
        key.fill(7);
        Ok(())
    })
}

fn processes<const N: usize>(clock: &HandClock) -> [RateLimiter; N] {
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    [(); N].map(|()| over(&store, clock))
}

#[tokio::test]
async fn pause_doubles_over_all_processes_and_ends_after_a_quiet_time() {
    let clock = HandClock::new();
    let [a, b] = processes(&clock);
    for (n, rate_limiter) in [&a, &b, &a, &b, &a].into_iter().enumerate() {
        assert_eq!(rate_limiter.attempt(address(1), &format!("guess {n}")).await, Attempted::Wrong);
    }
    for rate_limiter in [&a, &b] {
        let secrets = [RIGHT.as_bytes().to_vec()];
        let attempt = SecretAttempt { address: Some(address(1)), secrets: &secrets };
        let result = rate_limiter.check(&attempt, || panic!("the secret was checked during a pause")).await;
        assert_eq!(result.unwrap(), paused(1));
        assert_eq!(rate_limiter.attempt(address(1), "").await, paused(1));
        assert_eq!(rate_limiter.attempt(address(2), RIGHT).await, Attempted::Pass);
    }
    for (turn, seconds) in [2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        clock.move_on(60);
        let rate_limiter = if turn % 2 == 0 { &b } else { &a };
        assert_eq!(rate_limiter.attempt(address(1), &format!("more {turn}")).await, paused(seconds));
    }
    clock.move_on(60);
    assert_eq!(b.attempt(address(1), RIGHT).await, Attempted::Pass);
    clock.move_on(15 * 60);
    for (n, rate_limiter) in [&b, &a, &b, &a, &b].into_iter().enumerate() {
        assert_eq!(rate_limiter.attempt(address(1), &format!("later {n}")).await, Attempted::Wrong);
    }
    assert_eq!(a.attempt(address(1), RIGHT).await, paused(1));
}

#[tokio::test]
async fn parallel_guesses_get_the_same_responses_as_sequential_ones() {
    // The right secret has another position each time; there are one process, two, and one for each guess.
    for (right, some) in [0, 3, 6, 20, 39].into_iter().flat_map(|right| [1, 2, 40].map(|some| (right, some))) {
        let all = processes::<40>(&HandClock::new());
        let guesses = (0..40).map(|n| {
            let secret = if n == right { RIGHT.to_owned() } else { format!("guess {n}") };
            let rate_limiter = &all[n % some];
            async move { rate_limiter.attempt(address(1), &secret).await }
        });
        let outcomes = futures_util::future::join_all(guesses).await;
        assert_eq!(outcomes.iter().filter(|v| **v == Attempted::Wrong).count(), 5, "{right} {some}");
        let passed = outcomes[right] == Attempted::Pass;
        assert!(passed || outcomes[right] == paused(1), "{:?}", outcomes[right]);
        assert!(
            outcomes
                .iter()
                .enumerate()
                .all(|(n, v)| n == right || matches!(v, Attempted::Wrong | Attempted::Paused { .. }))
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
        let some = processes::<4>(&HandClock::new());
        let guesses = (0..).zip(by).map(async |(turn, process): (usize, usize)| {
            for _ in 0..turn * apart {
                tokio::task::yield_now().await;
            }
            some[process].attempt(address(1), &format!("guess {turn}")).await
        });
        assert_eq!(futures_util::future::join_all(guesses).await, [Attempted::Wrong; 4]);
        assert_eq!(some[0].count(address(1)).await.wrong(), 4, "{apart} {by:?}");
    }
}

#[tokio::test]
async fn the_same_wrong_secret_is_one_guess_in_all_processes() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for turn in 0..40 {
        // As under CGI: a process for each request. Four devices with outdated secrets, and one with the right one.
        for device in 0..4 {
            assert_eq!(
                over(&store, &clock).attempt(address(1), &format!("old {device}")).await,
                Attempted::Wrong,
                "{turn}"
            );
        }
        assert_eq!(over(&store, &clock).attempt(address(1), RIGHT).await, Attempted::Pass, "{turn}");
        clock.move_on(1);
    }
    let one = over(&store, &clock);
    assert_eq!(one.count(address(1)).await.wrong(), 4);
    assert_eq!(one.attempt(address(1), "a guess").await, Attempted::Wrong);
    assert_eq!(one.attempt(address(1), RIGHT).await, paused(1));
    clock.move_on(1);
    assert_eq!(one.attempt(address(1), "a guess").await, Attempted::Wrong);
    assert_eq!(one.attempt(address(1), RIGHT).await, Attempted::Pass);
}

#[tokio::test]
async fn right_secret_is_written_once_and_then_only_read() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for _ in 0..50 {
        assert_eq!(over(&store, &clock).attempt(address(1), RIGHT).await, Attempted::Pass);
        clock.move_on(60);
    }
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn right_secret_in_use_is_not_forgotten() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for _ in 0..100 {
        assert_eq!(over(&store, &clock).attempt(address(1), RIGHT).await, Attempted::Pass);
        clock.move_on(60 * 60);
    }
    // Once, and again after each half day.
    assert!((8..=10).contains(&store.commits()), "{} commits", store.commits());
    let count = over(&store, &clock).count(address(1)).await;
    assert!(count != Count::default());
}

#[tokio::test]
async fn setting_the_clock_back_does_not_end_a_pause() {
    let clock = HandClock::new();
    let [a, b] = processes(&clock);
    for n in 0..9 {
        clock.move_on(60);
        a.attempt(address(1), &format!("guess {n}")).await;
    }
    clock.set(900_000);
    assert_eq!(b.attempt(address(1), "another").await, paused(16));
    clock.set(900_015);
    assert_eq!(a.attempt(address(1), RIGHT).await, paused(1));
    clock.set(900_016);
    assert_eq!(a.attempt(address(1), RIGHT).await, Attempted::Pass);
    assert_eq!(b.attempt(address(1), "another").await, paused(32));
}

#[tokio::test]
async fn an_ipv6_network_is_one_client() {
    let [a] = processes(&HandClock::new());
    let host = |n: u64| -> IpAddr { format!("2001:db8:0:1::{n:x}").parse().unwrap() };
    for n in 0..1600 {
        let attempted = a.attempt(host(n), &format!("guess {n}")).await;
        assert_eq!(attempted == Attempted::Wrong, n < 5, "{n} {attempted:?}");
    }
    let neighbour: IpAddr = "2001:db8:0:2::1".parse().unwrap();
    assert_eq!(a.attempt(neighbour, RIGHT).await, Attempted::Pass);
}

#[tokio::test]
async fn unknown_addresses_share_a_count_and_mapped_ones_are_the_same() {
    let [a] = processes(&HandClock::new());
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    for (n, address) in [mapped, address(1), mapped, address(1), address(1)].into_iter().enumerate() {
        assert_eq!(a.attempt(address, &format!("guess {n}")).await, Attempted::Wrong);
    }
    assert_eq!(a.attempt(mapped, RIGHT).await, paused(1));
    assert_eq!(a.attempt(None, RIGHT).await, Attempted::Pass);
    for n in 0..5 {
        assert_eq!(a.attempt(None, &format!("guess {n}")).await, Attempted::Wrong);
    }
    assert_eq!(a.attempt(None, RIGHT).await, paused(1));
}

#[tokio::test]
async fn many_addresses_do_not_fill_the_store() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    let a = over(&store, &clock);
    let most = u32::try_from(room::MAX_CLIENTS).unwrap();
    assert_eq!(a.attempt(address(1), RIGHT).await, Attempted::Pass);
    let mut checked = 0;
    for n in 0..most + 2000 {
        checked += u32::from(
            a.attempt(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)), &format!("guess {n}")).await == Attempted::Wrong,
        );
        if n % 1000 == 0 {
            clock.move_on(1);
        }
    }
    assert!(store.len() <= room::MAX_CLIENTS + 3, "{}", store.len());
    // Once there is no more room, all new clients in 10.0.0.0/8 share one count.
    assert!(checked > most - 10 && checked <= most + 5, "{checked}");
    assert_eq!(a.attempt(address(1), RIGHT).await, Attempted::Pass, "a known client is not slowed down");
    assert_eq!(
        a.attempt(IpAddr::from([11, 0, 0, 1]), RIGHT).await,
        Attempted::Pass,
        "nor a client from another network"
    );
    clock.move_on(15 * 60);
    assert_eq!(a.attempt(IpAddr::from([10, 99, 0, 1]), "a new guess").await, Attempted::Wrong);
    assert!(store.kept() < 10, "expired counts are removed, not only hidden: {}", store.kept());
}
