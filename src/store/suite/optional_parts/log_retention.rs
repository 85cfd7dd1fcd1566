//! How much of a log is kept, and removing entries.
//!
//! They run only if the store has [`Logs`](crate::store::Logs).

use std::time::Duration;

use super::logs::{indices, keep, numbered, texts, values};
use crate::model::{LogAppend, LogKeysQuery, LogQuery, Retention};
use crate::store::suite::cases::cases;
use crate::store::suite::store_under_test::{TestBench, key};

cases![
    only_the_last_entries_are_kept,
    only_recent_entries_are_kept,
    the_retention_stays_until_it_is_changed,
    old_entries_stay_forgotten_with_a_longer_retention,
    a_retention_that_cannot_be_stored_is_refused,
    the_first_entries_can_be_removed,
    a_removed_log_begins_again,
];

async fn only_the_last_entries_are_kept(bench: TestBench) {
    let ring = |append: LogAppend| LogAppend { retention: Some(keep(Some(5), None)), ..append };
    bench.appended("a", ring(numbered(0..3))).await;
    assert_eq!(indices(&bench.whole_log("a").await), [0, 1, 2]);
    for number in 3..400 {
        assert_eq!(bench.appended("a", ring(numbered(number..number + 1))).await, number);
    }
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), page.first, page.next), ((395..400).collect(), 395, 400));
    assert_eq!(texts(&page), ["395", "396", "397", "398", "399"]);
    assert_eq!(indices(&bench.log("a", LogQuery::last(9)).await.unwrap()), (395..400).collect::<Vec<_>>());
    bench.appended("a", ring(numbered(400..1_000))).await;
    assert_eq!(indices(&bench.whole_log("a").await), (995..1_000).collect::<Vec<_>>());
}

async fn only_recent_entries_are_kept(bench: TestBench) {
    let ring = |append: LogAppend| LogAppend { retention: Some(keep(None, Some(60))), ..append };
    for number in 0..200 {
        bench.appended("a", ring(numbered(number..number + 1))).await;
        bench.advance(10);
    }
    // The last one was appended ten seconds ago.
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), page.first, page.next), ((194..200).collect(), 194, 200));
    bench.advance(3_600);
    let page = bench.whole_log("a").await;
    assert_eq!((page.entries.len(), page.first, page.next), (0, 200, 200));
    assert_eq!(bench.appended("a", numbered(200..201)).await, 200);
    assert_eq!(texts(&bench.whole_log("a").await), ["200"]);
}

async fn the_retention_stays_until_it_is_changed(bench: TestBench) {
    let with = |retention, append: LogAppend| LogAppend { retention: Some(retention), ..append };
    bench.appended("a", with(keep(Some(2), Some(60)), numbered(0..4))).await;
    bench.appended("a", numbered(4..5)).await;
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), page.retention), (vec![3, 4], keep(Some(2), Some(60))));
    bench.appended("a", with(keep(None, None), numbered(5..7))).await;
    let page = bench.whole_log("a").await;
    assert_eq!((page.next, page.retention), (7, Retention::default()));
    assert!(indices(&page).ends_with(&[5, 6]) && page.first >= 3, "{page:?}");
    bench.appended("a", with(keep(Some(1), None), values(&[]))).await;
    assert_eq!(indices(&bench.whole_log("a").await), [6]);
}

async fn the_first_entries_can_be_removed(bench: TestBench) {
    bench.appended("a", numbered(0..10)).await;
    let remove = async |before| bench.logs().remove_log(&bench.bucket, &key("a"), Some(before)).await.unwrap();
    assert_eq!(remove(4).await, Some(4));
    let page = bench.whole_log("a").await;
    assert_eq!((indices(&page), page.first, page.next), ((4..10).collect(), 4, 10));
    assert_eq!((remove(2).await, remove(4).await), (Some(0), Some(0)));
    assert_eq!(indices(&bench.log("a", LogQuery::last(2)).await.unwrap()), [8, 9]);
    assert_eq!(remove(u64::MAX).await, Some(6));
    let page = bench.whole_log("a").await;
    assert_eq!((page.entries.len(), page.first, page.next), (0, 10, 10));
    assert_eq!(bench.appended("a", numbered(10..12)).await, 10);
    assert_eq!(indices(&bench.whole_log("a").await), [10, 11]);
}

async fn a_removed_log_begins_again(bench: TestBench) {
    bench.appended("a", LogAppend { retention: Some(keep(Some(3), None)), ..numbered(0..5) }).await;
    assert_eq!(bench.logs().remove_log(&bench.bucket, &key("a"), None).await.unwrap(), Some(3));
    assert_eq!(bench.log("a", LogQuery::default()).await, None);
    assert_eq!(bench.log_keys(LogKeysQuery::default()).await, [""; 0]);
    assert_eq!(bench.logs().remove_log(&bench.bucket, &key("a"), None).await.unwrap(), None);
    assert_eq!(bench.appended("a", values(&["x"])).await, 0);
    let page = bench.whole_log("a").await;
    assert_eq!((texts(&page), page.retention), (vec!["x"], Retention::default()));
}

async fn old_entries_stay_forgotten_with_a_longer_retention(bench: TestBench) {
    let with = |retention, append: LogAppend| LogAppend { retention: Some(retention), ..append };
    bench.appended("a", with(keep(None, Some(1)), numbered(0..3))).await;
    bench.advance(10);
    assert_eq!(bench.appended("a", with(keep(None, None), numbered(3..4))).await, 3);
    assert_eq!(indices(&bench.whole_log("a").await), [3]);
}

async fn a_retention_that_cannot_be_stored_is_refused(bench: TestBench) {
    bench.appended("a", values(&["x"])).await;
    for max_age in [Duration::ZERO, Duration::from_micros(1_500), Duration::MAX] {
        let retention = Some(Retention { max_entries: None, max_age: Some(max_age) });
        let append = LogAppend { retention, ..values(&["y"]) };
        let error = bench.logs().append(&bench.bucket, &key("a"), append).await.unwrap_err();
        assert!(error.is_invalid(), "{error}");
    }
    assert_eq!(texts(&bench.whole_log("a").await), ["x"]);
}
