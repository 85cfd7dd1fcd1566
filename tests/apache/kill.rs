//! kvs is killed at random moments while clients post forms with two keys each: no acknowledged write is lost, no pair
//! is torn, and the service works again without help.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Answer, try_send};
use crate::contention::{Dice, everything, open};
use crate::script::form;
use crate::servers::{Server, Way};

const ROUNDS: usize = 40;
/// Clients of Apache, and as many of the second server.
const CLIENTS: usize = 3;
/// Pairs that a client writes in turn.
const SLOTS: usize = 5;

/// The last acknowledged number of each pair.
type Acknowledged = BTreeMap<String, u64>;

/// Writes pairs with growing numbers until `stop` is set.
fn post(port: u16, client: &str, from: u64, stop: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for number in from.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let pair = format!("{client}.{}", number % SLOTS as u64);
        let value = format!("{number:012}+{}", "filler+".repeat(usize::try_from(number % 40).unwrap()));
        let answer = try_send(port, &form(&format!("{pair}/left={value}&{pair}/right={value}")));
        match answer {
            Some(Answer { status: 200, whole: true, body, .. }) if body == b"OK" => {
                acknowledged.insert(pair, number);
            }
            // kvs was killed during the request (Apache returns 500 or 503), or no program listens yet.
            Some(answer) => {
                assert!(answer.status >= 500 || !answer.whole, "{client}: {} {}", answer.status, answer.text());
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
    acknowledged
}

/// Kills all programs of the site: those of Apache and the second server.
pub(crate) fn kill_all(server: &Server, dice: &mut Dice) -> usize {
    let mut killed = 0;
    let programs = server.site.programs();
    for (id, _) in &programs {
        // Not all at the same moment.
        thread::sleep(Duration::from_micros(dice.below(3_000) as u64));
        killed += usize::from(Pid::from_raw(*id).is_some_and(|id| kill_process(id, Signal::KILL).is_ok()));
    }
    // A thread that waits for the disk ends later. Until then Apache can connect to the program.
    let start = Instant::now();
    while programs.iter().any(|(id, _)| is_alive(*id)) {
        assert!(start.elapsed() < Duration::from_secs(60), "a killed program does not end");
        thread::sleep(Duration::from_millis(1));
    }
    killed
}

/// Whether a thread of a process has not ended.
fn is_alive(process: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    let has_ended = |thread: fs::DirEntry| {
        let state = fs::read_to_string(thread.path().join("stat"));
        // The state is the field after the name, which is in parentheses.
        state.map_or(true, |text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
    };
    !threads.filter_map(Result::ok).all(has_ended)
}

/// The time until a post is stored again.
pub(crate) fn recovery(port: u16) -> Duration {
    let start = Instant::now();
    while try_send(port, &form("alive=1")).is_none_or(|answer| answer.status != 200) {
        assert!(start.elapsed() < Duration::from_secs(10), "no post is stored any more");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

fn assert_intact(found: &BTreeMap<String, String>, acknowledged: &Acknowledged, round: usize) {
    let pairs = found.iter().filter_map(|(key, value)| Some((key.strip_suffix("/left")?, value)));
    let pairs: BTreeMap<&str, &String> = pairs.collect();
    for (pair, left) in &pairs {
        assert_eq!(found.get(&format!("{pair}/right")), Some(*left), "round {round}: {pair} is torn");
    }
    assert_eq!(found.keys().filter(|key| key.ends_with("/right")).count(), pairs.len(), "round {round}: half a pair");
    for (pair, number) in acknowledged {
        let stored: u64 = pairs.get(pair.as_str()).map_or(0, |value| value[..12].parse().unwrap());
        assert!(stored >= *number, "round {round}: {pair}: {number} was acknowledged, {stored} is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_posts_survive_the_kill_of_every_process() {
    let apache = Server::start(Way::ModFcgid);
    assert_eq!(apache.send(&form("first=1")).status, 200);
    let mut dice = Dice::new(std::process::id().into());
    let (mut acknowledged, mut known, mut killed, mut slowest) = (0, Acknowledged::new(), 0, Duration::ZERO);
    for round in 1..=ROUNDS {
        let (second_port, mut second_server): (u16, Child) = apache.serve_second();
        let stop = AtomicBool::new(false);
        let results: Vec<Acknowledged> = thread::scope(|scope| {
            let (stop, from) = (&stop, round as u64 * 1_000_000);
            let client = |port, name: String| scope.spawn(move || post(port, &name, from, stop));
            let clients: Vec<_> = (0..CLIENTS)
                .flat_map(|n| [client(apache.port, format!("apache{n}")), client(second_port, format!("http{n}"))])
                .collect();
            thread::sleep(Duration::from_millis(100 + dice.below(250) as u64));
            killed += kill_all(&apache, &mut dice);
            // Apache starts new ones for the next requests. The second server is not started again.
            thread::sleep(Duration::from_millis(dice.below(60) as u64));
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        _ = second_server.kill();
        second_server.wait().unwrap();
        slowest = slowest.max(recovery(apache.port));
        for (pair, number) in results.into_iter().flatten() {
            acknowledged += 1;
            known.insert(pair, number);
        }
        assert_intact(&everything(&open(&apache.site.root().join("data"))).await, &known, round);
    }
    eprintln!("{killed} programs killed, {acknowledged} last pairs of rounds checked, recovered within {slowest:?}");
    assert!(killed > ROUNDS * 2 && acknowledged > ROUNDS * 4, "{killed} killed, {acknowledged} acknowledged");
}
