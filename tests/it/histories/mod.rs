//! Histories of clients over real connections, while servers are killed: each is checked to be linearizable.
//!
//! Rounds use new keys, and in each round a few clients do a few operations, so that the checker can try all orders. An
//! operation without an answer may be done at any later time, or never.

mod fleet;
mod recorder;
mod register;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use self::fleet::{Fleet, Place, choose};
use self::recorder::Recorder;
use crate::postgres::Server;
use crate::support::disks::seed::Seed;
use crate::support::tally::{Tally, soak_end};

const CLIENTS: usize = 4;
const OPERATIONS: usize = 16;
/// The keys of a round. Each has about as many operations as the checker can order.
const KEYS: usize = 2;

/// With more operations of unknown outcome on a key, the checker would take long.
const MAX_OPEN: usize = 3;

/// The time in `make test`.
const USUAL_TIME: Duration = Duration::from_secs(6);

/// Does a round of operations. Returns what was acknowledged, lost, and failed without a fault.
fn round(fleet: &Fleet, number: u64) -> Tally {
    let histories: [Recorder; KEYS] = Default::default();
    let failed = AtomicU64::new(0);
    scope(|scope| {
        for client in 0..CLIENTS {
            let (histories, failed) = (&histories, &failed);
            scope.spawn(move || {
                let mut seed = Seed::new(number * 100 + client as u64);
                let mut tags: [Option<String>; KEYS] = Default::default();
                for operation in 0..OPERATIONS {
                    let at = seed.below(KEYS);
                    if histories[at].open() > MAX_OPEN {
                        continue;
                    }
                    let unique = i64::try_from((client * OPERATIONS + operation + 1) * 1_000).unwrap();
                    let op = choose(&mut seed, unique, tags[at].as_ref());
                    let key = format!("r{number}-{at}");
                    let place = Place { client, server: seed.below(fleet.servers()), key: &key };
                    let (tag, has_failed) = fleet.act(place, op, &histories[at]);
                    tags[at] = tag.or(tags[at].take());
                    failed.fetch_add(u64::from(has_failed), Ordering::SeqCst);
                }
            });
        }
    });
    let mut tally = Tally { failed: failed.into_inner(), ..Tally::default() };
    for history in histories {
        tally.acknowledged += history.answers();
        if !history.is_linearizable() {
            println!("not linearizable:\n{}", history.text());
            tally.lost += 1;
        }
    }
    tally
}

/// Plays rounds until the time is up, while `breaks` breaks something again and again.
fn play(name: &str, fleet: &Fleet, mut breaks: impl FnMut(&mut Seed) + Send) {
    let end = soak_end().unwrap_or_else(|| Instant::now() + USUAL_TIME);
    let is_over = AtomicBool::new(false);
    let mut sum = Tally::default();
    scope(|scope| {
        let is_over = &is_over;
        let breaking = scope.spawn(move || {
            let mut seed = Seed::new(std::process::id().into());
            let mut faults = 0;
            while !is_over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50 + seed.next() % 200));
                breaks(&mut seed);
                faults += 1;
            }
            faults
        });
        let _guard = Over(is_over);
        let mut number = 0;
        while Instant::now() < end && sum.lost == 0 {
            sum.add(round(fleet, number));
            number += 1;
        }
        is_over.store(true, Ordering::SeqCst);
        sum.faults = breaking.join().unwrap();
    });
    sum.print(name);
    // On a busy machine a request may time out. A long run counts this too.
    assert!(sum.lost == 0 && (soak_end().is_none() || sum.is_good()), "{sum:?}");
    // Otherwise the test proves little.
    assert!(sum.faults > 3 && sum.acknowledged > 200, "{sum:?}");
}

/// Ends the faults, also if a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn pause(seed: &mut Seed) -> Duration {
    Duration::from_millis(seed.next() % 30)
}

#[test]
fn histories_of_a_server_that_is_killed_are_linearizable() {
    let fleet = Fleet::start(1, &[]);
    play("histories/one", &fleet, |seed| fleet.kill(0, pause(seed)));
}

#[test]
fn histories_of_servers_on_one_folder_that_are_killed_are_linearizable() {
    let fleet = Fleet::start(3, &[]);
    play("histories/folder", &fleet, |seed| fleet.kill(seed.below(3), pause(seed)));
}

#[test]
fn histories_of_servers_on_a_database_that_crashes_are_linearizable() {
    let mut database = Server::start("shared_buffers = 32MB\nfsync = off");
    let fleet = Fleet::start(2, &["--store", &database.url("")]);
    play("histories/postgresql", &fleet, |seed| {
        if seed.below(3) == 0 {
            fleet.fault(|| {
                database.crash();
                database.restart();
                fleet.recover();
            });
        } else {
            fleet.kill(seed.below(2), pause(seed));
        }
    });
}

/// The primary is killed and its synchronous standby takes over; then the killed one becomes the standby, and so on.
#[test]
fn histories_of_servers_on_a_database_that_fails_over_are_linearizable() {
    let mut primary = Server::start("shared_buffers = 32MB\nfsync = off\ndynamic_shared_memory_type = mmap");
    let mut standby = primary.standby();
    let fleet = Fleet::start(2, &["--store", &primary.pair_url(&standby)]);
    let mut breaks = 0;
    play("histories/failover", &fleet, |seed| {
        breaks += 1;
        if breaks % 4 != 1 {
            return fleet.kill(seed.below(2), pause(seed));
        }
        fleet.fault(|| {
            primary.kill();
            std::thread::sleep(pause(seed));
            standby.promote();
            fleet.recover();
        });
        primary.follow(&standby);
        std::mem::swap(&mut primary, &mut standby);
    });
}
