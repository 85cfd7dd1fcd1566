//! Little memory, and no more memory.
//!
//! A container with a limit is enough for values that are longer than it. If the system gives no more memory at all, some
//! requests are refused, until an allocation fails that the program cannot do without, or the system kills it. Its
//! supervisor starts it again: nothing that was acknowledged is lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::clients::{Attempt, KINDS, Told, large};
use super::container::{Container, may_limit};
use super::kept_connection::Http;
use super::machine::{Disk, Machine};
use super::scenario::{FLAGS, PATIENCE, Times, check_data, under_load};
use super::table::REQUESTS;

/// The limit of the container, and the length of each value.
const CONTAINER_BYTES: u64 = 32 << 20;
const VALUE_BYTES: usize = 64 << 20;

#[test]
fn a_container_with_little_memory_is_enough_for_larger_values() {
    let flags = [FLAGS, &["--max-value", "100m"]].concat();
    let machine = Machine::start(Disk::Shared, &flags);
    let told = Told::default();
    let container = if may_limit() {
        Some(Container::around(machine.id(), CONTAINER_BYTES))
    } else {
        // At least the memory of its own is limited.
        machine.limit("data", Some(10 * CONTAINER_BYTES));
        None
    };
    let values: Vec<Vec<u8>> = (0..3).map(|n| vec![b'a' + n; VALUE_BYTES]).collect();
    let calm = Instant::now();
    under_load(&machine, &told, || {
        std::thread::scope(|scope| {
            for (n, value) in values.iter().enumerate() {
                let address = &machine.served.address;
                scope.spawn(move || {
                    let (mut http, target) = (Http::new(address), format!("/kv/default/long/{n}"));
                    assert_eq!(http.ask("PUT", &target, value).unwrap().status, 201);
                    assert!(http.ask("GET", &target, b"").unwrap().body == *value, "{target}");
                });
            }
        });
        wait_for_requests(&machine, &told, calm, Attempt::is_done);
    });
    let ended = Instant::now();
    drop(container);
    let times = Times { calm: ended, begun: ended, ended, recovered: ended };
    let mut wrong = vec![];
    let tally = check_data(&machine, &told, &times, &mut wrong);
    assert!(wrong.is_empty() && tally.failed == 0, "{tally:?} {wrong:#?}\n{}", machine.served.log());
}

/// Waits for some requests of each kind that fit.
fn wait_for_requests(machine: &Machine, told: &Told, since: Instant, fits: fn(&Attempt) -> bool) {
    let start = Instant::now();
    while !KINDS.into_iter().all(|kind| told.count(kind, since, fits) >= REQUESTS) {
        assert!(start.elapsed() < PATIENCE, "waited in vain for requests\n{}", machine.served.log());
        sleep(Duration::from_millis(25));
    }
}

#[test]
fn next_server_has_everything_after_one_without_memory_has_ended() {
    let mut machine = Machine::start(Disk::Shared, FLAGS);
    let told = Told::default();
    let (calm, begun) = under_load(&machine, &told, || {
        wait_for_requests(&machine, &told, Instant::now(), Attempt::is_done);
        let calm = Instant::now();
        machine.limit("data", Some(1));
        machine.limit("as", Some(1));
        let begun = Instant::now();
        while is_running(&machine) && KINDS.into_iter().any(|kind| told.count(kind, begun, |_| true) < 4 * REQUESTS) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for requests\n{}", machine.served.log());
            sleep(Duration::from_millis(25));
        }
        if is_running(&machine) {
            kill_process(machine.served.id(), Signal::KILL).unwrap();
        }
        (calm, begun)
    });
    let without_memory = machine.served.log();
    machine.start_again(FLAGS);
    let ended = Instant::now();
    let mut http = Http::new(&machine.served.address);
    assert_eq!(http.ask("GET", "/status", b"").unwrap().text(), "ok", "{without_memory}");
    assert!(http.ask("PUT", "/kv/default/kept", &large(2)).unwrap().status < 300);
    let mut wrong = vec![];
    let times = Times { calm, begun, ended, recovered: Instant::now() };
    check_data(&machine, &told, &times, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}\n{without_memory}\n{}", machine.served.log());
}

/// What is left of a process that has ended is a zombie.
fn is_running(machine: &Machine) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", machine.id())).unwrap();
    !status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}
