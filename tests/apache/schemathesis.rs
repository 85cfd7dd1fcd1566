//! schemathesis reads `openapi.json` from a private server and tries all that it tells of: what fits, what nearly fits, and
//! what does not. Nothing may come back that is not told there, in status, type or shape, and no 500.
//!
//! What is tried is the same each time; `tests/schemathesis/` has the settings and says what is left out and why.

use std::path::Path;
use std::process::Command;

use crate::openapi::assert_described;
use crate::python::programs;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};
use crate::{rest, script};

/// Runs it with these arguments, and with that secret.
fn conforms(server: &Server, secret: &str, arguments: &[&str]) {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let mut command = Command::new(programs().join("schemathesis"));
    command.arg("--config-file").arg(settings.join("schemathesis.toml")).arg("run");
    let origin = format!("http://127.0.0.1:{}", server.port);
    command.arg(format!("{origin}/openapi.json")).args(["--url", &origin]);
    // One worker: several would stumble over each other in the parser of Python 3.11.
    command.args(["--no-color", "--request-timeout", "30", "--continue-on-failure", "--workers", "1"]).args(arguments);
    // Where it keeps its notes.
    command.current_dir(server.site.run()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", &settings).env("SCHEMATHESIS_HOOKS", "hooks").env("KVS_SECRET", secret);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // A request it made may be very long.
    let lines = text.lines().map(|line| line.chars().take(300).collect::<String>() + "\n");
    let told = lines.collect::<String>() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.site.logs());
    assert!(told.contains("Tested: ") && !told.contains("Tested: 0"), "{told}");
}

fn server() -> Server {
    let site = Site::new();
    // Long waits are tried elsewhere.
    std::fs::write(site.root().join("config.yaml"), "max_wait: 100ms\n").unwrap();
    Server::start_in(site, Way::Http)
}

/// Answers of that status to requests of that method to that route.
fn answers(server: &Server, route: &str, method: &str, status: u16) -> u64 {
    let text = server.send(b"GET /metrics HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n").text();
    let series = format!("kvs_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |number| number.parse().unwrap())
}

#[test]
fn everything_answered_is_told_when_the_secret_is_given() {
    let server = server();
    conforms(&server, SECRET, &["--phases", "examples,coverage,fuzzing", "--max-examples", "40"]);
    // That it came as far as the store, and was not turned away at the door.
    for (route, method, status) in [
        ("root", "POST", 200),
        ("root", "GET", 200),
        ("entry", "PUT", 201),
        ("entry", "GET", 200),
        ("entry", "DELETE", 200),
        ("bucket", "GET", 200),
        ("bucket", "DELETE", 200),
        ("multi", "POST", 200),
        ("multi", "PUT", 200),
        ("txn", "POST", 200),
        ("txn", "POST", 409),
    ] {
        assert!(answers(&server, route, method, status) > 0, "no {status} to {method} of {route}");
    }
}

#[test]
fn every_answer_of_the_scripts_is_told() {
    let steps = || script::steps().into_iter().chain(rest::steps());
    assert!(steps().count() > 100);
    for step in steps().filter(|step| step.status != 0 && !step.wire) {
        let request = String::from_utf8_lossy(&step.request);
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.split('?').next().unwrap();
        // Absolute form names a host as well.
        let path = path.strip_prefix("http://kvs.test").unwrap_or(path);
        assert_described(method, path, step.status);
    }
}

#[test]
fn everything_answered_is_told_when_no_secret_is_given() {
    let server = server();
    conforms(&server, "", &["--phases", "examples,fuzzing", "--max-examples", "10"]);
    for (route, method) in [("entry", "PUT"), ("entry", "DELETE"), ("txn", "POST"), ("bucket", "GET")] {
        assert!(answers(&server, route, method, 401) > 0, "{method} of {route}");
    }
    for (route, method, status) in [("entry", "PUT", 201), ("root", "POST", 200), ("bucket", "DELETE", 200)] {
        assert_eq!(answers(&server, route, method, status), 0, "{status} to {method} of {route} without a secret");
    }
}
