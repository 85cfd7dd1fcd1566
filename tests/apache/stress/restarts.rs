//! Restarts of Apache and new versions of the program under load, several times.

use std::fs;
use std::thread::{scope, sleep};
use std::time::Duration;

use fs2::FileExt as _;
use rustix::process::Signal;

use super::load::{Told, request, request_with, under_load, wait_until};
use crate::client::{Answer, try_send};
use crate::contention::{everything, open};
use crate::servers::{Server, Way};
use crate::site::open_to_all;

/// How long the load goes on after each deed.
const PAUSE: Duration = Duration::from_millis(400);

/// What an administrator does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// `apachectl graceful`
    Graceful,
    /// `apachectl restart`
    Restart,
    /// The program is replaced by rename.
    Replace,
}

/// How often Apache has started.
fn starts(server: &Server) -> usize {
    server.site.logs().matches("resuming normal operations").count()
}

/// Does it and waits until Apache has noticed.
pub(super) fn perform(deed: Deed, server: &mut Server) {
    let before = starts(server);
    match deed {
        Deed::Graceful => server.signal(Signal::USR1),
        Deed::Restart => server.signal(Signal::HUP),
        Deed::Replace => return replace(server),
    }
    wait_until("the restart of Apache", || starts(server) > before);
    sleep(PAUSE);
}

fn replace(server: &Server) {
    for name in ["kvs.fcgi", "kvs.cgi"] {
        let (program, new) = (server.site.root().join(name), server.site.root().join(".kvs.new"));
        fs::copy(&program, &new).unwrap();
        open_to_all(&new);
        fs::rename(&new, &program).unwrap();
    }
    let is_new = |(_, program): &(i32, String)| !program.ends_with(" (deleted)");
    wait_until("the new program", || server.way != Way::ModFcgid || server.site.programs().iter().any(is_new));
    sleep(PAUSE);
}

/// Whether a failure is one of Apache itself, before kvs had the request, or of a restart that is not graceful.
///
/// At a restart `mod_fcgid` 2.3.9 ends an Apache process that was about to request a new kvs, with all requests of this
/// process, and logs "server is restarted, pid N must exit". Such a request gets no response, or a 500 of Apache, or it
/// waits until its client gives up.
/// `mod_cgid` answers 503 until its daemon has started again.
pub(super) fn is_of_apache(server: &Server, deed: Deed, failure: &str) -> bool {
    let is_web_server = failure.contains("the web server") || failure.contains("without a response");
    match deed {
        Deed::Restart => true,
        Deed::Graceful if server.way == Way::ModCgid => failure.contains("503 of the web server"),
        Deed::Graceful => is_web_server && server.site.logs().contains("server is restarted"),
        Deed::Replace => false,
    }
}

fn run(way: Way, deeds: &[Deed]) {
    let mut server = Server::start(way);
    for deed in deeds {
        let told = under_load(&mut server, |server| perform(*deed, server));
        report(way, *deed, &told);
        let bad: Vec<_> = told.failed.iter().filter(|failure| !is_of_apache(&server, *deed, failure)).collect();
        let is_good = bad.is_empty() && told.failed.len() < 40;
        assert!(is_good, "{way:?}, {deed:?}: {:?}\n{}", told.failed, server.site.logs());
    }
    assert_eq!(server.stop(), [], "{way:?}: still running");
}

fn report(way: Way, deed: Deed, told: &Told) {
    let (writes, failed) = (told.numbers.len(), told.failed.len());
    println!("{way:?}, {deed:?}: {writes} increments, {} reads, {failed} failed: {:?}", told.reads, told.failed);
}

#[test]
fn restarts_and_replaced_programs_do_each_request_exactly_once() {
    use Deed::{Graceful, Replace, Restart};
    scope(|scope| {
        scope.spawn(|| run(Way::ModFcgid, &[Graceful, Replace, Graceful]));
        scope.spawn(|| run(Way::ModFcgid, &[Restart, Replace]));
        scope.spawn(|| run(Way::ModCgid, &[Graceful, Replace, Restart]));
        scope.spawn(|| run(Way::ModProxyFcgi, &[Graceful, Graceful, Restart]));
    });
}

/// Stops what is behind the web server, or restarts Apache, while writes wait for a lock.
fn stop_in_the_middle(way: Way) {
    let mut server = Server::start(way);
    assert!(server.send(&request_with("PUT", "/kv/default/number", b"0")).status < 300);
    let lock = fs::File::options().write(true).open(server.site.root().join("data/default.lock")).unwrap();
    lock.lock_exclusive().unwrap();
    let port = server.port;
    let answers: Vec<_> = scope(|scope| {
        let increment = move || try_send(port, &request("POST", "/kv/default/number?op=incr"));
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(increment)).collect();
        wait_until("the programs", || !way.is_spawned() || server.site.programs().len() >= 3);
        // Until they wait for the lock.
        sleep(2 * PAUSE);
        server.signal(if way == Way::Http { Signal::TERM } else { Signal::USR1 });
        sleep(2 * PAUSE);
        fs2::FileExt::unlock(&lock).unwrap();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut numbers: Vec<String> = answers.iter().flatten().map(Answer::text).collect();
    numbers.sort();
    assert_eq!(numbers, ["1", "2", "3"], "{way:?}: {answers:?}\n{}", server.site.logs());
    server.stop();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async { everything(&open(&server.site.root().join("data"))).await });
    assert_eq!(found["number"], "3", "{way:?}");
}

#[test]
fn writes_that_have_begun_are_answered_when_the_server_stops() {
    scope(|scope| {
        for way in [Way::Http, Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi] {
            scope.spawn(move || stop_in_the_middle(way));
        }
    });
}
