//! Reading logs: pages by index and time, the formats, and waiting for entries.

use std::time::Duration;

use kvs::web::LongPollLimit;
use serde_json::json;

use super::{append, bounds, values};
use crate::store::Make;
use crate::support::endpoint::{Endpoint, NOBODY, cases};

cases! {
    pages_begin_at_an_index_or_at_the_end,
    pages_begin_at_a_time,
    pages_follow_one_another,
    every_format_has_the_same_entries,
    wrong_parameters_are_refused,
    a_reader_waits_for_an_entry,
    a_reader_waits_for_a_log,
    a_wait_ends_without_entries,
    too_many_readers_do_not_wait,
}

const LOG: &str = "/log/default/a";

async fn filled(kvs: &Endpoint) {
    for n in 0..6 {
        append(kvs, LOG, &format!("v{n}")).await;
        kvs.clock.advance(Duration::from_secs(10));
    }
}

async fn pages_begin_at_an_index_or_at_the_end(make: Make) {
    let kvs = Endpoint::new(make);
    filled(&kvs).await;
    for (query, expected) in [
        ("", &["v0", "v1", "v2", "v3", "v4", "v5"][..]),
        ("from=4", &["v4", "v5"]),
        ("from=-2", &["v4", "v5"]),
        ("from=-2&limit=1", &["v4"]),
        ("from=-99&limit=2", &["v0", "v1"]),
        ("from=6", &[]),
        ("from=99999", &[]),
        ("limit=100000", &["v0", "v1", "v2", "v3", "v4", "v5"]),
    ] {
        assert_eq!(values(&kvs.get(&format!("{LOG}?{query}")).await), expected, "{query}");
    }
}

async fn pages_begin_at_a_time(make: Make) {
    let kvs = Endpoint::new(make);
    filled(&kvs).await;
    // It is a minute after the first entry.
    for (since, expected) in [
        ("2026-11-20T12:00:40.25Z", &["v4", "v5"][..]),
        ("2026-11-20T13:00:40.250%2B01:00", &["v4", "v5"]),
        ("2026-11-20T12:00:40.251Z", &["v5"]),
        ("1795176041", &["v5"]),
        ("15s", &["v5"]),
        ("25", &["v0", "v1", "v2", "v3", "v4", "v5"]),
        ("1h", &["v0", "v1", "v2", "v3", "v4", "v5"]),
        ("2026-11-20", &["v0", "v1", "v2", "v3", "v4", "v5"]),
        ("2026-11-21", &[]),
    ] {
        assert_eq!(values(&kvs.get(&format!("{LOG}?since={since}")).await), expected, "{since}");
    }
    assert_eq!(values(&kvs.get(&format!("{LOG}?since=2026-11-20&from=4")).await), ["v4", "v5"]);
}

async fn pages_follow_one_another(make: Make) {
    let kvs = Endpoint::new(make);
    for begin in (0..2_500).step_by(500) {
        let body: String = (begin..begin + 500).map(|n| format!("{n}\n")).collect();
        assert_eq!(kvs.ask("POST", LOG, &[("content-type", "application/x-ndjson")], body).await.status, 201);
    }
    let (mut from, mut seen) = (0, vec![]);
    loop {
        let answer = kvs.get(&format!("{LOG}?from={from}")).await;
        seen.extend(super::lines(&answer).iter().map(|line| line["json"].as_u64().unwrap()));
        let [first, next, end] = bounds(&answer);
        assert!(first == 0 && end == 2_500 && next <= from + 1_000);
        if next == end {
            break;
        }
        from = next;
    }
    assert_eq!(seen, (0..2_500).collect::<Vec<_>>());
}

async fn every_format_has_the_same_entries(make: Make) {
    let kvs = Endpoint::new(make);
    for value in ["21.5", "a \"b\", c", "two\nlines", ""] {
        append(&kvs, LOG, value).await;
    }
    let read = async |format: &str| kvs.get(&format!("{LOG}?format={format}&limit=3")).await;
    let json = read("json").await;
    assert_eq!(json.header("content-type"), "application/json");
    let ndjson = super::lines(&read("ndjson").await);
    assert_eq!(
        json.json(),
        json!({"entries": ndjson, "first": 0, "next": 3, "end": 4, "keep": null, "keep_for": null})
    );
    let csv = read("csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let at = "2026-11-20T12:00:00.25Z";
    let rows = format!("index,updated,value\r\n0,{at},21.5\r\n1,{at},\"a \"\"b\"\", c\"\r\n2,{at},\"two\nlines\"\r\n");
    assert_eq!(csv.text(), rows);
    let text = read("text").await;
    assert_eq!(
        (text.header("content-type"), text.text()),
        ("text/plain; charset=utf-8", "21.5\na \"b\", c\ntwo\nlines\n")
    );
    for answer in [json, csv, text] {
        assert_eq!(bounds(&answer), [0, 3, 4]);
    }
}

async fn wrong_parameters_are_refused(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, LOG, "x").await;
    for query in [
        "from=x",
        "from=1.5",
        "from=",
        "since=",
        "since=x",
        "since=-1",
        "since=2026-13-01",
        "limit=0",
        "limit=100001",
        "limit=x",
        "format=",
        "format=xml",
        "wait=x",
        "auth=s3cret",
    ] {
        assert_eq!(kvs.get(&format!("{LOG}?{query}")).await.status, 400, "{query}");
    }
}

async fn a_reader_waits_for_an_entry(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, LOG, "x").await;
    let at_once = kvs.get(&format!("{LOG}?wait=20")).await;
    assert_eq!(values(&at_once), ["x"]);
    for headers in [vec![], vec![NOBODY, ("prefer", "wait=20")]] {
        let end = bounds(&kvs.get(LOG).await)[2];
        let wait = if headers.is_empty() { "&wait=20" } else { "" };
        let uri = format!("{LOG}?from={end}{wait}");
        let waiting = kvs.ask("GET", &uri, &headers, "");
        let appending = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            kvs.put("/kv/default/a", "a value is no entry").await;
            append(&kvs, "/log/default/b", "another log").await;
            append(&kvs, LOG, "y").await;
        };
        let (answer, ()) = tokio::join!(waiting, appending);
        assert_eq!(values(&answer), ["y"]);
    }
}

async fn a_reader_waits_for_a_log(make: Make) {
    let kvs = Endpoint::new(make);
    let uri = format!("{LOG}?wait=20");
    let waiting = kvs.get(&uri);
    let appending = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        append(&kvs, LOG, "x").await;
    };
    let (answer, ()) = tokio::join!(waiting, appending);
    assert_eq!(values(&answer), ["x"]);
}

async fn a_wait_ends_without_entries(make: Make) {
    let kvs = Endpoint::new(make);
    assert_eq!(kvs.get(&format!("{LOG}?wait=1")).await.status, 404);
    append(&kvs, LOG, "x").await;
    let answer = kvs.get(&format!("{LOG}?from=1&wait=1")).await;
    assert_eq!((answer.status, answer.text(), bounds(&answer)), (200, "", [0, 1, 1]));
}

async fn too_many_readers_do_not_wait(make: Make) {
    let kvs = Endpoint::waiting(make, 20, LongPollLimit::new(0));
    append(&kvs, LOG, "x").await;
    let answer = kvs.get(&format!("{LOG}?from=1&wait=20")).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
}
