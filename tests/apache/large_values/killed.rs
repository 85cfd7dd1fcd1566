//! kvs is killed while clients store large values: every acknowledged value is complete, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::content::{content, name_of};
use super::{assert_sound, get, head, put_request, secret, start_with};
use crate::client::{Answer, try_send};
use crate::contention::Dice;
use crate::kill::{kill_all, recovery};
use crate::servers::{Server, Way};

const ROUNDS: u64 = 20;
/// Clients of Apache, and as many of the second server.
const CLIENTS: usize = 2;

/// What the clients sent under a key, and what was acknowledged last.
#[derive(Default)]
struct Sent {
    all: BTreeSet<u64>,
    acknowledged: Option<u64>,
}

type Keys = BTreeMap<String, Sent>;

/// A value of 2 to 8 MB, which begins with its number.
fn value(number: u64) -> Vec<u8> {
    let length = 2_000_000 + usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).unwrap() % 6_000_000;
    let mut bytes = content(number, length);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Stores values with growing numbers until `stop` is set. Under every other key all clients store the same two values
/// in turn, so that one client removes a file that another is just storing.
fn store(port: u16, client: &str, first: u64, stop: &AtomicBool) -> Keys {
    let mut keys = Keys::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let shared = turn % 2 == 1;
        let number = if shared { turn / 2 % 2 } else { first + turn };
        let sent = keys.entry(format!("{client}.{}", if shared { "shared" } else { "own" })).or_default();
        sent.all.insert(number);
        let key = if shared { format!("{client}.shared") } else { format!("{client}.own") };
        match try_send(port, &put_request(&key, &secret(), &value(number))) {
            Some(Answer { status: 200 | 201, whole: true, body, .. }) if body == b"OK" => {
                sent.acknowledged = Some(number);
            }
            // kvs was killed during the request (Apache returns 500 or 503), or no program listens yet.
            Some(answer) => {
                assert!(answer.status >= 500 || !answer.whole, "{client}: {} {}", answer.status, answer.text());
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
    keys
}

/// Checks that each key has one of the values that were sent for it, and none older than the acknowledged one.
fn assert_complete(server: &Server, keys: &Keys, round: u64) {
    for (key, sent) in keys {
        let answer = get(server, key, "");
        if answer.status == 404 && sent.acknowledged.is_none() {
            continue;
        }
        if answer.status != 200 || !answer.whole {
            let text = if answer.status == 200 { "broken off" } else { &answer.text() };
            panic!("round {round}: {key}, of which {:?} was acknowledged: {} {text}", sent.acknowledged, answer.status);
        }
        let number = u64::from_le_bytes(answer.body[..8].try_into().unwrap());
        assert!(sent.all.contains(&number), "round {round}: {key} has {number}, which was not sent");
        let is_old = !key.ends_with("shared") && sent.acknowledged.is_some_and(|acknowledged| number < acknowledged);
        assert!(!is_old, "round {round}: {key} has {number}, and {:?} was acknowledged", sent.acknowledged);
        assert!(answer.body == value(number), "round {round}: {key} has other bytes than {number}");
    }
}

/// The names of the blobs that the entries need.
fn needed(server: &Server, keys: &Keys) -> BTreeSet<String> {
    let digest = |key: &String| {
        let answer = server.send(head("HEAD", key, "").as_bytes());
        answer.header("repr-digest").map(name_of)
    };
    keys.keys().filter_map(digest).collect()
}

/// Stores values on Apache and on a second server, and kills both at a random moment.
fn kill_under_load(apache: &Server, round: u64, dice: &mut Dice) -> (Keys, usize) {
    let (second_port, mut second_server) = apache.serve_second();
    let stop = AtomicBool::new(false);
    let mut killed = 0;
    let results: Vec<Keys> = thread::scope(|scope| {
        let stop = &stop;
        let client = |port, name: String| scope.spawn(move || store(port, &name, round * 1_000_000, stop));
        let clients: Vec<_> = (0..CLIENTS)
            .flat_map(|n| [client(apache.port, format!("apache{n}")), client(second_port, format!("http{n}"))])
            .collect();
        thread::sleep(Duration::from_millis(200 + dice.below(500) as u64));
        killed = kill_all(apache, dice);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    _ = second_server.kill();
    second_server.wait().unwrap();
    (results.into_iter().flatten().collect(), killed)
}

#[test]
fn acknowledged_large_values_survive_kills() {
    let apache = start_with(Way::ModFcgid, 10 << 20);
    recovery(apache.port);
    let mut dice = Dice::new(std::process::id().into());
    let (mut known, mut killed, mut acknowledged) = (Keys::new(), 0, 0);
    for round in 1..=ROUNDS {
        let (keys, count) = kill_under_load(&apache, round, &mut dice);
        killed += count;
        for (key, sent) in keys {
            let known = known.entry(key).or_default();
            known.all.extend(sent.all);
            acknowledged += usize::from(sent.acknowledged.is_some());
            known.acknowledged = sent.acknowledged.or(known.acknowledged);
        }
        recovery(apache.port);
        assert_complete(&apache, &known, round);
    }
    let needed = needed(&apache, &known);
    assert_sound(&apache, &needed);
    assert_complete(&apache, &known, ROUNDS + 1);
    eprintln!("{killed} programs killed, {acknowledged} last values of rounds, {} files needed", needed.len());
    assert!(killed >= 20 && acknowledged >= 20, "{killed} killed, {acknowledged} acknowledged");
}
