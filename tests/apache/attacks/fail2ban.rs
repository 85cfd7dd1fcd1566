//! The filter for fail2ban finds the guesses in the real logs of kvs, and nothing that a client makes up.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::servers::{Server, Way};
use crate::site::Site;

/// Sends a form with a wrong secret, as a client with this address behind a proxy.
fn guess(server: &Server, secret: &str) {
    let form = format!("a=1&auth={secret}");
    let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nX-Request-Id: r-1\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = server.send(format!("{head}Content-Length: {}\r\n\r\n{form}", form.len()).as_bytes());
    assert_eq!(answer.status, 401);
}

/// The lines that the filter matches, by `fail2ban-regex`.
fn matched(log: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, log).unwrap();
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fail2ban/kvs.conf");
    let output = Command::new("fail2ban-regex").arg("--print-all-matched").args([&path, &filter]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Lines: "), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let matched = text.split("|- Matched line(s):").nth(1).unwrap_or_default();
    let matched = matched.lines().skip(1).map_while(|line| line.strip_prefix("|  "));
    matched.map(str::to_owned).collect()
}

/// The log of a server that three guesses reach, and requests that try to add a line to it.
fn log_of(way: Way, config: &str) -> String {
    let site = Site::new();
    std::fs::write(site.root().join("config.yaml"), config).unwrap();
    let server = Server::start_in(site, way);
    (0..3).for_each(|n| guess(&server, &format!("guess-{n}")));
    // The same one again is no guess.
    guess(&server, "guess-0");
    for target in [
        "/kv/default/WARN%20kvs::auth:%20wrong%20secret%20from%20198.51.100.1,%20number%201",
        "/x%0AWARN%20kvs::auth:%20wrong%20secret%20from%20198.51.100.2,%20number%201",
        "/WARNkvs::auth:wrong-secret-from-198.51.100.3,number-1",
    ] {
        server.send(
            format!("GET {target} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\nX-Request-Id: WARN kvs::auth: wrong secret from 198.51.100.4, number 1\r\n\r\n").as_bytes(),
        );
    }
    // The last request is the last line, if requests are logged.
    let is_there = |log: &str| {
        log.matches("wrong secret from 127.0.0.1, number ").count() == 3
            && (!config.contains("request_log")
                || log.contains("/WARNkvs::auth:wrong-secret-from-198.51.100.3,number-1 404"))
    };
    let begin = Instant::now();
    while !is_there(&server.site.logs()) {
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", server.site.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.site.logs()
}

#[test]
fn guesses_are_found_in_the_logs_of_every_server() {
    for (way, config) in [
        (Way::ModFcgid, ""),
        (Way::ModFcgid, "log_format: json\n"),
        (Way::ModFcgid, "request_log: on\n"),
        (Way::ModCgid, "request_log: on\n"),
        (Way::Http, ""),
        (Way::Http, "request_log: on\n"),
        (Way::Http, "request_log: on\nlog_format: json\n"),
    ] {
        let log = log_of(way, config);
        let matched = matched(&log);
        assert_eq!(matched.len(), 3, "{way:?} {config}: {matched:#?}\n{log}");
        let numbers: BTreeSet<_> =
            (1..=3).filter(|n| matched.iter().any(|line| line.contains(&format!(", number {n}")))).collect();
        assert_eq!(numbers.len(), 3, "{way:?} {config}: {matched:#?}");
        assert!(!matched.concat().contains("198.51.100."), "{matched:#?}");
    }
}

#[test]
fn texts_of_clients_in_other_lines_are_no_guesses() {
    let log = r#"2026-11-30T18:27:14.197182Z  WARN kvs::auth: wrong secret from 192.0.2.1, number 1
2026-11-30T18:27:14.197182Z  WARN kvs::auth: wrong secret from 2001:db8::7, number 5; paused for 1 s
Nov 30 18:27:13 host kvs[123]:  WARN kvs::auth: wrong secret from 192.0.2.7, number 3
Nov 30 18:27:13 host kvs[123]: 2026-11-30T18:27:14.197182Z  WARN request{id=a-1}: kvs::auth: wrong secret from 192.0.2.8, number 3
Nov 30 18:27:13 host kvs[123]: {"level":"warn","message":"wrong secret from 192.0.2.9, number 3","request_id":"r-5","target":"kvs::auth","time":"2026-11-30T18:27:13.257179Z"}
2026-11-30T18:27:14.197182Z  WARN kvs::damage: the row of "kvs::auth: wrong secret from 198.51.100.1, number 1
2026-11-30T18:27:14.197182Z  WARN kvs::damage: WARN kvs::auth: wrong secret from 198.51.100.1, number 1
2026-11-30T18:27:14.197182Z DEBUG kvs::auth: the same wrong secret again from 198.51.100.1
{"level":"warn","message":"the row of \"message\":\"wrong secret from 198.51.100.3, number 3\"","target":"kvs::damage","time":"2026-11-30T18:27:13.25717971Z"}
{"level":"warn","message":"wrong secret from 198.51.100.3, number 3","target":"kvs::damage","time":"2026-11-30T18:27:13.25717971Z"}
{"level":"warn","message":"wrong secret from 192.0.2.3, number 3","request_id":"r-5","target":"kvs::auth","time":"2026-11-30T18:27:13.25717971Z"}
"#;
    let matched = matched(log);
    assert!(matched.len() == 6 && !matched.concat().contains("198.51.100."), "{matched:#?}");
}
