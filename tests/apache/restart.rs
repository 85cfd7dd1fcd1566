//! Stopping, restarting and replacing kvs under load: started requests are answered, acknowledged writes are stored,
//! and no process is left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{send, try_send};
use crate::script::form;
use crate::servers::{Server, Way};
use crate::site::open_to_all;

const READ: &[u8] = b"GET /?k=steady HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";

const CLOSED: &str = "connection closed without a response";

/// The responses that a client got.
#[derive(Default)]
struct Seen {
    good: u32,
    /// Responses with 503: the request was not started.
    busy: u32,
    /// Descriptions of all other responses.
    bad: Vec<String>,
    /// The keys of acknowledged writes.
    stored: Vec<String>,
}

/// Reads and writes in turn until `stop` is set.
fn load(port: u16, client: usize, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("load{client}x{turn}");
        let storing = turn % 2 == 1;
        let request = if storing { form(&format!("{key}=1")) } else { READ.to_vec() };
        match try_send(port, &request) {
            Some(answer) if answer.status == 200 && answer.whole => {
                seen.good += 1;
                if storing {
                    seen.stored.push(key);
                }
            }
            Some(answer) if answer.status == 503 && answer.whole => seen.busy += 1,
            Some(answer) => seen.bad.push(format!("{} whole={}: {}", answer.status, answer.whole, answer.text())),
            None => seen.bad.push(CLOSED.into()),
        }
    }
    seen
}

/// Runs four clients while `act` changes the server.
fn under_load(server: &mut Server, act: impl FnOnce(&mut Server)) -> Seen {
    let (stop, port) = (AtomicBool::new(false), server.port);
    let all = thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> = (0..4).map(|n| scope.spawn(move || load(port, n, stop))).collect();
        thread::sleep(Duration::from_millis(500));
        act(server);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sum = Seen::default();
    for seen in all {
        sum.good += seen.good;
        sum.busy += seen.busy;
        sum.bad.extend(seen.bad);
        sum.stored.extend(seen.stored);
    }
    sum
}

fn assert_stored(server: &Server, keys: &[String]) {
    for key in keys {
        let request = format!("GET /?k={key} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n");
        assert_eq!(send(server.port, request.as_bytes()).status, 200, "{key} was acknowledged and is missing");
    }
}

#[test]
fn graceful_restart_of_apache_loses_no_started_response() {
    for way in [Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi] {
        let mut server = Server::start(way);
        assert_eq!(server.send(&form("steady=1")).status, 200);
        let seen = under_load(&mut server, |server| {
            for _ in 0..2 {
                server.signal(Signal::USR1);
                thread::sleep(Duration::from_secs(3));
            }
        });
        // At a restart mod_fcgid 2.3.9 ends an Apache process that was about to request a new kvs, with all requests of
        // this process, and logs "server is restarted, pid N must exit". These requests never reach kvs. A request does
        // not reach kvs either if mod_fcgid ends it while the system still loads the program. This is rare; Apache then
        // returns 500.
        let ended = way == Way::ModFcgid && server.site.logs().contains("server is restarted");
        let too_early = |what: &String| ended && what.starts_with("500") && what.contains("DOCTYPE HTML");
        let lost = |what: &&String| !(too_early(what) || ended && what.as_str() == CLOSED);
        let bad: Vec<_> = seen.bad.iter().filter(lost).collect();
        let early = seen.bad.iter().filter(|what| too_early(what)).count();
        assert!(bad.is_empty() && early <= 1 && seen.bad.len() < 10, "{way:?}: {:?}\n{}", seen.bad, server.site.logs());
        assert!(seen.good > 20 * seen.busy, "{way:?}: {} answered, {} busy", seen.good, seen.busy);
        assert!(!seen.stored.is_empty(), "{way:?}: no load");
        assert_stored(&server, &seen.stored);
        assert_eq!(server.stop(), [], "{way:?}: still running");
    }
}

#[test]
fn program_replaced_by_rename_takes_over() {
    for (way, name) in [(Way::ModFcgid, "kvs.fcgi"), (Way::ModCgid, "kvs.cgi")] {
        let mut server = Server::start(way);
        assert_eq!(server.send(&form("steady=1")).status, 200);
        let (program, new) = (server.site.root().join(name), server.site.root().join(".kvs.new"));
        let before = fs::metadata(&program).unwrap().ino();
        let seen = under_load(&mut server, |_| {
            fs::copy(&program, &new).unwrap();
            open_to_all(&new);
            fs::rename(&new, &program).unwrap();
            thread::sleep(Duration::from_secs(2));
        });
        assert_ne!(fs::metadata(&program).unwrap().ino(), before, "it was not replaced");
        assert!(seen.bad.is_empty() && seen.busy == 0, "{way:?}: {:?}, {} busy", seen.bad, seen.busy);
        assert_stored(&server, &seen.stored);
        if way == Way::ModFcgid {
            let new_ones = server.site.programs().into_iter().filter(|(_, exe)| !exe.ends_with(" (deleted)")).count();
            assert!(new_ones > 0, "only the old program runs: {:?}", server.site.programs());
        }
        assert_eq!(server.stop(), [], "{way:?}: still running");
    }
}

#[test]
fn long_polls_are_answered_when_kvs_is_stopped() {
    for way in [Way::Http, Way::CgiFcgi] {
        for signal in [Signal::TERM, Signal::USR1, Signal::HUP] {
            let mut server = Server::start(way);
            assert_eq!(server.send(&form("steady=1")).status, 200);
            let (port, socket) = (server.port, server.socket());
            let waiting = thread::spawn(move || {
                let request =
                    b"GET /?k=later&wait=20&seen=none HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";
                match way {
                    Way::CgiFcgi => crate::fastcgi_client::send(&socket, request),
                    _ => send(port, request),
                }
            });
            thread::sleep(Duration::from_millis(700));
            let start = Instant::now();
            server.signal(signal);
            let answer = waiting.join().unwrap();
            assert!(matches!(answer.status, 404 | 503), "{way:?} {signal:?}: {} {}", answer.status, answer.text());
            let status = server.front().wait().unwrap();
            assert!(status.success(), "{way:?} {signal:?}: {status}\n{}", server.site.logs());
            assert!(start.elapsed() < Duration::from_secs(5), "{way:?} {signal:?}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn no_response_is_cut_when_kvs_is_stopped_under_load() {
    let mut server = Server::start(Way::Http);
    assert_eq!(server.send(&form("steady=1")).status, 200);
    let seen = under_load(&mut server, |server| {
        server.signal(Signal::TERM);
        let status = server.front().wait().unwrap();
        assert!(status.success(), "{status}");
    });
    // When kvs no longer listens, connections are refused. A partial response or an error must not occur.
    let cut: Vec<_> = seen.bad.iter().filter(|what| what.as_str() != CLOSED).collect();
    assert!(cut.is_empty(), "{cut:?}");
    assert!(!seen.stored.is_empty(), "no load");
    let data = fs::read_to_string(server.site.root().join("data/default.yaml")).unwrap();
    for key in seen.stored {
        assert!(data.contains(&format!("{key}:")), "{key} was acknowledged and is not in the file");
    }
}

#[test]
fn no_process_is_left_when_apache_stops() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let mut server = Server::start(way);
        let port = server.port;
        let waiting = thread::spawn(move || {
            try_send(port, b"GET /?k=later&wait=20&seen=none HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n")
        });
        thread::sleep(Duration::from_millis(700));
        assert!(!server.site.programs().is_empty(), "{way:?}: no request waits");
        assert_eq!(server.stop(), [], "{way:?}: still running");
        _ = waiting.join().unwrap();
    }
}
