//! Several real processes over one PostgreSQL, asked through HTTP: what one has written the others know, and clients that are
//! spread over them are judged as if there were one.
//!
//! A client is a thread, and each of its requests a connection.

mod failover;
mod front;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::served::{SECRET, Served};

/// So many processes over the store at that URL.
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
    /// The value of a field, or nothing.
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

/// With the secret, unless the fields hold one.
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

/// Asks again as long as it is told to: nothing was done.
fn patient(go: impl Fn() -> Answer) -> Answer {
    loop {
        let answer = go();
        if answer.status != 503 {
            return answer;
        }
        assert!(!answer.field("retry-after").is_empty(), "{answer:?}");
    }
}

/// Tells threads to stop, also when the test fails in the middle.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs this for each number on a thread of its own, all released at once, and gathers what comes of it.
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
fn what_one_process_has_stored_the_other_answers_at_once() {
    let ends = processes::<2>(&crate::postgres::empty(""));
    for n in 0..40 {
        let (writes, reads) = (&ends[n % 2], &ends[(n + 1) % 2]);
        let value = n.to_string();
        let stored = put(writes, "/kv/default/k", &value);
        assert_eq!(stored.status, if n == 0 { 201 } else { 200 });
        let found = get(reads, "/kv/default/k");
        assert_eq!((found.status, &found.body, found.tag()), (200, &value, stored.tag()));
        let same = ask(reads, "GET", "/kv/default/k", &[("If-None-Match", stored.tag())], "");
        assert_eq!(same.status, 304);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        assert_eq!(ask(writes, "POST", "/", &form, &format!("form={value}")).status, 200);
        assert_eq!(get(reads, "/?k=k,form").body, value);
        assert_eq!(get(reads, "/?k=k,form").field("kvs-key"), "form", "the one that was written last");
        assert_eq!(ask(writes, "DELETE", "/kv/default/form", &[], "").status, 200);
        assert_eq!(get(reads, "/?k=form").status, 404);
    }
}

#[test]
fn who_waits_at_one_process_is_answered_when_the_other_writes() {
    let ends = processes::<2>(&crate::postgres::empty(""));
    put(&ends[0], "/kv/default/k", "0");
    let mut slow = 0;
    for n in 1..=12 {
        let (writes, waits) = (&ends[n % 2], &ends[(n + 1) % 2]);
        let tag = get(waits, "/kv/default/k").tag().trim_matches('"').to_owned();
        let (value, quoted) = (n.to_string(), format!("\"{tag}\""));
        let written = scope(|scope| {
            let classic = scope.spawn(|| (get(waits, &format!("/?k=k&wait=20&seen={tag}")), Instant::now()));
            let fields = [("Prefer", "wait=20"), ("If-None-Match", quoted.as_str())];
            let entry = scope.spawn(move || (ask(waits, "GET", "/kv/default/k", &fields, ""), Instant::now()));
            // The first of each process has it begin to listen.
            sleep(Duration::from_millis(if n <= 2 { 1000 } else { 100 }));
            let begun = Instant::now();
            assert_eq!(put(writes, "/kv/default/k", &value).status, 200);
            [classic, entry].map(|thread| {
                let (answer, at) = thread.join().unwrap();
                assert_eq!((answer.status, &answer.body), (200, &value));
                at.saturating_duration_since(begun)
            })
        });
        println!("answered after {written:?}");
        assert!(written.iter().all(|took| *took < Duration::from_secs(6)), "{written:?}");
        // By looking alone it would take a second or more.
        slow += u32::from(written.iter().any(|took| *took > Duration::from_millis(500)));
    }
    assert!(slow <= 3, "{slow} of 12 were found by looking only");
}

#[test]
fn of_many_clients_at_both_ends_with_one_tag_one_wins() {
    let ends = processes::<2>(&crate::postgres::empty(""));
    put(&ends[0], "/kv/default/k", "first");
    for round in 0..15 {
        let tag = get(&ends[round % 2], "/kv/default/k").tag().to_owned();
        let answers = at_once(16, |n| {
            let guard = [("If-Match", tag.as_str())];
            patient(|| ask(&ends[n % 2], "PUT", "/kv/default/k", &guard, &format!("{round} {n}"))).status
        });
        let winners: Vec<usize> = (0..16).filter(|n| answers[*n] == 200).collect();
        assert!(answers.iter().all(|status| matches!(status, 200 | 412)), "{answers:?}");
        assert_eq!(winners.len(), 1, "{answers:?}");
        let due = format!("{round} {}", winners[0]);
        assert_eq!([0, 1].map(|end| get(&ends[end], "/kv/default/k").body), [due.clone(), due]);
        let created = at_once(16, |n| {
            let guard = [("If-None-Match", "*")];
            let target = format!("/kv/default/new{round}");
            patient(|| ask(&ends[n % 2], "PUT", &target, &guard, "")).status
        });
        assert_eq!(created.iter().filter(|status| **status == 201).count(), 1, "{created:?}");
        assert_eq!(created.iter().filter(|status| **status == 412).count(), 15, "{created:?}");
    }
}

#[test]
fn of_plain_writes_at_both_ends_each_is_told_what_it_replaced() {
    let ends = processes::<2>(&crate::postgres::empty(""));
    put(&ends[0], "/kv/default/other", "");
    for round in 0..12 {
        let target = format!("/kv/default/k{round}?return=old");
        let olds = at_once(12, |n| {
            let answer = patient(|| put(&ends[n % 2], &target, &format!("of {n}")));
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
            if answer.status == 204 { String::new() } else { answer.body }
        });
        let mut seen = [olds, vec![get(&ends[0], &target).body]].concat();
        seen.sort();
        let mut due: Vec<String> = (0..12).map(|n| format!("of {n}")).chain([String::new()]).collect();
        due.sort();
        assert_eq!(seen, due, "each value was replaced once, or stands, and one write came first");
    }
}

#[test]
fn three_processes_count_exactly() {
    let ends = processes::<3>(&crate::postgres::empty(""));
    let numbers = at_once(18, |n| {
        let count = |_| {
            let answer = patient(|| ask(&ends[n % 3], "POST", "/kv/default/n?op=incr", &[], ""));
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.body.parse::<u64>().unwrap()
        };
        (0..20).map(count).collect::<Vec<_>>()
    });
    assert!(numbers.iter().all(|own| own.is_sorted()), "nobody is told a number that is past");
    let mut numbers = numbers.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=360).collect::<Vec<_>>(), "each number was given to one client");
    assert_eq!([0, 1, 2].map(|end| get(&ends[end], "/kv/default/n").body), ["360"; 3]);
}

#[test]
fn wrong_secrets_are_counted_over_all_processes() {
    let ends = processes::<2>(&crate::postgres::empty(""));
    let store = |end: usize, secret: &str| ask(&ends[end], "PUT", "/kv/default/k", &[("X-KVS-Auth", secret)], "1");
    assert_eq!([0, 1, 2, 3, 4].map(|n| store(n % 2, &format!("guess {n}")).status), [401; 5]);
    for end in [0, 1] {
        let answer = store(end, SECRET);
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.field("retry-after").parse::<u64>().unwrap() >= 1);
    }
    sleep(Duration::from_millis(1100));
    assert_eq!([1, 0].map(|end| store(end, SECRET).status), [201, 200], "the pause is over at both ends");
}

#[test]
fn connections_that_were_cut_meanwhile_are_not_felt() {
    let ends = processes::<2>(&crate::postgres::empty("application_name=cut_meanwhile"));
    let server = crate::postgres::Server::shared();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut_meanwhile'";
    for n in 0..6 {
        let kvs = &ends[n % 2];
        let statuses = [
            put(kvs, "/kv/default/k", "1").status,
            get(kvs, "/kv/default/k").status,
            ask(kvs, "POST", "/kv/default/n?op=incr", &[], "").status,
            txn(kvs, &json!({"ops": [{"op": "append", "key": "t", "value": "x"}]})).status,
        ];
        let due = if n == 0 { [201, 200, 200, 200] } else { [200; 4] };
        assert_eq!(statuses, due, "round {n}");
        server.psql(cut);
        sleep(Duration::from_millis(50));
        // A read, or a write that is judged, is the first to come upon it.
        let first =
            if n < 3 { get(kvs, "/kv/default/n") } else { ask(kvs, "POST", "/kv/default/n?op=incr&by=0", &[], "") };
        assert_eq!((first.status, first.body), (200, (n + 1).to_string()));
    }
    assert_eq!(get(&ends[0], "/kv/default/t").body, "xxxxxx");
}

#[test]
fn a_connection_that_is_cut_before_anything_is_done_is_not_felt() {
    let server = crate::postgres::Server::shared();
    let [kvs] = processes::<1>(&server.url("table=cut_early&application_name=cut_early"));
    put(&kvs, "/kv/default/k", "1");
    for target in ["/kv/default/n?op=incr", "/kv/default/n?op=append"] {
        let answer = scope(|scope| {
            let held = "SELECT 1 FROM cut_early_buckets WHERE bucket = 'default' FOR UPDATE; SELECT pg_sleep(3)";
            let holder = scope.spawn(|| server.psql(held));
            let seen = |what: &str| {
                let begun = Instant::now();
                while server.psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}")) != "1" {
                    assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
                    sleep(Duration::from_millis(20));
                }
            };
            seen("wait_event = 'PgSleep' AND query LIKE '%cut_early_buckets%'");
            let counts = scope.spawn(|| ask(&kvs, "POST", target, &[], "2"));
            let waits = "wait_event_type = 'Lock' AND application_name = 'cut_early'";
            seen(waits);
            server.psql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {waits}"));
            holder.join().unwrap();
            counts.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(get(&kvs, "/kv/default/n").body, "12");
}

#[test]
fn transfers_through_both_ends_keep_the_sum_and_nobody_sees_half() {
    const ACCOUNTS: usize = 5;
    let ends = processes::<2>(&crate::postgres::empty(""));
    let name = |n: usize| format!("account{n}");
    let ops: Vec<_> = (0..ACCOUNTS).map(|n| json!({"op": "set", "key": name(n), "value": "100"})).collect();
    assert_eq!(txn(&ends[0], &json!({ "ops": ops })).status, 200);
    let all: Vec<_> = (0..ACCOUNTS).map(|n| json!({ "key": name(n) })).collect();
    let sum = |kvs: &Served| {
        let found = patient(|| {
            ask(kvs, "POST", "/multi/default", &[("Content-Type", "application/json")], &json!(all).to_string())
        });
        let balances: BTreeMap<String, String> = serde_json::from_value(found.json()).unwrap();
        balances.values().map(|balance| balance.parse::<i64>().unwrap()).sum::<i64>()
    };
    // With what was read as a condition, or by steps.
    let transfer = |kvs: &Served, from: &str, to: &str, by_steps: bool| {
        if by_steps {
            let ops = json!([{"op": "incr", "key": from, "by": -1}, {"op": "incr", "key": to, "by": 1}]);
            return patient(|| txn(kvs, &json!({ "ops": ops }))).status == 200;
        }
        let read = |key: &str| patient(|| get(kvs, &format!("/kv/default/{key}")));
        let (a, b) = (read(from), read(to));
        let more = |text: &str, by: i64| (text.parse::<i64>().unwrap() + by).to_string();
        let moved = patient(|| {
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
        let stopping = Stopping(&done);
        for kvs in &ends {
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
            routes.filter(|(from, to)| transfer(&ends[n % 2], &name(*from), &name(*to), n / 2 % 2 == 0)).count()
        });
        drop(stopping);
        assert!(moved.iter().sum::<usize>() >= 4 * 16, "{moved:?}");
    });
    assert_eq!([0, 1].map(|end| sum(&ends[end])), [500; 2]);
}
