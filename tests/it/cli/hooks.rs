//! Write hooks of real processes: commands, a server that stops, a CGI program after its answer, TLS.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Place;
use super::serving::{Server, ended, fastcgi, spawn_fastcgi};
use crate::support::receiver::{Receiver, Reply};

const SECRET: &str = "webhook_secret: 0123456789abcdef\n";

fn lines(receiver: &Receiver) -> Vec<String> {
    receiver.seen().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

/// A folder with a kvs that sends hooks to this receiver.
fn with_receiver(receiver: &Receiver, more: &str) -> Place {
    let place = Place::new();
    place.file("config.yaml", format!("purge: {}\n{more}", receiver.url()));
    place.file("auth.txt", "some-secret\n");
    place
}

fn end(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn every_command_that_writes_sends_its_hooks_before_it_ends() {
    let receiver = Receiver::start();
    let place = with_receiver(&receiver, "");
    let editor = place.editor("sed -i 's/^d:.*/d: new/' \"$1\"");
    let import = place.file("in.yaml", "d: 1\n");
    let mut sent = 0;
    for (args, key) in [
        (&["set", "a", "1"][..], "a"),
        (&["incr", "n"], "n"),
        (&["delete", "a"], "a"),
        (&["import", &import], "d"),
        (&["edit"], "d"),
    ] {
        let run = place.with(args, &[("EDITOR", &editor)], b"").ok();
        let expected = [format!("PURGE /kv/default/{key}"), format!("PURGE /?k={key}")];
        assert_eq!(lines(&receiver)[sent..], expected, "{args:?} {run:?}");
        sent += 2;
    }
    for args in [&["get", "n"][..], &["delete", "gone"], &["set", "a", "1", "--no-hooks"], &["compact"]] {
        place.run(args).ok();
    }
    place.with(&["set", "b", "1"], &[("KVS_HOOK_BUCKETS", "other")], b"").ok();
    assert_eq!(lines(&receiver).len(), sent);
}

#[test]
fn a_hanging_receiver_delays_a_command_for_a_limited_time() {
    let receiver = Receiver::start();
    receiver.usually(Reply::Silence);
    let place = with_receiver(&receiver, "");
    let started = Instant::now();
    let run = place.run(&["set", "a", "1", "--hook-drain-timeout", "300ms"]).ok();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(run.text(), "");
    assert!(run.err.contains("not delivered before shutdown") && run.err.lines().count() == 1, "{run:?}");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
    receiver.usually(Reply::Status(403, ""));
    let run = place.run(&["set", "a", "2"]).ok();
    assert!(run.err.contains("responded with status 403") && run.err.lines().count() == 1, "{run:?}");
}

#[test]
fn a_server_answers_writes_while_a_receiver_hangs_and_ends_in_time() {
    let receiver = Receiver::start();
    receiver.usually(Reply::Silence);
    let place = with_receiver(&receiver, "hook_drain_timeout: 500ms\n");
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    let started = Instant::now();
    for n in 0..20 {
        assert!(server.post(&format!("a{n}=1&auth=some-secret")).starts_with("HTTP/1.1 200"));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    receiver.wait_for(1);
    let started = Instant::now();
    let log = server.stop();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(log.contains("40 purge requests not delivered before shutdown"), "{log}");
}

#[test]
fn a_server_that_stops_delivers_the_remaining_events() {
    let receiver = Receiver::start();
    // The server retries until it is stopped.
    receiver.usually(Reply::Status(503, ""));
    let place =
        with_receiver(&receiver, &format!("webhook: {}/hook\n{SECRET}hook_drain_timeout: 20s\n", receiver.url()));
    let server = Server::start(&place, &["--http", "127.0.0.1:0"]);
    assert!(server.post("a=1&auth=some-secret").starts_with("HTTP/1.1 200"));
    receiver.wait_for(2);
    let mender = std::thread::spawn({
        let receiver = receiver.clone();
        move || {
            std::thread::sleep(Duration::from_millis(700));
            receiver.usually(Reply::Status(200, ""));
        }
    });
    let log = server.stop();
    mender.join().unwrap();
    assert!(!log.contains("not delivered") && !log.contains("delivery failed"), "{log}");
    let seen = lines(&receiver);
    for line in ["PURGE /kv/default/a", "PURGE /?k=a", "POST /hook"] {
        assert!(seen.iter().any(|l| l == line), "{seen:?}");
    }
}

#[test]
fn a_fastcgi_program_that_stops_delivers_the_remaining_events() {
    let receiver = Receiver::start();
    receiver.usually(Reply::Status(503, ""));
    let place = with_receiver(&receiver, "");
    let socket = place.path("s");
    let child = spawn_fastcgi(&place, &socket);
    let answer = fastcgi(&socket, ("POST", ""), "a=1&auth=some-secret");
    assert!(answer.contains("Status: 200"), "{answer}");
    receiver.wait_for(2);
    end(&child);
    std::thread::sleep(Duration::from_millis(500));
    receiver.usually(Reply::Status(200, ""));
    assert_eq!(ended(child), "");
    let requests = lines(&receiver);
    assert_eq!(requests.last().map(String::as_str), Some("PURGE /?k=a"), "{requests:?}");
}

#[test]
fn a_cgi_program_ends_its_answer_before_it_sends_hooks() {
    let receiver = Receiver::replying([Reply::Silence]);
    let place = with_receiver(&receiver, "hook_timeout: 800ms\n");
    let form = "a=1&auth=some-secret";
    let length = form.len().to_string();
    let mut command = place.command(&[]);
    command.envs([
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/kvs.cgi"),
        ("SCRIPT_FILENAME", "/srv/kvs.cgi"),
        ("REQUEST_URI", "/kvs.cgi"),
        ("CONTENT_LENGTH", &length),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
        ("KVS_HOME", place.0.path().to_str().unwrap()),
    ]);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(form.as_bytes()).unwrap();
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    let answered = Instant::now();
    assert!(answer.starts_with("Status: 200") && answer.ends_with("\r\n\r\nOK"), "{answer}");
    assert!(child.try_wait().unwrap().is_none(), "it has not sent the hook yet");
    // Apache does the same after the client has its answer.
    end(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(answered.elapsed() < Duration::from_secs(4));
    let requests = ["PURGE /kv/default/a", "PURGE /kv/default/a", "PURGE /?k=a"];
    assert_eq!(lines(&receiver), requests, "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server in Python that uses TLS with a self-signed certificate and prints its port, then each path.
const TLS: &str = "
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        print(self.path, flush=True)
        self.send_response(204)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn a_webhook_over_tls_needs_a_certificate_that_is_trusted() {
    let place = Place::new();
    let openssl =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"];
    let mut command = Command::new("openssl");
    command.args(openssl).args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    assert!(command.current_dir(place.0.path()).stderr(Stdio::null()).status().unwrap().success());
    let mut python = Command::new("python3");
    python.args(["-c", TLS]).current_dir(place.0.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = python.spawn().unwrap();
    let mut output = std::io::BufReader::new(server.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        line.trim().to_owned()
    };
    let port = line();
    place.file("config.yaml", format!("webhook: https://localhost:{port}/in\n{SECRET}hook_max_attempts: 1\n"));
    let cert = place.path("cert.pem");
    place.with(&["set", "a", "1"], &[("SSL_CERT_FILE", cert.to_str().unwrap())], b"").ok();
    assert_eq!(line(), "/in");
    let run = place.run(&["set", "a", "2"]).ok();
    assert!(run.err.contains("webhook delivery failed") && run.err.contains("ertificate"), "{run:?}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn invalid_hook_settings_are_errors_that_show_no_secret() {
    let place = Place::new();
    place.file("secret.txt", "hunter2\n");
    for (args, expected) in [
        (&["--webhook", "https://h/"][..], "--webhook: webhook_secret must be set"),
        (
            &["--webhook", "https://h/", "--webhook-secret", "hunter2"],
            "--webhook-secret: a webhook secret must have at least 16",
        ),
        (&["--webhook", "https://h/", "--webhook-secret", "file:secret.txt"], "at least 16"),
        (&["--webhook", "https://h/", "--webhook-secret", "file:none.txt"], "cannot read none.txt"),
        (&["--webhook", "hunter2", "--webhook-secret", "0123456789abcdef"], "--webhook: a hook URL must begin with"),
        (&["--purge", "http://me:hunter2@h/"], "--purge: a hook URL must not contain a user"),
        (&["--purge", "http://h/?a"], "--purge: a purge URL must not contain a query"),
        (&["--hook-queue", "0"], "--hook-queue: must be greater than 0"),
        (&["--hook-max-attempts", "0"], "--hook-max-attempts: must be greater than 0"),
    ] {
        let run = place.run(&[&["set", "a", "1"], args].concat()).fails(2, expected);
        assert!(!run.err.contains("hunter2"), "{run:?}");
    }
    // The path is relative to the folder of config.yaml.
    place.file("secret.txt", "0123456789abcdef\n");
    place.file("config.yaml", "webhook: https://h/hunter2\nwebhook_secret: file:secret.txt\n");
    let shown = place.run(&["serve", "--check-config"]).ok();
    assert!(!shown.text().contains("hunter2") && !shown.text().contains("0123456789abcdef"), "{shown:?}");
    place.run(&["get", "a", "--config", place.path("config.yaml").to_str().unwrap()]).fails(1, "");
}
