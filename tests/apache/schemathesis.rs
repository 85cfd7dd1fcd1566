//! schemathesis reads `openapi.json` from a private server and tests everything that it describes, with valid, nearly
//! valid and invalid requests. Each response must have a status, type and shape that is described there, and must not
//! be 500.
//!
//! The requests are the same each time. `tests/schemathesis/` contains the settings, and says what is not tested and
//! why.

use std::path::Path;
use std::process::Command;

use crate::openapi::assert_described;
use crate::python::programs;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};
use crate::{rest, script};

/// Runs schemathesis with these arguments and this secret, and checks that it reports no failure.
fn assert_conforms(server: &Server, secret: &str, arguments: &[&str]) {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let mut command = Command::new(programs().join("schemathesis"));
    command.arg("--config-file").arg(settings.join("schemathesis.toml")).arg("run");
    let origin = format!("http://127.0.0.1:{}", server.port);
    command.arg(format!("{origin}/openapi.json")).args(["--url", &origin]);
    // One worker: several cause errors in the parser of Python 3.11.
    command.args(["--no-color", "--request-timeout", "30", "--continue-on-failure", "--workers", "1"]).args(arguments);
    // The folder for its own files.
    command.current_dir(server.site.run()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", &settings).env("SCHEMATHESIS_HOOKS", "hooks").env("KVS_SECRET", secret);
    let finished = command.output().unwrap();
    let text = String::from_utf8_lossy(&finished.stdout);
    // A request may be very long.
    let lines = text.lines().map(|line| line.chars().take(300).collect::<String>() + "\n");
    let output = lines.collect::<String>() + &String::from_utf8_lossy(&finished.stderr);
    assert!(finished.status.success(), "{output}\n{}", server.site.logs());
    assert!(output.contains("Tested: ") && !output.contains("Tested: 0"), "{output}");
}

fn server() -> Server {
    let site = Site::new();
    // Other tests cover long waits.
    std::fs::write(site.root().join("config.yaml"), "max_wait: 100ms\n").unwrap();
    Server::start_in(site, Way::Http)
}

/// The number of responses with this status to requests of this method and route.
fn response_count(server: &Server, route: &str, method: &str, status: u16) -> u64 {
    let text = server.send(b"GET /metrics HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n").text();
    let series = format!("kvs_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |number| number.parse().unwrap())
}

#[test]
fn responses_with_the_secret_conform_to_openapi() {
    let server = server();
    assert_conforms(&server, SECRET, &["--phases", "examples,coverage,fuzzing", "--max-examples", "40"]);
    // Requests reached the store; they were not rejected before.
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
        assert!(response_count(&server, route, method, status) > 0, "no {status} to {method} of {route}");
    }
}

#[test]
fn responses_of_the_scripts_are_in_openapi() {
    let steps = || script::steps().into_iter().chain(rest::steps());
    assert!(steps().count() > 100);
    for step in steps().filter(|step| step.status != 0 && !step.wire) {
        let request = String::from_utf8_lossy(&step.request);
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.split('?').next().unwrap();
        // Absolute form names a host too.
        let path = path.strip_prefix("http://kvs.test").unwrap_or(path);
        assert_described(method, path, step.status);
    }
}

#[test]
fn responses_without_a_secret_conform_to_openapi() {
    let server = server();
    assert_conforms(&server, "", &["--phases", "examples,fuzzing", "--max-examples", "10"]);
    for (route, method) in [("entry", "PUT"), ("entry", "DELETE"), ("txn", "POST"), ("bucket", "GET")] {
        assert!(response_count(&server, route, method, 401) > 0, "{method} of {route}");
    }
    for (route, method, status) in [("entry", "PUT", 201), ("root", "POST", 200), ("bucket", "DELETE", 200)] {
        assert_eq!(
            response_count(&server, route, method, status),
            0,
            "{status} to {method} of {route} without a secret"
        );
    }
}
