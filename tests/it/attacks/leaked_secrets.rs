//! Secrets are not where other users, programs or backups find them: not in the log at any level, not in the command
//! line or the environment of the process, and not in core files.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::regression::server::programs::{Place, SECRET};
use crate::support::served::Served;

const WEBHOOK_SECRET: &str = "the-secret-of-the-webhook-5Rt";
const WRONG: &str = "a-wrong-secret-8Yx";

/// The limits on core files of a process: the soft and the hard one.
fn core_limits(id: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    line.split_whitespace().take(2).map(ToOwned::to_owned).collect()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(20), "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const UNLIMITED: [&str; 3] = ["sh", "-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""];

fn nothing(_: &Path) {}

#[test]
fn server_that_crashes_leaves_no_core_file() {
    let mut served = Served::under(&UNLIMITED, &[], nothing);
    let id = u32::try_from(served.id().as_raw_nonzero().get()).unwrap();
    assert_eq!(core_limits(id), ["0", "0"]);
    rustix::process::kill_process(served.id(), rustix::process::Signal::ABORT).unwrap();
    assert!(served.ended(Duration::from_secs(20)).is_some_and(|status| !status.success()));
    let names = std::fs::read_dir(served.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let cores: Vec<_> = names.filter(|name| name.to_string_lossy().contains("core")).collect();
    assert!(cores.is_empty(), "{cores:?}");
}

/// A program that a web server started.
struct Spawned(Child);

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn program_under_a_web_server_leaves_no_core_file_either() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("s")).unwrap();
    let mut command = place.program();
    command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = Spawned(command.spawn().unwrap());
    wait_for("the limit of the program", || core_limits(spawned.0.id()) == ["0", "0"]);
}

/// The requests carry secrets in every way that kvs accepts, and in ways that it refuses.
fn requests() -> Vec<String> {
    let basic = |secret: &str| STANDARD.encode(format!("me:{secret}"));
    let mut all = vec![];
    for secret in [SECRET, WRONG] {
        let form = format!("a=1&auth={secret}");
        let broken = format!("a%00=1&auth={secret}&auth={secret}&");
        for (line, headers, body) in [
            ("POST /", String::new(), form.as_str()),
            ("POST /", String::new(), broken.as_str()),
            ("POST /", "Content-Type: text/plain\r\n".to_owned(), form.as_str()),
            ("POST /", "Content-Digest: sha-256=:AAAA:\r\n".to_owned(), form.as_str()),
            ("GET /kv/default", format!("X-KVS-Auth: {secret}\r\n"), ""),
            ("GET /kv/default", format!("Authorization: Bearer {secret}\r\n"), ""),
            ("GET /kv/default", format!("Authorization: Basic {}\r\n", basic(secret)), ""),
            ("GET /kv/default", format!("Authorization: Digest {secret}\r\n"), ""),
            ("GET /kv/default", format!("X-KVS-Auth: {secret}\r\nX-KVS-Auth: {secret}\r\n"), ""),
            ("PUT /kv/default/a", format!("X-KVS-Auth: {secret}\r\nIf-Match: x\r\n"), "1"),
            (&format!("GET /?k=a&auth={secret}"), String::new(), ""),
            (&format!("GET /kv/default/a?%61uth={secret}"), String::new(), ""),
        ] {
            let length = body.len();
            all.push(format!(
                "{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
            ));
        }
    }
    all
}

#[test]
fn no_secret_is_in_the_log_of_any_level_or_in_the_process() {
    let place = Place::new();
    let put = |name: &str, text: &str| File::create(place.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    put("webhook", WEBHOOK_SECRET);
    // Nothing listens on this port, so the log has errors of the webhook.
    put("config.yaml", "webhook: http://127.0.0.1:1/a-token-in-the-url\nwebhook_secret: file:webhook\n");
    let log = File::create(place.path("log")).unwrap();
    let mut command = place.program();
    command.env("KVS_LOG", "trace").args(["serve", "--http", "unix:s", "--socket-mode", "600", "-vv"]);
    let mut child = Spawned(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    wait_for("the socket", || place.path("s").exists());
    let mut answers = String::new();
    for request in requests() {
        let mut socket = std::os::unix::net::UnixStream::connect(place.path("s")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        std::io::Read::read_to_string(&mut socket, &mut answers).unwrap();
    }
    let text = |name: &str| String::from_utf8_lossy(&std::fs::read(name).unwrap()).into_owned();
    let process = ["cmdline", "environ", "comm", "status"].map(|file| text(&format!("/proc/{}/{file}", child.0.id())));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::TERM).unwrap();
    wait_for("the end", || child.0.try_wait().unwrap().is_some());
    let log = text(place.path("log").to_str().unwrap());
    assert!(log.contains("TRACE") && log.contains("wrong secret from"), "{log}");
    assert!(answers.matches("HTTP/1.1 200").count() >= 2 && answers.contains("HTTP/1.1 401"), "{answers}");
    let checked = place.program().args(["serve", "--check-config"]).output().unwrap().stdout;
    let settings = String::from_utf8_lossy(&checked).into_owned();
    for (place, text) in [("log", &log), ("responses", &answers), ("--check-config", &settings)]
        .into_iter()
        .chain(process.iter().map(|text| ("process", text)))
    {
        for secret in [SECRET, WRONG, WEBHOOK_SECRET, "a-token-in-the-url"] {
            let encoded = STANDARD.encode(format!("me:{secret}"));
            assert!(!text.contains(secret) && !text.contains(&encoded), "{secret} in {place}:\n{text}");
        }
    }
}

/// Every user of the machine sees the flags of a process, but no client does.
#[test]
fn secrets_in_flags_are_not_shown_to_clients() {
    let flags = ["--webhook", "http://127.0.0.1:1/a-token", "--webhook-secret", WEBHOOK_SECRET];
    let served = Served::start(&flags);
    for target in ["/metrics", "/status", "/help", "/"] {
        let answer = served.get(target);
        assert!(!answer.contains(WEBHOOK_SECRET) && !answer.contains("a-token"), "{target}: {answer}");
    }
}
