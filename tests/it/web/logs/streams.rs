//! Event streams of logs: where they begin, what they send, and that nothing is missed or sent twice.

use serde_json::json;

use super::append;
use crate::store::Make;
use crate::support::disks::seed::Seed;
use crate::support::endpoint::{Endpoint, NOBODY, cases};
use crate::web::following::{Event, Stream};

cases! {
    a_stream_begins_with_the_next_entry,
    a_stream_begins_where_the_query_says,
    a_stream_continues_after_the_last_event,
    a_removed_log_is_a_reset,
    forgotten_entries_are_a_reset,
    no_entry_is_missed_or_sent_twice,
}

const LOG: &str = "/log/default/a";

async fn open(kvs: &Endpoint, query: &str) -> Stream {
    Stream::open(kvs, &format!("{LOG}{query}"), &[NOBODY]).await
}

/// The next event, with its name and the text of its entry.
async fn event(stream: &mut Stream) -> (Event, String) {
    let event = stream.next().await.expect("the stream goes on");
    let value = event.data["value"].as_str().unwrap_or_default().to_owned();
    let text = format!("{} {value}", event.name).trim_end().to_owned();
    (event, text)
}

async fn texts(stream: &mut Stream, number: usize) -> Vec<String> {
    let mut texts = vec![];
    for _ in 0..number {
        texts.push(event(stream).await.1);
    }
    texts
}

async fn a_stream_begins_with_the_next_entry(make: Make) {
    let kvs = Endpoint::new(make);
    let mut missing = open(&kvs, "").await;
    append(&kvs, LOG, "x").await;
    assert_eq!(texts(&mut missing, 1).await, ["put x"]);
    let mut present = open(&kvs, "").await;
    present.assert_silent().await;
    append(&kvs, "/log/default/b", "other").await;
    kvs.put("/kv/default/a", "value").await;
    append(&kvs, LOG, "y").await;
    for stream in [&mut missing, &mut present] {
        let (event, text) = event(stream).await;
        assert_eq!(text, "put y");
        assert_eq!(event.data, json!({"index": 1, "value": "y", "updated": "2026-11-20T12:00:00.25Z"}));
        assert!(event.id.starts_with("1-"), "{event:?}");
        stream.assert_silent().await;
    }
}

async fn a_stream_begins_where_the_query_says(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..4 {
        append(&kvs, LOG, &n.to_string()).await;
    }
    assert_eq!(texts(&mut open(&kvs, "?from=2").await, 2).await, ["put 2", "put 3"]);
    assert_eq!(texts(&mut open(&kvs, "?from=-3").await, 3).await, ["put 1", "put 2", "put 3"]);
    assert_eq!(texts(&mut open(&kvs, "?since=1h").await, 4).await, ["put 0", "put 1", "put 2", "put 3"]);
    let mut ahead = open(&kvs, "?from=5").await;
    append(&kvs, LOG, "4").await;
    ahead.assert_silent().await;
    append(&kvs, LOG, "5").await;
    assert_eq!(texts(&mut ahead, 1).await, ["put 5"]);
    let bad = kvs.plain("GET", &format!("{LOG}?from=x"), &[crate::web::following::EVENTS]).await;
    assert_eq!(bad.status, 400);
}

async fn a_stream_continues_after_the_last_event(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, LOG, "0").await;
    let (first, _) = event(&mut open(&kvs, "?from=0").await).await;
    append(&kvs, LOG, "1").await;
    let headers = [NOBODY, ("last-event-id", &*first.id)];
    let mut stream = Stream::open(&kvs, &format!("{LOG}?from=0"), &headers).await;
    assert_eq!(texts(&mut stream, 1).await, ["put 1"], "the header counts more than the query");
    stream.assert_silent().await;
}

async fn a_removed_log_is_a_reset(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..3 {
        append(&kvs, LOG, &n.to_string()).await;
    }
    let mut stream = open(&kvs, "?from=2").await;
    let (last, _) = event(&mut stream).await;
    kvs.delete(LOG).await;
    let (reset, _) = event(&mut stream).await;
    assert_eq!((&*reset.name, reset.data), ("reset", json!({"event": "reset", "first": 0, "end": 0})));
    // The new log is as long as the old one. Its entries have later times.
    kvs.clock.advance(std::time::Duration::from_secs(1));
    for n in 0..4 {
        append(&kvs, LOG, &format!("new {n}")).await;
    }
    assert_eq!(texts(&mut stream, 4).await, ["put new 0", "put new 1", "put new 2", "put new 3"]);
    let headers = [NOBODY, ("last-event-id", &*last.id)];
    let mut again = Stream::open(&kvs, LOG, &headers).await;
    assert_eq!(texts(&mut again, 3).await, ["reset", "put new 0", "put new 1"]);
}

async fn forgotten_entries_are_a_reset(make: Make) {
    let kvs = Endpoint::new(make);
    append(&kvs, &format!("{LOG}?keep=2"), "0").await;
    let (first, _) = event(&mut open(&kvs, "?from=0").await).await;
    for n in 1..3 {
        append(&kvs, LOG, &n.to_string()).await;
    }
    let headers = [NOBODY, ("last-event-id", &*first.id)];
    let mut all_there = Stream::open(&kvs, LOG, &headers).await;
    assert_eq!(texts(&mut all_there, 2).await, ["put 1", "put 2"], "only the last one that was seen is forgotten");
    append(&kvs, LOG, "3").await;
    let mut one_missing = Stream::open(&kvs, LOG, &headers).await;
    assert_eq!(texts(&mut one_missing, 3).await, ["reset", "put 2", "put 3"]);
}

async fn no_entry_is_missed_or_sent_twice(make: Make) {
    const ENTRIES: usize = 120;
    let kvs = Endpoint::in_real_time(make);
    append(&kvs, LOG, "0").await;
    let writer = async {
        for n in 1..ENTRIES {
            append(&kvs, LOG, &n.to_string()).await;
        }
    };
    let follower = async |number: u64| {
        let mut seed = Seed::new(number);
        let (mut seen, mut id): (Vec<String>, Option<String>) = (vec![], None);
        while seen.len() < ENTRIES {
            let last = id.clone();
            let headers: Vec<_> = last.iter().map(|id| ("last-event-id", id.as_str())).chain([NOBODY]).collect();
            let mut stream = Stream::open(&kvs, &format!("{LOG}?from=0"), &headers).await;
            for _ in 0..=seed.below(20) {
                if seen.len() == ENTRIES {
                    break;
                }
                let (event, text) = event(&mut stream).await;
                seen.push(text);
                id = Some(event.id);
            }
        }
        let expected: Vec<String> = (0..ENTRIES).map(|n| format!("put {n}")).collect();
        assert_eq!(seen, expected);
    };
    tokio::join!(writer, follower(1), follower(2), follower(3));
}
