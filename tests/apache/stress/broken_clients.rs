//! Clients that go away in the middle of a request or of its response: nothing is stored in part, and no process is
//! occupied for ever.

use std::io::Read as _;
use std::thread::{scope, sleep};
use std::time::Duration;

use super::load::{number, request, request_with, under_load, wait_until};
use crate::client::send;
use crate::large_values::transfer::{begin, reset};
use crate::script::form;
use crate::servers::{Server, Way};

/// How many clients break off in each way.
const CLIENTS: usize = 12;

/// Sends a part of a request; half of the clients reset the connection, the others close it.
fn break_off(port: u16, bytes: &[u8], n: usize) {
    let stream = begin(port, bytes);
    sleep(Duration::from_millis(n as u64));
    if n.is_multiple_of(2) {
        reset(stream);
    }
}

/// Reads the first bytes of a response and goes away.
fn stop_reading(port: u16, target: &str, n: usize) {
    let mut stream = begin(port, &request("GET", target));
    let mut first = [0; 20];
    stream.read_exact(&mut first).unwrap();
    if n.is_multiple_of(2) {
        reset(stream);
    }
}

fn run(way: Way) {
    let mut server = Server::start(way);
    let port = server.port;
    assert!(server.send(&request_with("PUT", "/kv/default/large", &vec![b'x'; 900_000])).status < 300);
    assert!(server.send(&form("pair/left=0&pair/right=0")).status < 300);
    let told = under_load(&mut server, |_| {
        for n in 0..CLIENTS {
            let whole = request_with("PUT", &format!("/kv/part/{n}"), &[b'a'; 5000]);
            break_off(port, &whole[..whole.len() - 1 - n], n);
            let pair = form(&format!("pair/left={n}&pair/right={n}"));
            break_off(port, &pair[..pair.len() - 1 - n % 4], n);
            // The whole request arrives, but nobody waits for the response.
            break_off(port, &form(&format!("gone/left={n}&gone/right={n}")), n);
            break_off(port, &request("GET", "/?k=steady"), n);
            stop_reading(port, "/kv/default/large", n);
        }
        stop_reading(port, "/kv/default/steady?wait=2&seen=0", 0);
        break_off(port, &request("GET", "/kv/default/later?wait=2&seen=none"), 1);
    });
    assert!(told.failed.is_empty(), "{way:?}: {:?}\n{}", told.failed, server.site.logs());
    let text = |key: &str| send(port, &request("GET", &format!("/kv/default/{key}"))).text();
    for n in 0..CLIENTS {
        assert_eq!(send(port, &request("GET", &format!("/kv/part/{n}"))).status, 404, "{way:?}: part {n} is stored");
    }
    assert_eq!((text("pair/left"), text("pair/right")), ("0".into(), "0".into()), "{way:?}");
    wait_until("equal halves", || text("gone/left") == text("gone/right"));
    // Each of them can serve again.
    let before = number(&server);
    let told = under_load(&mut server, |_| sleep(Duration::from_millis(300)));
    assert!(told.failed.is_empty() && number(&server) > before, "{way:?}: {told:?}");
    assert!(server.site.programs().len() <= 9, "{way:?}: {:?}", server.site.programs());
    wait_until("the end of CGI programs", || way != Way::ModCgid || server.site.programs().is_empty());
    assert_eq!(server.stop(), [], "{way:?}: still running");
}

#[test]
fn clients_that_go_away_leave_nothing_in_part() {
    scope(|scope| {
        for way in [Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi] {
            scope.spawn(move || run(way));
        }
    });
}
