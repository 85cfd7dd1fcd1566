//! The metrics of a store of files and of the process: they are what is in the folder and in `/proc`.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::served::{SECRET, Served};
use crate::support::wait_until::wait_until;

/// The value of a metric without labels.
fn number(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// The value of a metric that is a whole number.
fn count(metrics: &str, name: &str) -> u64 {
    format!("{:.0}", number(metrics, name)).parse().unwrap()
}

fn send(server: &Served, method: &str, target: &str, value: &str) -> String {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-KVS-Auth: {SECRET}");
    server.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{value}", value.len()))
}

fn append(server: &Served, target: &str, value: &str) {
    let answer = send(server, "POST", target, value);
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

#[test]
fn sizes_are_those_of_the_folder() {
    let server = Served::start(&["--tidy-after", "0s"]);
    let empty = server.get("/metrics");
    for name in ["kvs_buckets", "kvs_keys", "kvs_data_bytes", "kvs_logs", "kvs_blobs", "kvs_damaged_files"] {
        assert_eq!(count(&empty, name), 0, "{name}");
    }
    for n in 0..7 {
        server.put(&format!("/kv/default/k{n}"), "1");
    }
    server.put("/kv/shop/large", &"x".repeat(100_000));
    for n in 0..5 {
        append(&server, "/log/kitchen/temp", &n.to_string());
    }
    // The sizes of the last second may be sent.
    wait_until(|| count(&server.get("/metrics"), "kvs_log_entries") == 5);
    let metrics = server.get("/metrics");
    let size = |path: &str| std::fs::metadata(server.folder().join("data").join(path)).unwrap().len();
    let expected = [
        ("kvs_buckets", 2),
        ("kvs_keys", 8),
        ("kvs_data_bytes", size("default.yaml") + size("shop.yaml")),
        ("kvs_logs", 1),
        ("kvs_log_entries", 5),
        ("kvs_log_bytes", size("kitchen.logs/temp.log")),
        ("kvs_blobs", 1),
        ("kvs_blob_bytes", 100_000),
        ("kvs_damaged_files", 0),
        ("kvs_ready", 1),
    ];
    for (name, expected) in expected {
        assert_eq!(count(&metrics, name), expected, "{name}: {metrics}");
    }
}

#[test]
fn writes_waits_and_syncs_are_counted() {
    let server = Served::start(&["--tidy-after", "0s"]);
    for n in 0..10 {
        server.put("/kv/default/a", &n.to_string());
    }
    for n in 0..4 {
        append(&server, "/log/default/a", &n.to_string());
    }
    let metrics = server.get("/metrics");
    assert_eq!(count(&metrics, "kvs_group_writes_count"), 14, "{metrics}");
    assert_eq!(count(&metrics, "kvs_group_writes_sum"), 14, "{metrics}");
    // The first append makes a new file.
    assert_eq!(count(&metrics, "kvs_sync_duration_seconds_count"), 13, "{metrics}");
    assert!(count(&metrics, "kvs_lock_wait_duration_seconds_count") >= 14, "{metrics}");
    assert_eq!(count(&metrics, "kvs_write_failures_total{kind=\"busy\"}"), 0, "{metrics}");
    let before = count(&metrics, "kvs_compactions_total");
    server.put("/kv/shop/a", "1");
    let tidying = Served::start(&["--tidy-after", "50ms"]);
    tidying.put("/kv/default/a", "1");
    tidying.put("/kv/default/a", "2");
    wait_until(|| count(&tidying.get("/metrics"), "kvs_compactions_total") > 0);
    assert_eq!(count(&server.get("/metrics"), "kvs_compactions_total"), before);
}

#[test]
fn waits_for_a_lock_that_others_hold_are_measured() {
    let server = Served::start(&["--lock-timeout", "20s"]);
    server.put("/kv/default/a", "1");
    let lock = std::fs::File::open(server.folder().join("data/default.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| server.put("/kv/default/a", "2"));
        wait_until(|| count(&server.get("/metrics"), "kvs_store_commits_total") == 2);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!write.is_finished());
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    });
    let waited = number(&server.get("/metrics"), "kvs_lock_wait_duration_seconds_sum");
    assert!(waited > 0.4, "{waited}");
}

#[test]
fn writes_that_get_no_lock_in_time_are_failures() {
    let server = Served::start(&["--lock-timeout", "200ms"]);
    server.put("/kv/default/a", "1");
    let lock = std::fs::File::open(server.folder().join("data/default.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let answer = send(&server, "PUT", "/kv/default/a", "2");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let metrics = server.get("/metrics");
    assert_eq!(count(&metrics, "kvs_write_failures_total{kind=\"busy\"}"), 1);
    assert_eq!(count(&metrics, "kvs_write_failures_total{kind=\"failed\"}"), 0);
    assert!(number(&metrics, "kvs_lock_wait_duration_seconds_sum") > 0.19, "{metrics}");
}

#[test]
fn damaged_files_and_a_lost_folder_are_seen() {
    let server = Served::start(&[]);
    server.put("/kv/default/a", "1");
    server.put("/kv/shop/a", "1");
    let mut file = std::fs::File::options().append(true).open(server.file("shop")).unwrap();
    file.write_all(b"b: &c 1\n").unwrap();
    wait_until(|| count(&server.get("/metrics"), "kvs_damaged_files") == 1);
    let metrics = server.get("/metrics");
    // The other bucket can be used.
    assert_eq!((count(&metrics, "kvs_ready"), count(&metrics, "kvs_buckets")), (1, 2), "{metrics}");
    rustix::fs::rename(server.folder().join("data"), server.folder().join("elsewhere")).unwrap();
    wait_until(|| count(&server.get("/metrics"), "kvs_ready") == 0);
}

#[test]
fn open_event_streams_are_counted_until_they_end() {
    let server = Served::start(&[]);
    server.put("/kv/default/a", "1");
    assert_eq!(count(&server.get("/metrics"), "kvs_streams"), 0);
    let mut stream = server.connect();
    stream.write_all(b"GET /kv/default/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let metrics = server.get("/metrics");
    assert_eq!((count(&metrics, "kvs_streams"), count(&metrics, "kvs_waiters")), (1, 1), "{metrics}");
    drop(stream);
    // The server sees it with the next event.
    wait_until(|| {
        server.put("/kv/default/a", "2");
        count(&server.get("/metrics"), "kvs_streams") == 0
    });
}

#[test]
fn process_metrics_are_those_of_the_system() {
    let server = Served::limited(500, &[]);
    let idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    wait_until(|| server.open_files() > 20);
    let metrics = server.get("/metrics");
    assert_eq!(count(&metrics, "process_max_fds"), 500);
    let (open, now) = (count(&metrics, "process_open_fds"), server.open_files() as u64);
    assert!(open > 20 && open.abs_diff(now) < 15, "{open} {now}");
    let memory = count(&metrics, "process_resident_memory_bytes") >> 20;
    assert!(memory > 2 && memory <= server.peak_memory(), "{memory} MiB");
    let used = number(&metrics, "process_cpu_seconds_total");
    wait_until(|| number(&server.get("/metrics"), "process_cpu_seconds_total") > used);
    drop(idle);
}
