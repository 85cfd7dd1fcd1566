//! All processes that `mod_fcgid` may start are busy: others are served or told so, and nothing is blocked for ever.

use std::io::Read as _;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::load::{request, request_with, under_load, wait_until};
use crate::client::{Answer, connect, try_send};
use crate::large_values::transfer::begin;
use crate::servers::{Server, Way};

/// Two processes, so that few clients occupy them all.
const FEW: &[&str] = &["FcgidMaxProcessesPerClass 2"];

#[test]
fn waiting_reads_of_all_processes_end_and_others_are_served() {
    let mut server = Server::start_fcgid(FEW);
    for bucket in ["a", "b"] {
        assert!(server.send(&request_with("PUT", &format!("/kv/{bucket}/k"), b"1")).status < 300);
    }
    let port = server.port;
    scope(|scope| {
        let start = Instant::now();
        let polls: Vec<_> = ["a", "b"]
            .map(|bucket| {
                scope.spawn(move || try_send(port, &request("GET", &format!("/kv/{bucket}/new?wait=4&seen=none"))))
            })
            .into();
        wait_until("two programs", || server.site.programs().len() >= 2);
        sleep(Duration::from_millis(300));
        let answer = try_send(port, &request("GET", "/kv/a/k"));
        println!("with all processes waiting, a read took {:?}", start.elapsed());
        assert!(answer.as_ref().is_some_and(|answer| answer.status == 200), "{answer:?}");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        for poll in polls {
            let answer = poll.join().unwrap();
            assert!(answer.as_ref().is_some_and(|answer| answer.status == 404 && answer.whole), "{answer:?}");
        }
    });
    let told = under_load(&mut server, |_| sleep(Duration::from_millis(300)));
    assert!(told.failed.is_empty(), "{:?}", told.failed);
}

#[test]
fn more_clients_than_processes_are_all_served() {
    let mut server = Server::start_fcgid(FEW);
    let told = under_load(&mut server, |_| sleep(Duration::from_secs(2)));
    assert!(told.failed.is_empty() && told.busy == 0, "{told:?}\n{}", server.site.logs());
    assert!(server.site.programs().len() <= 2, "{:?}", server.site.programs());
}

/// Sends a request a byte at a time, and reads its response a byte at a time.
fn slowly(port: u16, bytes: &[u8]) -> Option<Answer> {
    use std::io::Write as _;
    let mut stream = connect(port).ok()?;
    stream.set_nodelay(true).unwrap();
    for byte in bytes {
        stream.write_all(&[*byte]).ok()?;
        sleep(Duration::from_millis(2));
    }
    let (mut received, mut byte) = (vec![], [0]);
    while stream.read(&mut byte).ok()? > 0 {
        received.push(byte[0]);
        sleep(Duration::from_millis(1));
    }
    Answer::from_wire(&received, false)
}

#[test]
fn slow_clients_are_served_and_delay_nobody() {
    scope(|scope| {
        for way in [Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi] {
            scope.spawn(move || {
                let mut server = Server::start(way);
                let (port, large) = (server.port, vec![b'x'; 900_000]);
                assert!(server.send(&request_with("PUT", "/kv/default/large", &large)).status < 300);
                let told = under_load(&mut server, |_| {
                    std::thread::scope(|scope| {
                        for n in 0..10 {
                            scope.spawn(move || {
                                let put = request_with("PUT", &format!("/kv/slow/{n}"), &[b'a'; 100]);
                                let answer = slowly(port, &put);
                                assert!(answer.as_ref().is_some_and(|a| a.status == 201), "{way:?}: {answer:?}");
                            });
                        }
                        for _ in 0..10 {
                            // It reads the first bytes of a long response, and then waits.
                            scope.spawn(move || read_late(port, Duration::from_millis(700), large_len()));
                        }
                    });
                });
                assert!(told.failed.is_empty() && told.busy == 0, "{way:?}: {told:?}\n{}", server.site.logs());
                for n in 0..10 {
                    assert_eq!(server.send(&request("GET", &format!("/kv/slow/{n}"))).body, [b'a'; 100], "{way:?}");
                }
            });
        }
    });
}

fn large_len() -> usize {
    900_000
}

fn read_late(port: u16, pause: Duration, length: usize) {
    let mut stream = begin(port, &request("GET", "/kv/default/large"));
    let mut received = vec![0; 100];
    stream.read_exact(&mut received).unwrap();
    sleep(pause);
    stream.read_to_end(&mut received).unwrap();
    let answer = Answer::from_wire(&received, false).unwrap();
    assert!(answer.whole && answer.body.len() == length, "{} bytes", answer.body.len());
}
