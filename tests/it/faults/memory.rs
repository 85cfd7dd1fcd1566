//! The system gives the server no more memory, as in a container with a limit. Some requests are refused, until an
//! allocation fails that the program cannot do without, or the system kills it. Its supervisor starts it again: nothing
//! that was acknowledged is lost.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::clients::{Attempt, KINDS, Told, large};
use super::kept_connection::Http;
use super::machine::{Disk, Machine};
use super::scenario::{FLAGS, PATIENCE, Times, check_data, under_load};
use super::table::REQUESTS;

#[test]
fn next_server_has_everything_after_one_without_memory_has_ended() {
    let mut machine = Machine::start(Disk::Shared, FLAGS);
    let told = Told::default();
    let wait = |what: &str, happened: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !happened() {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}\n{}", machine.served.log());
            sleep(Duration::from_millis(25));
        }
    };
    let (calm, begun) = under_load(&machine, &told, || {
        let start = Instant::now();
        wait("the load", &|| KINDS.into_iter().all(|kind| told.count(kind, start, Attempt::is_done) >= REQUESTS));
        let calm = Instant::now();
        machine.limit("data", Some(1));
        machine.limit("as", Some(1));
        let begun = Instant::now();
        wait("requests without memory", &|| {
            !is_running(&machine) || KINDS.into_iter().all(|kind| told.count(kind, begun, |_| true) >= 4 * REQUESTS)
        });
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
