//! kvs behind a real Varnish with `deploy/varnish/default.vcl`: allowed responses are cached until kvs purges them.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{self, Answer};
use crate::script::form;
use crate::servers::{Server, Way, free_port};
use crate::site::{SECRET, Site};

const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
const LATER: &str = "Fri, 20 Nov 2026 13:00:00 GMT";

/// Varnish in front of a server. Ends when dropped, before the server.
struct Varnish {
    child: Child,
    port: u16,
    server: Server,
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // The manager stops its worker.
        _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        _ = self.child.wait();
    }
}

impl Varnish {
    fn start(way: Way) -> Self {
        let (site, port) = (Site::new(), free_port());
        let config = format!(
            "purge: http://127.0.0.1:{port}\nmax_age: 1h\nbuckets:\n  poky: {{timestamps: client, max_age: 1h}}\n  \
             fresh: {{max_age: 0s}}\n"
        );
        fs::write(site.root().join("config.yaml"), config).unwrap();
        let server = Server::start_in(site, way);
        let vcl = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/varnish/default.vcl");
        let mut text = fs::read_to_string(vcl).unwrap();
        for (from, to) in [
            (".port = \"8080\";", format!(".port = \"{}\";", server.port)),
            (".interval = 5s;", ".interval = 100ms;".to_owned()),
        ] {
            assert!(text.contains(from), "the VCL has another form");
            text = text.replace(from, &to);
        }
        let run = server.site.run();
        fs::write(run.join("default.vcl"), text).unwrap();
        let log = File::create(run.join("varnish-stderr.log")).unwrap();
        let mut command = Command::new("/usr/sbin/varnishd");
        command.arg("-F").args(["-j", "none", "-s", "malloc,16m", "-a", &format!("127.0.0.1:{port}")]);
        command.arg("-n").arg(run.join("varnish")).arg("-f").arg(run.join("default.vcl"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}; see tests/packages.sh"));
        let this = Self { child, port, server };
        this.until("a response through Varnish", || {
            let request = b"GET /status HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n";
            client::try_send(port, request).is_some_and(|answer| answer.status == 200)
        });
        this
    }

    fn until(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let start = Instant::now();
        while !happened() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "timed out waiting for {what}\n{}",
                self.server.site.logs()
            );
            sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, line: &str, headers: &str) -> Answer {
        client::send(self.port, request(line, headers, "").as_slice())
    }

    fn get(&self, address: &str, headers: &str) -> Answer {
        self.ask(&format!("GET {address}"), headers)
    }

    /// Checks the next response to a read.
    fn expect(&self, (address, headers): (&str, &str), (status, cache, body): (u16, &str, &str)) {
        let answer = self.get(address, headers);
        let found = (answer.status, answer.header("x-cache").unwrap_or(""), answer.text());
        assert_eq!(found, (status, cache, body.to_owned()), "{address} {headers:?}\n{}", self.server.site.logs());
    }

    /// Checks that a response is cached: a miss, then hits. The purge of an earlier write may arrive in between; then
    /// there is a second miss.
    fn assert_cached(&self, (address, headers): (&str, &str), body: &str) {
        self.expect((address, headers), (200, "MISS", body));
        let (mut hits, mut misses) = (0, 1);
        while hits < 5 {
            sleep(Duration::from_millis(20));
            let answer = self.get(address, headers);
            assert_eq!((answer.status, answer.text()), (200, body.to_owned()), "{address} {headers:?}");
            if answer.header("x-cache") == Some("HIT") {
                hits += 1;
            } else {
                (hits, misses) = (0, misses + 1);
            }
            assert!(misses <= 2, "{address} {headers:?} is not cached\n{}", self.server.site.logs());
        }
    }

    /// Checks the cache after a write: the old response until the purge, which follows the response to the write,
    /// arrives; then the new response, fetched once.
    fn assert_purged(&self, (address, headers): (&str, &str), old: &str, new: (u16, &str)) {
        self.until("a purge", || {
            let answer = self.get(address, headers);
            let body = answer.text();
            if body == old && answer.header("x-cache") == Some("HIT") {
                return false;
            }
            assert_eq!((answer.status, answer.header("x-cache"), body.as_str()), (new.0, Some("MISS"), new.1));
            true
        });
        self.expect((address, headers), (new.0, "HIT", new.1));
    }

    fn write(&self, line: &str, headers: &str, body: &str) -> Answer {
        client::send(self.port, &request(line, &format!("X-KVS-Auth: {SECRET}\r\n{headers}"), body))
    }
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if line.starts_with("GET") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{length}{headers}\r\n{body}").into_bytes()
}

const A: &str = "/kv/default/a";
const CLASSIC: &str = "/?k=a";
const POKY: &str = "/kv/poky/a";

#[test]
fn every_write_purges_the_cached_responses() {
    for way in [Way::Http, Way::ModFcgid, Way::ModCgid] {
        let varnish = Varnish::start(way);
        // 404 is cached too, so the first write must purge.
        assert_eq!(varnish.get(A, "").status, 404);
        assert_eq!(varnish.write(&format!("PUT {A}"), "", "1").status, 201);
        varnish.until("the first value", || varnish.get(A, "").status == 200);
        varnish.until("the first value", || varnish.get(CLASSIC, "").status == 200);
        for read in [A, CLASSIC] {
            varnish.expect((read, ""), (200, "HIT", "1"));
        }
        assert_eq!(client::send(varnish.port, &form("a=2&b=x")).status, 200);
        for read in [A, CLASSIC] {
            varnish.assert_purged((read, ""), "1", (200, "2"));
        }
        // Writes that do not pass through Varnish, the second by another program.
        assert_eq!(client::send(varnish.server.port, &form("a=3")).status, 200);
        for read in [A, CLASSIC] {
            varnish.assert_purged((read, ""), "2", (200, "3"));
        }
        let program = varnish.server.site.root().join("kvs.fcgi");
        let status = Command::new(program).args(["set", "a", "4"]).env_remove("KVS_HOME").status().unwrap();
        assert!(status.success(), "{way:?}");
        // The command ends only after its purges.
        for read in [A, CLASSIC] {
            varnish.expect((read, ""), (200, "MISS", "4"));
        }
        assert_eq!(varnish.write(&format!("DELETE {A}"), "", "").status, 200);
        for read in [A, CLASSIC] {
            varnish.assert_purged(
                (read, ""),
                "4",
                (404, &varnish.server.send(&request(&format!("GET {read}"), "", "")).text()),
            );
        }
    }
}

#[test]
fn conditions_are_evaluated_by_kvs_and_failures_not_cached() {
    let varnish = Varnish::start(Way::Http);
    assert_eq!(varnish.write(&format!("PUT {A}"), "", "1").status, 201);
    varnish.assert_cached((A, ""), "1");
    let tag = varnish.get(A, "").header("etag").unwrap().to_owned();
    let (good, bad) = (format!("If-Match: {tag}\r\n"), "If-Match: \"x\"\r\n");
    varnish.assert_cached((A, &good), "1");
    for _ in 0..2 {
        let answer = varnish.get(A, bad);
        assert_eq!((answer.status, answer.header("x-cache")), (412, Some("MISS")));
    }
    varnish.expect((A, ""), (200, "HIT", "1"));
    varnish.expect((A, &good), (200, "HIT", "1"));
    // A list in several header lines is one list.
    varnish.expect((A, &format!("{bad}{good}")), (200, "MISS", "1"));
    let unmodified = |date: &str| varnish.get(A, &format!("If-Unmodified-Since: {date}\r\n")).status;
    assert_eq!((unmodified("Thu, 01 Jan 2099 00:00:00 GMT"), unmodified("Thu, 01 Jan 2004 00:00:00 GMT")), (200, 412));
    assert_eq!(varnish.get(A, &format!("If-None-Match: {tag}\r\n")).status, 304);

    assert_eq!(varnish.write(&format!("PUT {A}"), "", "2").status, 200);
    varnish.assert_purged((A, ""), "1", (200, "2"));
    // The old tag no longer matches, in any copy.
    varnish.until("the other copy to be purged", || varnish.get(A, &good).status == 412);
    assert_eq!(varnish.get(A, &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn client_timestamps_are_cached_with_and_without_if_match() {
    let varnish = Varnish::start(Way::Http);
    let matched = format!("If-Match: {DATE}\r\n");
    let matched_later = format!("If-Match: {LATER}\r\n");
    for round in 0..3 {
        let write = |date: &str, body: &str| {
            let put = varnish.write(&format!("PUT {POKY}"), &format!("If-Unmodified-Since: {date}\r\n"), body);
            assert_eq!(put.status, 200, "{round}: {}", put.text());
        };
        assert_eq!(varnish.get(POKY, "").status, 404);
        write(DATE, "old");
        varnish.until("the first value", || varnish.get(POKY, "").status == 200);
        varnish.expect((POKY, ""), (200, "HIT", "old"));
        varnish.assert_cached((POKY, &matched), "old");
        assert_eq!(varnish.get(POKY, &matched_later).status, 412);
        write(LATER, "new");
        varnish.assert_purged((POKY, ""), "old", (200, "new"));
        varnish.assert_cached((POKY, &matched_later), "new");
        varnish.until("the copy for the old date to be purged", || varnish.get(POKY, &matched).status == 412);
        varnish.expect((POKY, ""), (200, "HIT", "new"));

        assert_eq!(varnish.write(&format!("DELETE {POKY}"), "", "").status, 200);
        varnish.assert_purged((POKY, ""), "new", (404, ""));
        varnish.until("the copy for the date to be purged", || varnish.get(POKY, &matched_later).status == 404);
        for headers in [&matched, &matched_later] {
            assert_eq!(varnish.get(POKY, headers).status, 404);
        }
    }
}

#[test]
fn only_allowed_responses_are_cached_and_only_by_varnish() {
    let varnish = Varnish::start(Way::Http);
    for (address, ttl) in [(A, ""), ("/kv/fresh/a", ""), ("/kv/default/short", "?ttl=2")] {
        assert_eq!(varnish.write(&format!("PUT {address}{ttl}"), "", "1").status, 201);
    }
    let waiting = "/?k=a&wait=1";
    for address in ["/kv/fresh/a", "/?k=a,b", "/kv/default/%61", "/kv/default/a?meta", waiting, "/status", "/"] {
        for _ in 0..2 {
            let answer = varnish.get(address, "");
            assert_eq!((answer.status, answer.header("x-cache")), (200, Some("MISS")), "{address}");
        }
    }
    let secret = format!("X-KVS-Auth: {SECRET}\r\n");
    varnish.assert_cached((A, ""), "1");
    varnish.expect((A, &secret), (200, "MISS", "1"));
    let answer = varnish.get(A, "Cookie: visitor=1\r\n");
    let found = (answer.header("x-cache"), answer.header("cache-control"), answer.header("age"));
    assert_eq!(found, (Some("HIT"), Some("no-cache"), None));
    // The entry expires, so no cached copy may live longer.
    varnish.until("the expiry of an entry", || varnish.get("/kv/default/short", "").status == 404);
}

#[test]
fn only_listed_addresses_can_purge() {
    let varnish = Varnish::start(Way::Http);
    assert_eq!(varnish.write(&format!("PUT {A}"), "", "1").status, 201);
    varnish.assert_cached((A, ""), "1");
    let purge = |from: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PURGE", "--interface", from]);
        let output = curl.arg(format!("http://127.0.0.1:{}{A}", varnish.port)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(purge("127.0.0.2"), "403");
    varnish.expect((A, ""), (200, "HIT", "1"));
    assert_eq!(purge("127.0.0.1"), "200");
    varnish.expect((A, ""), (200, "MISS", "1"));
}
