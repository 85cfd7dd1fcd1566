//! `mod_fcgid` ends programs: after a number of requests, an age, or a time without work, which no client notices; and
//! in the middle of a request that takes too long, which is then done once or not at all.

use std::fs::File;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use fs2::FileExt as _;

use super::load::{number, request, request_with, under_load, wait_until};
use crate::client::try_send;
use crate::servers::Server;

#[test]
fn programs_that_end_regularly_fail_no_request() {
    let mut server = Server::start_fcgid(&[
        "FcgidMaxRequestsPerProcess 15",
        "FcgidProcessLifeTime 1",
        "FcgidIdleTimeout 1",
        "FcgidIdleScanInterval 1",
        "FcgidZombieScanInterval 1",
        "FcgidErrorScanInterval 1",
        "FcgidMinProcessesPerClass 0",
    ]);
    let mut seen = std::collections::BTreeSet::new();
    let told = under_load(&mut server, |server| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            seen.extend(server.site.programs().into_iter().map(|(id, _)| id));
            sleep(Duration::from_millis(20));
        }
    });
    println!(
        "{} programs, {} increments, {} reads, failed: {:?}",
        seen.len(),
        told.numbers.len(),
        told.reads,
        told.failed
    );
    assert!(told.failed.is_empty(), "{:?}\n{}", told.failed, server.site.logs());
    assert!(seen.len() > 4, "only {} programs", seen.len());
    wait_until("the end of idle programs", || server.site.programs().is_empty());
    assert_eq!(server.send(&request("GET", "/?k=steady")).status, 200);
}

#[test]
fn write_whose_program_is_ended_is_done_once_or_not_at_all() {
    // A request may take a second. Then the program gets SIGTERM, and later SIGKILL.
    let busy = Server::start_fcgid(&["FcgidBusyTimeout 1", "FcgidBusyScanInterval 1", "FcgidErrorScanInterval 1"]);
    // A response may take a second. Then the client gets 500, and the program goes on.
    let late = Server::start_fcgid(&["FcgidIOTimeout 1"]);
    scope(|scope| {
        for (name, server) in [("FcgidBusyTimeout", busy), ("FcgidIOTimeout", late)] {
            scope.spawn(move || run_held(name, server));
        }
    });
}

/// Holds the lock of the bucket while clients increment, until `mod_fcgid` has given them up.
fn run_held(name: &str, mut server: Server) {
    assert!(server.send(&request_with("PUT", "/kv/default/number", b"0")).status < 300);
    let lock = File::options().write(true).open(server.site.root().join("data/default.lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let port = server.port;
    let start = Instant::now();
    let answers: Vec<_> = scope(|scope| {
        let increment = move || try_send(port, &request("POST", "/kv/default/number?op=incr"));
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(increment)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    println!(
        "{name}: after {:?}: {:?}",
        start.elapsed(),
        answers.iter().map(|a| a.as_ref().map(|a| a.status)).collect::<Vec<_>>()
    );
    fs2::FileExt::unlock(&lock).unwrap();
    let is_refused =
        |answer: &&Option<crate::client::Answer>| answer.as_ref().is_some_and(|a| a.text().contains("nothing was "));
    let refused = answers.iter().filter(is_refused).count() as u64;
    assert!(answers.iter().flatten().all(|answer| answer.status >= 500), "{name}: {answers:?}");
    // Programs that are still at work may finish it.
    sleep(Duration::from_millis(500));
    let done = number(&server);
    assert!(done <= 3 - refused, "{name}: {done} were done, and {refused} of 3 were refused");
    let told = under_load(&mut server, |_| sleep(Duration::from_millis(500)));
    assert!(told.failed.len() <= 3, "{name}: {:?}\n{}", told.failed, server.site.logs());
    assert_eq!(server.stop(), [], "{name}: still running");
}
