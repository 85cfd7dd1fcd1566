//! Copies of logs: indices, times, types and retention, between all stores, and logs that cannot be continued.

use std::time::Duration;

use kvs::client::Client;
use kvs::model::{LogAppend, LogPage, LogQuery, NewLogEntry, Retention};

use super::*;

async fn append(store: &Arc<dyn Store>, name: &str, values: &[&str], retention: Option<Retention>) {
    let entries = values.iter().map(|value| NewLogEntry::new((*value).to_owned())).collect();
    let log = Client::new(Arc::clone(store)).log(name).unwrap();
    log.append_with(LogAppend { entries, index: None, retention }).await.unwrap();
}

async fn page(store: &Arc<dyn Store>, name: &str) -> Option<LogPage> {
    Client::new(Arc::clone(store)).log(name).unwrap().page(LogQuery::default()).await.unwrap()
}

async fn copied(from: &Arc<dyn Store>, to: &Arc<dyn Store>, replace: bool) -> CopyReport {
    let settings = CopySettings { replace, ..settings() };
    CopyJob::new(Arc::clone(from), Arc::clone(to), settings).run().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_equal_in_every_store_and_continued_by_later_copies() {
    for (name, make) in STORES {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (memory(), make(Arc::new(SystemClock), Limits::default(), folder.path()));
        let ring = Retention { max_entries: Some(3), max_age: Some(Duration::from_secs(3_600)) };
        append(&from, "ring", &["0", "1", "2", "3", "4"], Some(ring)).await;
        append(&from, "plain", &["a", "b"], None).await;
        let log = Client::new(Arc::clone(&from)).log("plain").unwrap();
        let json = NewLogEntry::json(&[1]).unwrap();
        log.append_with(LogAppend { entries: vec![json], index: Some(9), retention: None }).await.unwrap();
        let report = copied(&from, &to, false).await;
        assert!(report.is_equal() && (report.copied, report.equal) == (6, 6), "{name}: {report:?}");
        for log in ["ring", "plain"] {
            let (source, target) = (page(&from, log).await.unwrap(), page(&to, log).await.unwrap());
            assert_eq!(
                (source.entries, source.next, source.retention),
                (target.entries, target.next, target.retention)
            );
        }
        append(&from, "plain", &["c"], None).await;
        append(&from, "ring", &["5"], None).await;
        let report = copied(&from, &to, false).await;
        assert!(report.is_equal() && report.copied == 2, "{name}: {report:?}");
        assert_eq!(page(&to, "ring").await.unwrap().entries, page(&from, "ring").await.unwrap().entries);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_the_target_are_replaced_only_on_demand() {
    let (from, to) = (memory(), memory());
    append(&from, "a", &["1", "2"], None).await;
    append(&to, "a", &["other"], None).await;
    append(&to, "b", &["only here"], None).await;
    put(&*from, "key", "value").await;
    let report = copied(&from, &to, false).await;
    assert_eq!((report.log_conflicts.len(), report.has_conflicts(), report.is_equal()), (2, true, false));
    assert!(report.log_conflicts[0].to_string().contains("log \"a\": the target has other entries"), "{report:?}");
    assert_eq!((page(&to, "a").await.unwrap().next, page(&to, "b").await.unwrap().next), (1, 1));
    assert!(to.buckets().await.unwrap().iter().all(Bucket::is_reserved), "nothing was written");
    let report = copied(&from, &to, true).await;
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(page(&to, "a").await, page(&from, "a").await);
    assert_eq!(page(&to, "b").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_somebody_writes_during_the_copy_is_not_removed() {
    let (from, to) = (memory(), memory());
    append(&from, "a", &["1", "2"], None).await;
    fill(&*from, "default", 50).await;
    let target = Arc::clone(&to);
    let job = CopyJob::new(Arc::clone(&from), Arc::clone(&to), settings()).with_progress(Arc::new(move |step| {
        if step.phase == Phase::Copying {
            let target = Arc::clone(&target);
            let write = async move { append(&target, "a", &["mine"], None).await };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(write));
        }
    }));
    let report = job.run().await.unwrap();
    assert!(report.has_conflicts() && !report.is_equal(), "{report:?}");
    assert_eq!(page(&to, "a").await.unwrap().entries[0].value, "mine");
}
