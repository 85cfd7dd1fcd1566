//! Append-only logs: entries are numbered, whole appends are stored, and the retention is kept.
//!
//! They run only if the store has [`Logs`](crate::store::Logs).

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::{
    AppendOutcome, Bucket, ContentType, ErrorKind, LogAppend, LogEntry, LogKeysQuery, LogPage, LogQuery, NewLogEntry,
    Retention, Revision, Time,
};
use crate::store::Logs;
use crate::store::suite::cases::cases;
use crate::store::suite::hostile_strings::{hostile_keys, hostile_strings};
use crate::store::suite::store_under_test::{TestBench, json, key};

cases![
    entries_are_numbered_from_zero,
    entries_keep_value_type_and_time,
    any_key_and_value_is_kept_exactly,
    whole_appends_are_stored_or_nothing,
    pages_begin_anywhere,
    pages_begin_at_a_time,
    times_never_go_back,
    large_values_end_a_page,
    a_missing_log_is_not_an_empty_one,
    log_and_value_of_a_key_are_separate,
    an_index_that_is_taken_is_refused,
    an_index_after_the_end_leaves_a_gap,
    waiters_wake_for_appends_and_removals,
    logs_of_a_bucket_are_listed,
    buckets_have_separate_logs,
    concurrent_appends_are_all_numbered,
    a_long_log_is_read_from_anywhere,
];

/// The maximum time until a store notices a change.
const SOON: Duration = Duration::from_secs(10);

pub(super) fn values(values: &[&str]) -> LogAppend {
    let entries = values.iter().map(|value| NewLogEntry::new(value.to_string())).collect();
    LogAppend { entries, ..LogAppend::default() }
}

pub(super) fn numbered(numbers: std::ops::Range<u64>) -> LogAppend {
    let entries = numbers.map(|number| NewLogEntry::new(number.to_string())).collect();
    LogAppend { entries, ..LogAppend::default() }
}

pub(super) fn keep(max_entries: Option<u64>, max_age_secs: Option<u64>) -> Retention {
    Retention { max_entries, max_age: max_age_secs.map(Duration::from_secs) }
}

pub(super) fn indices(page: &LogPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.index).collect()
}

pub(super) fn texts(page: &LogPage) -> Vec<&str> {
    page.entries.iter().map(|entry| std::str::from_utf8(&entry.value).unwrap()).collect()
}

impl TestBench {
    pub(super) fn logs(&self) -> &dyn Logs {
        self.store.logs().unwrap()
    }

    pub(super) async fn append(&self, name: &str, append: LogAppend) -> AppendOutcome {
        self.logs().append(&self.bucket, &key(name), append).await.unwrap()
    }

    /// Appends, and returns the index of the first entry.
    pub(super) async fn appended(&self, name: &str, append: LogAppend) -> u64 {
        match self.append(name, append).await {
            AppendOutcome::Appended { index } => index,
            AppendOutcome::IndexTaken { next } => panic!("the index is taken; the next one is {next}"),
        }
    }

    pub(super) async fn log(&self, name: &str, query: LogQuery) -> Option<LogPage> {
        self.logs().read_log(&self.bucket, &key(name), query).await.unwrap()
    }

    pub(super) async fn whole_log(&self, name: &str) -> LogPage {
        self.log(name, LogQuery::default()).await.unwrap()
    }

    pub(super) async fn log_keys(&self, query: LogKeysQuery) -> Vec<String> {
        let keys = self.logs().log_keys(&self.bucket, query).await.unwrap();
        keys.iter().map(|key| key.as_str().to_owned()).collect()
    }
}

async fn entries_are_numbered_from_zero(bench: TestBench) {
    assert_eq!(bench.appended("a", values(&["x"])).await, 0);
    assert_eq!(bench.appended("a", values(&["y", "z"])).await, 1);
    assert_eq!(bench.appended("a", values(&[])).await, 3);
    assert_eq!(bench.appended("a", values(&["w"])).await, 3);
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), texts(&page)), (vec![0, 1, 2, 3], vec!["x", "y", "z", "w"]));
    assert_eq!((page.first, page.next, page.end(), page.retention), (0, 4, 4, Retention::default()));
}

async fn entries_keep_value_type_and_time(bench: TestBench) {
    let now = bench.now();
    let entry = |value: &'static [u8], content_type: &ContentType| NewLogEntry {
        value: value.into(),
        content_type: content_type.clone(),
        updated: None,
    };
    let types = [json(), ContentType::default(), ContentType::new("image/png").unwrap()];
    let stored: [&[u8]; 3] = [b"{\"t\": 21.50}", b"", b"\xff\x00\x0a"];
    let entries = stored.iter().zip(&types).map(|(value, content_type)| entry(value, content_type)).collect();
    bench.appended("a", LogAppend { entries, ..LogAppend::default() }).await;
    let page = bench.whole_log("a").await;
    let expected = stored.iter().zip(types).enumerate().map(|(index, (value, content_type))| LogEntry {
        index: index as u64,
        value: (*value).into(),
        content_type,
        updated: page.entries[0].updated,
    });
    assert_eq!(page.entries, expected.collect::<Vec<_>>());
    assert!(page.entries[0].updated.since(now) < Duration::from_secs(1) && page.entries[0].updated >= now);
}

async fn any_key_and_value_is_kept_exactly(bench: TestBench) {
    let strings = hostile_strings();
    let entries = strings.iter().cloned().map(NewLogEntry::new).collect();
    bench.appended("a", LogAppend { entries, ..LogAppend::default() }).await;
    let page = bench.whole_log("a").await;
    assert_eq!(page.entries.into_iter().map(|entry| entry.value).collect::<Vec<_>>(), strings);
    let mut keys = hostile_keys();
    for name in &keys {
        bench.logs().append(&bench.bucket, name, values(&[name.as_str()])).await.unwrap();
    }
    for name in &keys {
        let page = bench.logs().read_log(&bench.bucket, name, LogQuery::default()).await.unwrap().unwrap();
        assert_eq!(texts(&page), [name.as_str()], "{name:?}");
    }
    keys.push(key("a"));
    keys.sort();
    keys.dedup();
    let listed = bench.logs().log_keys(&bench.bucket, LogKeysQuery { limit: 10_000, ..LogKeysQuery::default() }).await;
    assert_eq!(listed.unwrap(), keys);
}

async fn whole_appends_are_stored_or_nothing(bench: TestBench) {
    bench.appended("a", values(&["x"])).await;
    let mut append = values(&["y", "z"]);
    append.entries.push(NewLogEntry::new(vec![b'.'; bench.limits.max_value_bytes + 1]));
    let error = bench.logs().append(&bench.bucket, &key("a"), append).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(texts(&bench.whole_log("a").await), ["x"]);
    bench
        .appended(
            "a",
            LogAppend {
                entries: vec![NewLogEntry::new(vec![b'.'; bench.limits.max_value_bytes])],
                ..LogAppend::default()
            },
        )
        .await;
    assert_eq!(bench.whole_log("a").await.entries[1].value.len(), bench.limits.max_value_bytes);
}

async fn pages_begin_anywhere(bench: TestBench) {
    bench.appended("a", numbered(0..10)).await;
    let page = async |query| indices(&bench.log("a", query).await.unwrap());
    assert_eq!(page(LogQuery::from_index(7)).await, [7, 8, 9]);
    assert_eq!(page(LogQuery { limit: 2, ..LogQuery::from_index(7) }).await, [7, 8]);
    assert_eq!(page(LogQuery::last(3)).await, [7, 8, 9]);
    assert_eq!(page(LogQuery { limit: 1, ..LogQuery::last(3) }).await, [7]);
    assert_eq!(page(LogQuery::last(99)).await, (0..10).collect::<Vec<_>>());
    for query in [LogQuery::from_index(10), LogQuery::from_index(u64::MAX), LogQuery::last(0)] {
        assert_eq!(page(query).await, [0; 0], "{query:?}");
    }
    assert_eq!(page(LogQuery { limit: 0, ..LogQuery::default() }).await, [0; 0]);
}

async fn pages_begin_at_a_time(bench: TestBench) {
    let start = bench.now();
    for number in 0..5 {
        bench.appended("a", numbered(2 * number..2 * number + 2)).await;
        bench.advance(10);
    }
    let at = |secs| Some(start.plus(Duration::from_secs(secs)));
    let page = async |query| indices(&bench.log("a", query).await.unwrap());
    assert_eq!(page(LogQuery { since: at(30), ..LogQuery::default() }).await, [6, 7, 8, 9]);
    assert_eq!(page(LogQuery { since: at(31), ..LogQuery::default() }).await, [8, 9]);
    assert_eq!(page(LogQuery { since: at(41), ..LogQuery::default() }).await, [0; 0]);
    assert_eq!(page(LogQuery { since: at(20), ..LogQuery::from_index(9) }).await, [9]);
    assert_eq!(page(LogQuery { since: at(20), limit: 1, ..LogQuery::default() }).await, [4]);
    assert_eq!(page(LogQuery { since: Some(Time::from_secs(-5)), limit: 1, ..LogQuery::default() }).await, [0]);
}

async fn times_never_go_back(bench: TestBench) {
    let start = bench.now();
    bench.appended("a", values(&["x"])).await;
    let at = |secs| Some(start.plus(Duration::from_secs(secs)));
    let timed = |value: &'static str, updated| NewLogEntry { updated, ..NewLogEntry::new(value) };
    let append =
        LogAppend { entries: vec![timed("y", at(20)), timed("z", at(10)), timed("w", at(30))], ..LogAppend::default() };
    bench.appended("a", append).await;
    bench.appended("a", values(&["v"])).await;
    let old = LogAppend { entries: vec![timed("u", Some(Time::from_secs(5)))], ..LogAppend::default() };
    bench.appended("a", old).await;
    let page = bench.whole_log("a").await;
    let seconds: Vec<u64> = page.entries.iter().map(|entry| entry.updated.since(start).as_secs()).collect();
    assert_eq!(seconds, [0, 20, 20, 30, 30, 30]);
}

async fn large_values_end_a_page(bench: TestBench) {
    let max = bench.limits.max_value_bytes;
    let number = LogQuery::MAX_PAGE_BYTES / max + 2;
    for _ in 0..number {
        let entries = vec![NewLogEntry::new(vec![b'.'; max])];
        bench.appended("a", LogAppend { entries, ..LogAppend::default() }).await;
    }
    let page = bench.whole_log("a").await;
    assert_eq!((page.entries.len(), page.end()), (number - 2, number as u64 - 2));
    let rest = bench.log("a", LogQuery::from_index(page.end())).await.unwrap();
    assert_eq!((rest.entries.len(), rest.end(), rest.next), (2, number as u64, number as u64));
}

async fn a_missing_log_is_not_an_empty_one(bench: TestBench) {
    assert_eq!(bench.log("a", LogQuery::default()).await, None);
    bench.appended("a", values(&[])).await;
    assert_eq!(bench.log("a", LogQuery::default()).await, None, "an append without entries creates no log");
    assert_eq!(bench.log_keys(LogKeysQuery::default()).await, [""; 0]);
    bench.appended("a", LogAppend { retention: Some(keep(Some(9), None)), ..LogAppend::default() }).await;
    let page = bench.whole_log("a").await;
    assert_eq!((page.entries.len(), page.first, page.next), (0, 0, 0));
    assert_eq!(bench.appended("a", values(&["x"])).await, 0);
    assert_eq!(bench.logs().remove_log(&bench.bucket, &key("b"), None).await.unwrap(), None);
}

async fn log_and_value_of_a_key_are_separate(bench: TestBench) {
    let revision = bench.put("a", "value").await.revision;
    bench.appended("a", values(&["entry"])).await;
    bench.appended("b", values(&["entry"])).await;
    assert_eq!(bench.value("a").await.unwrap(), "value");
    assert_eq!(bench.entry("b").await, None);
    assert_eq!(bench.revision().await, revision);
    bench.write(crate::model::Write::Delete { key: key("a") }).await;
    assert_eq!(texts(&bench.whole_log("a").await), ["entry"]);
}

async fn an_index_that_is_taken_is_refused(bench: TestBench) {
    let at = |index, append: LogAppend| LogAppend { index: Some(index), ..append };
    assert_eq!(bench.append("a", at(0, values(&["x", "y"]))).await, AppendOutcome::Appended { index: 0 });
    for index in [0, 1] {
        let refused = bench.append("a", at(index, values(&["z"]))).await;
        assert_eq!(refused, AppendOutcome::IndexTaken { next: 2 });
    }
    assert_eq!(bench.append("a", at(2, values(&["z"]))).await, AppendOutcome::Appended { index: 2 });
    assert_eq!(texts(&bench.whole_log("a").await), ["x", "y", "z"]);
}

async fn an_index_after_the_end_leaves_a_gap(bench: TestBench) {
    let at = |index, append: LogAppend| LogAppend { index: Some(index), ..append };
    assert_eq!(bench.appended("a", at(5, values(&["x"]))).await, 5);
    assert_eq!(bench.appended("a", at(9, values(&["y", "z"]))).await, 9);
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), page.first, page.next), (vec![5, 9, 10], 5, 11));
    assert_eq!(indices(&bench.log("a", LogQuery::from_index(6)).await.unwrap()), [9, 10]);
    let error = bench.logs().append(&bench.bucket, &key("a"), at(u64::MAX, values(&["w"]))).await.unwrap_err();
    assert!(error.is_invalid(), "{error}");
}

async fn waiters_wake_for_appends_and_removals(bench: TestBench) {
    let changed = async |bench: TestBench, next| {
        let name = key("a");
        let changed = bench.logs().log_changed(&bench.bucket, &name, next);
        timeout(SOON, changed).await.unwrap_or_else(|_| panic!("not woken at {next}")).unwrap()
    };
    let waiter = |next| {
        let bench = bench.clone();
        tokio::spawn(async move { changed(bench, next).await })
    };
    for next in [0, 1] {
        let waiting = waiter(next);
        tokio::time::sleep(Duration::from_millis(5)).await;
        bench.appended("b", values(&["other"])).await;
        bench.appended("a", values(&["x"])).await;
        assert_eq!(waiting.await.unwrap(), next + 1);
    }
    assert_eq!(changed(bench.clone(), 1).await, 2, "a past index returns at once");
    let waiting = waiter(2);
    tokio::time::sleep(Duration::from_millis(5)).await;
    bench.logs().remove_log(&bench.bucket, &key("a"), None).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 0);
}

async fn logs_of_a_bucket_are_listed(bench: TestBench) {
    assert_eq!(bench.logs().log_buckets().await.unwrap(), []);
    for name in ["b/2", "a", "b/1", "c", "b/10"] {
        bench.appended(name, values(&["x"])).await;
    }
    let all = LogKeysQuery::default();
    assert_eq!(bench.log_keys(all.clone()).await, ["a", "b/1", "b/10", "b/2", "c"]);
    assert_eq!(bench.log_keys(LogKeysQuery { limit: 2, ..all.clone() }).await, ["a", "b/1"]);
    assert_eq!(bench.log_keys(LogKeysQuery { after: Some(key("b/1")), ..all.clone() }).await, ["b/10", "b/2", "c"]);
    assert_eq!(bench.log_keys(LogKeysQuery { prefix: "b/".into(), ..all.clone() }).await, ["b/1", "b/10", "b/2"]);
    assert_eq!(bench.log_keys(LogKeysQuery { prefix: "x\0".into(), ..all }).await, [""; 0]);
    assert_eq!(bench.logs().log_buckets().await.unwrap(), std::slice::from_ref(&bench.bucket));
    assert_eq!(bench.revision().await, Revision::ZERO);
}

async fn buckets_have_separate_logs(bench: TestBench) {
    let other = Bucket::new("other").unwrap();
    bench.appended("a", values(&["x", "y"])).await;
    bench.logs().append(&other, &key("a"), values(&["z"])).await.unwrap();
    assert_eq!(texts(&bench.whole_log("a").await), ["x", "y"]);
    let page = bench.logs().read_log(&other, &key("a"), LogQuery::default()).await.unwrap().unwrap();
    assert_eq!(texts(&page), ["z"]);
    assert_eq!(bench.logs().remove_log(&other, &key("a"), None).await.unwrap(), Some(1));
    assert_eq!(texts(&bench.whole_log("a").await), ["x", "y"]);
}

async fn concurrent_appends_are_all_numbered(bench: TestBench) {
    let mut tasks = JoinSet::new();
    for writer in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for number in 0..10 {
                let text = format!("{writer} {number}");
                let index = bench.appended("a", values(&[&text, &text])).await;
                let page = bench.log("a", LogQuery { limit: 2, ..LogQuery::from_index(index) }).await.unwrap();
                assert_eq!(texts(&page), [&text, &text], "an append is seen by the next read");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let page = bench.whole_log("a").await;
    assert_eq!(indices(&page), (0..160).collect::<Vec<_>>());
    for pair in page.entries.chunks(2) {
        assert_eq!(pair[0].value, pair[1].value, "an append is not interrupted");
    }
    assert!(page.entries.is_sorted_by_key(|entry| entry.updated));
}

async fn a_long_log_is_read_from_anywhere(bench: TestBench) {
    let start = bench.now();
    for part in 0..30 {
        let entries = (0..100).map(|number: usize| {
            // Lines of many lengths, some longer than what a store may read at a time.
            let length = if (part + number).is_multiple_of(97) { 20_000 } else { number * 7 % 90 };
            NewLogEntry::new(format!("{} {}", 100 * part + number, "x".repeat(length)))
        });
        bench.appended("a", LogAppend { entries: entries.collect(), ..LogAppend::default() }).await;
        bench.advance(1);
    }
    for from in (0..3_000_u64).step_by(17).chain([0, 1, 2_998, 2_999]) {
        let page = bench.log("a", LogQuery { limit: 3, ..LogQuery::from_index(from) }).await.unwrap();
        assert_eq!(indices(&page), (from..(from + 3).min(3_000)).collect::<Vec<_>>());
        assert!(page.entries[0].value.starts_with(format!("{from} ").as_bytes()));
    }
    for secs in 0..30 {
        let since = Some(start.plus(Duration::from_secs(secs)));
        let page = bench.log("a", LogQuery { limit: 1, since, ..LogQuery::default() }).await.unwrap();
        assert_eq!(indices(&page), [100 * secs]);
    }
}
