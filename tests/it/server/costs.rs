//! What a request costs: system calls, and instructions of the processor. Both hardly depend on how busy the machine is,
//! so a change that makes kvs slower is noticed without a clock.
//!
//! `tests/data/costs.yaml` has the expected figures. If a change is meant to alter them, the message of the failed test
//! has the new ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::support::served::{SECRET, Served};

/// How much more or less than expected is allowed.
const TOLERANCE: f64 = 0.1;

/// The same for instructions if another compiler than the recorded one has built kvs.
const TOLERANCE_OF_OTHER_COMPILERS: f64 = 0.5;

/// How many requests of a kind are counted.
const REQUESTS: u16 = 400;

/// The entries of the data file.
const ENTRIES: usize = 1_000;

#[derive(Deserialize)]
struct Expected {
    /// The version of rustc that built the program whose instructions are recorded.
    compiler: String,
    system_calls: BTreeMap<String, f64>,
    instructions: BTreeMap<String, f64>,
}

fn expected() -> Expected {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/costs.yaml");
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A request on a kept connection, as clients send it.
fn request(kind: &str, number: usize) -> String {
    match kind {
        "get" => "GET /?k=key7 HTTP/1.1\r\nHost: kvs.test\r\n\r\n".to_owned(),
        "get_of_many_keys" => {
            format!("GET /?k=key{} HTTP/1.1\r\nHost: kvs.test\r\n\r\n", number % ENTRIES)
        }
        "post" => {
            let form = format!("key{}=21.5&auth={SECRET}", number % ENTRIES);
            let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: application/x-www-form-urlencoded";
            format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len())
        }
        _ => panic!("{kind}"),
    }
}

fn write_entries(folder: &Path) {
    let mut text = "---\n".to_owned();
    for number in 0..ENTRIES {
        writeln!(text, "key{number}: value of entry {number}").unwrap();
    }
    std::fs::create_dir(folder.join("data")).unwrap();
    File::create(folder.join("data/default.yaml")).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Sends requests one after another, and reads each response.
fn send(served: &Served, kind: &str, requests: u16) {
    let mut socket = served.connect();
    let (mut received, mut block) = (vec![], [0; 4096]);
    for number in 0..requests {
        socket.write_all(request(kind, number.into()).as_bytes()).unwrap();
        received.clear();
        loop {
            let count = socket.read(&mut block).unwrap();
            assert!(count > 0, "broken off: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&block[..count]);
            let text = std::str::from_utf8(&received).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                break;
            }
        }
    }
}

/// What a tool has counted from the start of kvs to its end.
type Tool = fn(kind: &str, requests: u16) -> f64;

/// Runs kvs under a tool, which writes its counts to the file `counts`, and reads them when they are complete.
fn counted(tool: &[&str], kind: &str, requests: u16, number: fn(&str) -> Option<f64>) -> f64 {
    let flags = ["--tidy-after", "0s"];
    let mut served = Served::under(tool, &flags, write_entries);
    send(&served, kind, requests);
    served.terminate();
    assert!(served.ended(Duration::from_secs(60)).is_some_and(|status| status.success()));
    let (counts, start) = (served.folder().join("counts"), Instant::now());
    loop {
        let text = std::fs::read_to_string(&counts).unwrap_or_default();
        if let Some(count) = number(&text) {
            return count;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{tool:?} has counted nothing\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often threads wait for each other and wake each other depends on the machine.
const NOT_COUNTED: [&str; 8] =
    ["futex", "epoll_wait", "write", "sched_yield", "clock_nanosleep", "restart_syscall", "madvise", "total"];

fn system_calls(kind: &str, requests: u16) -> f64 {
    counted(&["strace", "-D", "-f", "-c", "-o", "counts"], kind, requests, |text| {
        let lines = text.lines().skip(2).map_while(|line| {
            let mut words = line.split_whitespace().skip(3);
            Some((words.next()?.parse::<f64>().ok()?, words.last()?.to_owned()))
        });
        let lines: Vec<_> = lines.collect();
        let counted = lines.iter().filter(|(_, name)| !NOT_COUNTED.contains(&name.as_str()));
        text.contains(" total").then(|| counted.map(|(count, _)| count).sum())
    })
}

fn instructions(kind: &str, requests: u16) -> f64 {
    let tool = ["valgrind", "--tool=callgrind", "--quiet", "--callgrind-out-file=counts"];
    counted(&tool, kind, requests, |text| {
        text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
    })
}

/// Compares what each kind of request costs, and the start of the program, which ends with its first response.
fn compare(tool: Tool, expected: &BTreeMap<String, f64>, tolerance: f64) {
    let (mut report, mut differs) = (String::new(), false);
    for (kind, expected) in expected {
        let count = match kind.as_str() {
            "start" => tool("get", 1),
            kind => (tool(kind, REQUESTS + 1) - tool(kind, 1)) / f64::from(REQUESTS),
        };
        differs |= (count - expected).abs() > expected * tolerance;
        writeln!(report, "  {kind}: {count:.2} (expected {expected})").unwrap();
    }
    eprintln!("{report}");
    assert!(!differs, "more or less than tests/data/costs.yaml says:\n{report}");
}

#[test]
fn requests_take_the_expected_system_calls() {
    compare(system_calls, &expected().system_calls, TOLERANCE);
}

#[test]
fn requests_take_the_expected_instructions() {
    let expected = expected();
    let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let is_recorded = String::from_utf8(version).unwrap().contains(&expected.compiler);
    let tolerance = if is_recorded { TOLERANCE } else { TOLERANCE_OF_OTHER_COMPILERS };
    compare(instructions, &expected.instructions, tolerance);
}
