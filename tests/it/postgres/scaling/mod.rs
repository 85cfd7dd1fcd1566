//! Several real processes on one PostgreSQL, used through HTTP: each sees the writes of the others at once, and
//! conditions and limits hold for all of them together.
//!
//! A client is a thread, and each of its requests uses a new connection.

mod failover;
mod front;
mod patroni;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::served::{SECRET, Served};

/// Starts `N` processes on the store at this URL.
fn processes<const N: usize>(url: &str) -> [Served; N] {
    [(); N].map(|()| Served::start(&["--store", url]))
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The value of a header, or an empty text.
    fn field(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    fn tag(&self) -> &str {
        self.field("etag")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request with the secret, unless the headers contain one.
fn ask(kvs: &Served, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
    if !fields.iter().any(|(name, _)| *name == "X-KVS-Auth") {
        request += &format!("X-KVS-Auth: {SECRET}\r\n");
    }
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let text = kvs.ask(&request);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {target}: {text:?}"));
    let status = head[9..12].parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn get(kvs: &Served, target: &str) -> Answer {
    ask(kvs, "GET", target, &[], "")
}

fn put(kvs: &Served, target: &str, value: &str) -> Answer {
    ask(kvs, "PUT", target, &[], value)
}

fn txn(kvs: &Served, body: &Value) -> Answer {
    ask(kvs, "POST", "/txn/default", &[("Content-Type", "application/json")], &body.to_string())
}

/// Repeats a request while the response is 503, which says that nothing was done.
fn retry(go: impl Fn() -> Answer) -> Answer {
    loop {
        let answer = go();
        if answer.status != 503 {
            return answer;
        }
        assert!(!answer.field("retry-after").is_empty(), "{answer:?}");
    }
}

/// Stops the threads on drop, also when the test panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `go` for each number on its own thread, all started at once, and collects the results.
fn at_once<T: Send>(number: usize, go: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(number);
    scope(|scope| {
        let (go, start) = (&go, &start);
        let begin = |n| {
            scope.spawn(move || {
                start.wait();
                go(n)
            })
        };
        let threads: Vec<_> = (0..number).map(begin).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_write_of_one_process_is_read_from_the_other_at_once() {
    let both = processes::<2>(&crate::postgres::empty(""));
    for n in 0..40 {
        let (writer, reader) = (&both[n % 2], &both[(n + 1) % 2]);
        let value = n.to_string();
        let stored = put(writer, "/kv/default/k", &value);
        assert_eq!(stored.status, if n == 0 { 201 } else { 200 });
        let found = get(reader, "/kv/default/k");
        assert_eq!((found.status, &found.body, found.tag()), (200, &value, stored.tag()));
        let same = ask(reader, "GET", "/kv/default/k", &[("If-None-Match", stored.tag())], "");
        assert_eq!(same.status, 304);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        assert_eq!(ask(writer, "POST", "/", &form, &format!("form={value}")).status, 200);
        assert_eq!(get(reader, "/?k=k,form").body, value);
        assert_eq!(get(reader, "/?k=k,form").field("kvs-key"), "form", "the one that was written last");
        assert_eq!(ask(writer, "DELETE", "/kv/default/form", &[], "").status, 200);
        assert_eq!(get(reader, "/?k=form").status, 404);
    }
}

#[test]
fn long_polls_are_answered_when_another_process_writes() {
    let both = processes::<2>(&crate::postgres::empty(""));
    put(&both[0], "/kv/default/k", "0");
    let mut slow = 0;
    for n in 1..=12 {
        let (writer, waiting) = (&both[n % 2], &both[(n + 1) % 2]);
        let tag = get(waiting, "/kv/default/k").tag().trim_matches('"').to_owned();
        let (value, quoted) = (n.to_string(), format!("\"{tag}\""));
        let written = scope(|scope| {
            let classic = scope.spawn(|| (get(waiting, &format!("/?k=k&wait=20&seen={tag}")), Instant::now()));
            let fields = [("Prefer", "wait=20"), ("If-None-Match", quoted.as_str())];
            let entry = scope.spawn(move || (ask(waiting, "GET", "/kv/default/k", &fields, ""), Instant::now()));
            // The first wait of each process makes it begin to listen.
            sleep(Duration::from_millis(if n <= 2 { 1000 } else { 100 }));
            let start = Instant::now();
            assert_eq!(put(writer, "/kv/default/k", &value).status, 200);
            [classic, entry].map(|thread| {
                let (answer, at) = thread.join().unwrap();
                assert_eq!((answer.status, &answer.body), (200, &value));
                at.saturating_duration_since(start)
            })
        });
        println!("answered after {written:?}");
        assert!(written.iter().all(|took| *took < Duration::from_secs(6)), "{written:?}");
        // Polling alone would take a second or more.
        slow += u32::from(written.iter().any(|took| *took > Duration::from_millis(500)));
    }
    assert!(slow <= 3, "{slow} of 12 were found only by polling");
}

#[test]
fn one_of_many_conditional_writes_on_two_processes_succeeds() {
    let both = processes::<2>(&crate::postgres::empty(""));
    put(&both[0], "/kv/default/k", "first");
    for round in 0..15 {
        let tag = get(&both[round % 2], "/kv/default/k").tag().to_owned();
        let answers = at_once(16, |n| {
            let condition = [("If-Match", tag.as_str())];
            retry(|| ask(&both[n % 2], "PUT", "/kv/default/k", &condition, &format!("{round} {n}"))).status
        });
        let winners: Vec<usize> = (0..16).filter(|n| answers[*n] == 200).collect();
        assert!(answers.iter().all(|status| matches!(status, 200 | 412)), "{answers:?}");
        assert_eq!(winners.len(), 1, "{answers:?}");
        let expected = format!("{round} {}", winners[0]);
        assert_eq!([0, 1].map(|n| get(&both[n], "/kv/default/k").body), [expected.clone(), expected]);
        let created = at_once(16, |n| {
            let condition = [("If-None-Match", "*")];
            let target = format!("/kv/default/new{round}");
            retry(|| ask(&both[n % 2], "PUT", &target, &condition, "")).status
        });
        assert_eq!(created.iter().filter(|status| **status == 201).count(), 1, "{created:?}");
        assert_eq!(created.iter().filter(|status| **status == 412).count(), 15, "{created:?}");
    }
}

#[test]
fn each_write_on_two_processes_returns_the_value_it_replaced() {
    let both = processes::<2>(&crate::postgres::empty(""));
    put(&both[0], "/kv/default/other", "");
    for round in 0..12 {
        let target = format!("/kv/default/k{round}?return=old");
        let olds = at_once(12, |n| {
            let answer = retry(|| put(&both[n % 2], &target, &format!("of {n}")));
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
            if answer.status == 204 { String::new() } else { answer.body }
        });
        let mut seen = [olds, vec![get(&both[0], &target).body]].concat();
        seen.sort();
        let mut expected: Vec<String> = (0..12).map(|n| format!("of {n}")).chain([String::new()]).collect();
        expected.sort();
        assert_eq!(seen, expected, "one write was the first, and each value was replaced once or is the last");
    }
}

#[test]
fn increments_of_three_processes_are_exact() {
    let all = processes::<3>(&crate::postgres::empty(""));
    let numbers = at_once(18, |n| {
        let count = |_| {
            let answer = retry(|| ask(&all[n % 3], "POST", "/kv/default/n?op=incr", &[], ""));
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.body.parse::<u64>().unwrap()
        };
        (0..20).map(count).collect::<Vec<_>>()
    });
    assert!(numbers.iter().all(|own| own.is_sorted()), "a client got an earlier number");
    let mut numbers = numbers.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=360).collect::<Vec<_>>(), "each number was returned to one client");
    assert_eq!([0, 1, 2].map(|n| get(&all[n], "/kv/default/n").body), ["360"; 3]);
}

#[test]
fn wrong_secrets_are_counted_over_all_processes() {
    let both = processes::<2>(&crate::postgres::empty(""));
    let store = |n: usize, secret: &str| ask(&both[n], "PUT", "/kv/default/k", &[("X-KVS-Auth", secret)], "1");
    assert_eq!([0, 1, 2, 3, 4].map(|n| store(n % 2, &format!("guess {n}")).status), [401; 5]);
    for n in [0, 1] {
        let answer = store(n, SECRET);
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.field("retry-after").parse::<u64>().unwrap() >= 1);
    }
    sleep(Duration::from_millis(1100));
    assert_eq!([1, 0].map(|n| store(n, SECRET).status), [201, 200], "the pause is over on both processes");
}

#[test]
fn terminated_idle_connections_cause_no_errors() {
    let both = processes::<2>(&crate::postgres::empty("application_name=cut_meanwhile"));
    let server = crate::postgres::Server::shared();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut_meanwhile'";
    for n in 0..6 {
        let kvs = &both[n % 2];
        let statuses = [
            put(kvs, "/kv/default/k", "1").status,
            get(kvs, "/kv/default/k").status,
            ask(kvs, "POST", "/kv/default/n?op=incr", &[], "").status,
            txn(kvs, &json!({"ops": [{"op": "append", "key": "t", "value": "x"}]})).status,
        ];
        let expected = if n == 0 { [201, 200, 200, 200] } else { [200; 4] };
        assert_eq!(statuses, expected, "round {n}");
        server.psql(cut);
        sleep(Duration::from_millis(50));
        // The first request after the termination is a read, or an evaluated write.
        let first =
            if n < 3 { get(kvs, "/kv/default/n") } else { ask(kvs, "POST", "/kv/default/n?op=incr&by=0", &[], "") };
        assert_eq!((first.status, first.body), (200, (n + 1).to_string()));
    }
    assert_eq!(get(&both[0], "/kv/default/t").body, "xxxxxx");
}

#[test]
fn a_connection_terminated_before_the_write_causes_no_error() {
    let server = crate::postgres::Server::shared();
    let [kvs] = processes::<1>(&server.url("table=cut_early&application_name=cut_early"));
    put(&kvs, "/kv/default/k", "1");
    for target in ["/kv/default/n?op=incr", "/kv/default/n?op=append"] {
        let answer = scope(|scope| {
            let held = "SELECT 1 FROM cut_early_buckets WHERE bucket = 'default' FOR UPDATE; SELECT pg_sleep(3)";
            let holder = scope.spawn(|| server.psql(held));
            let wait_for = |what: &str| {
                let start = Instant::now();
                while server.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}")) != "1" {
                    assert!(start.elapsed() < Duration::from_secs(20), "{what}");
                    sleep(Duration::from_millis(20));
                }
            };
            wait_for("wait_event = 'PgSleep' AND query LIKE '%cut_early_buckets%'");
            let counts = scope.spawn(|| ask(&kvs, "POST", target, &[], "2"));
            let waits = "wait_event_type = 'Lock' AND application_name = 'cut_early'";
            wait_for(waits);
            server.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {waits}"));
            holder.join().unwrap();
            counts.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(get(&kvs, "/kv/default/n").body, "12");
}

#[test]
fn transfers_on_two_processes_are_atomic() {
    const ACCOUNTS: usize = 5;
    let both = processes::<2>(&crate::postgres::empty(""));
    let name = |n: usize| format!("account{n}");
    let ops: Vec<_> = (0..ACCOUNTS).map(|n| json!({"op": "set", "key": name(n), "value": "100"})).collect();
    assert_eq!(txn(&both[0], &json!({ "ops": ops })).status, 200);
    let all: Vec<_> = (0..ACCOUNTS).map(|n| json!({ "key": name(n) })).collect();
    let sum = |kvs: &Served| {
        let found = retry(|| {
            ask(kvs, "POST", "/multi/default", &[("Content-Type", "application/json")], &json!(all).to_string())
        });
        let balances: BTreeMap<String, String> = serde_json::from_value(found.json()).unwrap();
        balances.values().map(|balance| balance.parse::<i64>().unwrap()).sum::<i64>()
    };
    // With the read values as conditions, or by increments.
    let transfer = |kvs: &Served, from: &str, to: &str, by_increments: bool| {
        if by_increments {
            let ops = json!([{"op": "incr", "key": from, "by": -1}, {"op": "incr", "key": to, "by": 1}]);
            return retry(|| txn(kvs, &json!({ "ops": ops }))).status == 200;
        }
        let read = |key: &str| retry(|| get(kvs, &format!("/kv/default/{key}")));
        let (a, b) = (read(from), read(to));
        let more = |text: &str, by: i64| (text.parse::<i64>().unwrap() + by).to_string();
        let moved = retry(|| {
            txn(
                kvs,
                &json!({"checks": [{"key": from, "revision": a.tag().trim_matches('"')}, {"key": to, "value": b.body}],
                "ops": [{"op": "set", "key": from, "value": more(&a.body, -1)}, {"op": "set", "key": to, "value": more(&b.body, 1)}]}),
            )
        });
        assert!(matches!(moved.status, 200 | 409), "{moved:?}");
        moved.status == 200
    };
    let done = AtomicBool::new(false);
    scope(|scope| {
        let guard = StopOnDrop(&done);
        for kvs in &both {
            let (done, sum) = (&done, &sum);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(sum(kvs), 500);
                }
            });
        }
        let moved = at_once(8, |n| {
            let route = |round: usize| ((n + round) % ACCOUNTS, (n + 2 * round + 1) % ACCOUNTS);
            let routes = (0..20).map(route).filter(|(from, to)| from != to);
            routes.filter(|(from, to)| transfer(&both[n % 2], &name(*from), &name(*to), n / 2 % 2 == 0)).count()
        });
        drop(guard);
        assert!(moved.iter().sum::<usize>() >= 4 * 16, "{moved:?}");
    });
    assert_eq!([0, 1].map(|n| sum(&both[n])), [500; 2]);
}
