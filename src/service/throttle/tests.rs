//! The throttle over a store that lets others in between, in several processes and on a clock that is moved by hand.

use super::*;
use crate::service::yielding_store::YieldingStore;
use parking_lot::Mutex;
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

fn paused(seconds: u64) -> Verdict {
    Verdict::Paused { seconds }
}

const RIGHT: &str = "right";

impl Throttle {
    async fn ask(&self, address: impl Into<Option<IpAddr>>, secret: &str) -> Verdict {
        let secrets = if secret.is_empty() { vec![] } else { vec![secret.as_bytes().to_vec()] };
        let attempt = Attempt { address: address.into(), secrets: &secrets };
        self.judge(&attempt, || secret.is_empty() || secret == RIGHT).await.unwrap()
    }

    async fn count(&self, address: IpAddr) -> Count {
        let client = Client::new(Some(address)).unwrap();
        let found = self.look(&client).await.unwrap();
        found.slot(&client).count()
    }
}

fn over(store: &Arc<YieldingStore>, clock: &HandClock) -> Throttle {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    Throttle::new(store, Arc::new(clock.clone()), |key| {
        key.fill(7);
        Ok(())
    })
}

fn processes<const N: usize>(clock: &HandClock) -> [Throttle; N] {
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    [(); N].map(|()| over(&store, clock))
}

#[tokio::test]
async fn the_pause_doubles_over_processes_and_is_forgotten() {
    let clock = HandClock::new();
    let [a, b] = processes(&clock);
    for (n, throttle) in [&a, &b, &a, &b, &a].into_iter().enumerate() {
        assert_eq!(throttle.ask(address(1), &format!("guess {n}")).await, Verdict::Wrong);
    }
    for throttle in [&a, &b] {
        let secrets = [RIGHT.as_bytes().to_vec()];
        let attempt = Attempt { address: Some(address(1)), secrets: &secrets };
        let looked = throttle.judge(&attempt, || panic!("the secret is not looked at")).await;
        assert_eq!(looked.unwrap(), paused(1));
        assert_eq!(throttle.ask(address(1), "").await, paused(1));
        assert_eq!(throttle.ask(address(2), RIGHT).await, Verdict::Pass);
    }
    for (turn, seconds) in [2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        clock.move_on(60);
        let throttle = if turn % 2 == 0 { &b } else { &a };
        assert_eq!(throttle.ask(address(1), &format!("more {turn}")).await, paused(seconds));
    }
    clock.move_on(60);
    assert_eq!(b.ask(address(1), RIGHT).await, Verdict::Pass);
    clock.move_on(15 * 60);
    for (n, throttle) in [&b, &a, &b, &a, &b].into_iter().enumerate() {
        assert_eq!(throttle.ask(address(1), &format!("later {n}")).await, Verdict::Wrong);
    }
    assert_eq!(a.ask(address(1), RIGHT).await, paused(1));
}

#[tokio::test]
async fn guesses_sent_at_once_are_answered_as_if_one_after_another() {
    // The right one stands at another place each time, and over one process, two, and one for each guess.
    for (right, some) in [0, 3, 6, 20, 39].into_iter().flat_map(|right| [1, 2, 40].map(|some| (right, some))) {
        let all = processes::<40>(&HandClock::new());
        let guesses = (0..40).map(|n| {
            let secret = if n == right { RIGHT.to_owned() } else { format!("guess {n}") };
            let throttle = &all[n % some];
            async move { throttle.ask(address(1), &secret).await }
        });
        let verdicts = futures_util::future::join_all(guesses).await;
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Wrong).count(), 5, "{right} {some}");
        let passed = verdicts[right] == Verdict::Pass;
        assert!(passed || verdicts[right] == paused(1), "{:?}", verdicts[right]);
        assert!(
            verdicts
                .iter()
                .enumerate()
                .all(|(n, v)| n == right || matches!(v, Verdict::Wrong | Verdict::Paused { .. }))
        );
        assert_eq!(all[0].count(address(1)).await.wrong(), 5);
        if some == 1 {
            assert_eq!(passed, right < 5, "in one process they are answered in their order");
        }
    }
}

#[tokio::test]
async fn counts_add_up_however_they_meet() {
    for (apart, by) in (0..8).flat_map(|apart| [[0; 4], [0, 1, 0, 1], [0, 1, 2, 3]].map(|by| (apart, by))) {
        let some = processes::<4>(&HandClock::new());
        let guesses = (0..).zip(by).map(async |(turn, process): (usize, usize)| {
            for _ in 0..turn * apart {
                tokio::task::yield_now().await;
            }
            some[process].ask(address(1), &format!("guess {turn}")).await
        });
        assert_eq!(futures_util::future::join_all(guesses).await, [Verdict::Wrong; 4]);
        assert_eq!(some[0].count(address(1)).await.wrong(), 4, "{apart} {by:?}");
    }
}

#[tokio::test]
async fn the_same_wrong_secret_is_one_guess_in_every_process() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for turn in 0..40 {
        // As under CGI: a process for each request. Four devices with outdated secrets, and one with the right one.
        for device in 0..4 {
            assert_eq!(over(&store, &clock).ask(address(1), &format!("old {device}")).await, Verdict::Wrong, "{turn}");
        }
        assert_eq!(over(&store, &clock).ask(address(1), RIGHT).await, Verdict::Pass, "{turn}");
        clock.move_on(1);
    }
    let one = over(&store, &clock);
    assert_eq!(one.count(address(1)).await.wrong(), 4);
    assert_eq!(one.ask(address(1), "a guess").await, Verdict::Wrong);
    assert_eq!(one.ask(address(1), RIGHT).await, paused(1));
    clock.move_on(1);
    assert_eq!(one.ask(address(1), "a guess").await, Verdict::Wrong);
    assert_eq!(one.ask(address(1), RIGHT).await, Verdict::Pass);
}

#[tokio::test]
async fn a_right_secret_is_written_once_and_then_only_read() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for _ in 0..50 {
        assert_eq!(over(&store, &clock).ask(address(1), RIGHT).await, Verdict::Pass);
        clock.move_on(60);
    }
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn a_right_secret_that_is_in_use_stays_known() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    for _ in 0..100 {
        assert_eq!(over(&store, &clock).ask(address(1), RIGHT).await, Verdict::Pass);
        clock.move_on(60 * 60);
    }
    // Once, and again whenever half a day is over.
    assert!((8..=10).contains(&store.commits()), "{} commits", store.commits());
    let count = over(&store, &clock).count(address(1)).await;
    assert!(count != Count::default());
}

#[tokio::test]
async fn a_pause_holds_when_the_clock_is_set_back() {
    let clock = HandClock::new();
    let [a, b] = processes(&clock);
    for n in 0..9 {
        clock.move_on(60);
        a.ask(address(1), &format!("guess {n}")).await;
    }
    clock.set(900_000);
    assert_eq!(b.ask(address(1), "another").await, paused(16));
    clock.set(900_015);
    assert_eq!(a.ask(address(1), RIGHT).await, paused(1));
    clock.set(900_016);
    assert_eq!(a.ask(address(1), RIGHT).await, Verdict::Pass);
    assert_eq!(b.ask(address(1), "another").await, paused(32));
}

#[tokio::test]
async fn an_ipv6_network_is_one_client() {
    let [a] = processes(&HandClock::new());
    let host = |n: u64| -> IpAddr { format!("2001:db8:0:1::{n:x}").parse().unwrap() };
    for n in 0..1600 {
        let verdict = a.ask(host(n), &format!("guess {n}")).await;
        assert_eq!(verdict == Verdict::Wrong, n < 5, "{n} {verdict:?}");
    }
    let neighbour: IpAddr = "2001:db8:0:2::1".parse().unwrap();
    assert_eq!(a.ask(neighbour, RIGHT).await, Verdict::Pass);
}

#[tokio::test]
async fn unknown_addresses_share_and_mapped_ones_are_the_same() {
    let [a] = processes(&HandClock::new());
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    for (n, address) in [mapped, address(1), mapped, address(1), address(1)].into_iter().enumerate() {
        assert_eq!(a.ask(address, &format!("guess {n}")).await, Verdict::Wrong);
    }
    assert_eq!(a.ask(mapped, RIGHT).await, paused(1));
    assert_eq!(a.ask(None, RIGHT).await, Verdict::Pass);
    for n in 0..5 {
        assert_eq!(a.ask(None, &format!("guess {n}")).await, Verdict::Wrong);
    }
    assert_eq!(a.ask(None, RIGHT).await, paused(1));
}

#[tokio::test]
async fn no_number_of_addresses_fills_the_store() {
    let clock = HandClock::new();
    let store = Arc::new(YieldingStore::new(Arc::new(clock.clone())));
    let a = over(&store, &clock);
    let most = u32::try_from(room::MOST).unwrap();
    assert_eq!(a.ask(address(1), RIGHT).await, Verdict::Pass);
    let mut answered = 0;
    for n in 0..most + 2000 {
        answered += u32::from(
            a.ask(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)), &format!("guess {n}")).await == Verdict::Wrong,
        );
        if n % 1000 == 0 {
            clock.move_on(1);
        }
    }
    assert!(store.len() <= room::MOST + 3, "{}", store.len());
    // When there is no room for more, all of the network 10.0.0.0/8 are counted as one.
    assert!(answered > most - 10 && answered <= most + 5, "{answered}");
    assert_eq!(a.ask(address(1), RIGHT).await, Verdict::Pass, "who was there before is not slowed");
    assert_eq!(a.ask(IpAddr::from([11, 0, 0, 1]), RIGHT).await, Verdict::Pass, "nor who comes from elsewhere");
    clock.move_on(15 * 60);
    assert_eq!(a.ask(IpAddr::from([10, 99, 0, 1]), "a new guess").await, Verdict::Wrong);
    assert!(store.kept() < 10, "what has expired is removed, not only hidden: {}", store.kept());
}
