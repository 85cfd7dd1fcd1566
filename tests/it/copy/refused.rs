//! Copies that are refused: other data in the target, and values that it cannot hold. Nothing is lost.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use kvs::copy::{CopyJob, CopyReport, CopySettings, Mode};
use kvs::model::{Bucket, Entry, ErrorKind, Key, Result, Write};
use kvs::store::{Blobs, ImportSource, Limits, Logs, Rejected, Row, Rows, Store};

use super::{all, copied, copy, delete, everything, fill, key, memory, named, put, settings, write};

/// Runs a copy that must be refused, and checks that it wrote nothing.
async fn refused(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> String {
    let before = everything(&**to).await;
    let report = copy(from, to).await;
    assert_eq!(everything(&**to).await, before);
    assert!(!report.is_equal());
    let [conflict] = &report.conflicts[..] else { panic!("{report:?}") };
    conflict.to_string()
}

async fn replace(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> CopyReport {
    let replace = CopySettings { replace: true, ..settings() };
    CopyJob::new(from.clone(), to.clone(), replace).run().await.unwrap()
}

#[tokio::test]
async fn other_data_in_the_target_is_not_lost() {
    let from = memory();
    fill(&*from, "other", 10).await;
    put(&*from, "a", "1").await;
    put(&*from, "b", "1").await;
    // Of a key on both sides, the target's entry may be older or newer.
    for later in [false, true] {
        let to = memory();
        put(&*to, "own", "x").await;
        put(&*to, "a", "mine").await;
        if !later {
            put(&*from, "a", "2").await;
        }
        let error = refused(&from, &to).await;
        assert_eq!(
            error,
            "bucket default: the target has 1 key that the source does not have, and 1 key with other content: \"own\", \"a\""
        );
        let report = replace(&from, &to).await;
        copied(&report, 12, 1);
        assert_eq!(everything(&*to).await, everything(&*from).await);
        copied(&copy(&from, &to).await, 0, 0);
    }
}

#[tokio::test]
async fn buckets_that_only_the_target_has_stay() {
    let (from, to) = (memory(), memory());
    put(&*from, "a", "1").await;
    fill(&*to, "own", 5).await;
    copied(&copy(&from, &to).await, 1, 0);
    copied(&replace(&from, &to).await, 0, 0);
    assert_eq!(all(&*to, "own").await.len(), 5);
}

#[tokio::test]
async fn writes_of_others_to_a_copy_are_not_lost() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 10).await;
    copy(&from, &to).await;
    put(&*to, "k/0000003", "written here").await;
    put(&*from, "k/0000003", "written there").await;
    assert!(refused(&from, &to).await.contains("0 keys that the source does not have, and 1 key with other content"));
    put(&*from, "k/0000004", "1").await;
    delete(&*to, "k/0000003").await;
    // The last write of the target is now a deletion by another client.
    assert!(refused(&from, &to).await.contains("1 key with other content: \"k/0000004\""));
    copied(&replace(&from, &to).await, 2, 0);
}

#[tokio::test]
async fn a_part_of_the_source_is_completed_without_replace() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 10).await;
    for (key, entry) in all(&*from, "default").await.into_iter().skip(4) {
        write(&*to, "default", vec![Write::Restore { key, entry: entry.unwrap() }]).await;
    }
    copied(&copy(&from, &to).await, 4, 0);
    put(&*from, "k/0000009", "new").await;
    copied(&copy(&from, &to).await, 1, 0);
}

#[tokio::test]
async fn a_copy_of_one_source_does_not_become_one_of_another() {
    let (from, other, to) = (memory(), memory(), memory());
    fill(&*from, "default", 10).await;
    fill(&*other, "default", 5).await;
    copy(&from, &to).await;
    let settings = CopySettings { name: "another".to_owned(), ..settings() };
    let report = CopyJob::new(other.clone(), to.clone(), settings).run().await.unwrap();
    assert_eq!((report.conflicts[0].extra, report.conflicts[0].different), (5, 5));
    assert_eq!(everything(&*to).await, everything(&*from).await);
}

#[tokio::test]
async fn an_empty_source_does_not_empty_the_target() {
    let (from, to) = (memory(), memory());
    let report = copy(&from, &to).await;
    assert!(report.is_equal() && report.buckets == 0 && to.buckets().await.unwrap().is_empty());
    fill(&*from, "default", 3).await;
    copy(&from, &to).await;
    for n in 0..3 {
        delete(&*from, &format!("k/000000{n}")).await;
    }
    assert!(refused(&from, &to).await.contains("it is empty in the source; the target has 3 keys"));
    copied(&replace(&from, &to).await, 0, 3);
    assert!(all(&*to, "default").await.is_empty());
}

#[tokio::test]
async fn one_bucket_is_copied_alone() {
    let (from, to) = (memory(), memory());
    fill(&*from, "one", 3).await;
    fill(&*from, "two", 3).await;
    let only = |name: &str| CopySettings { bucket: Some(named(name)), ..settings() };
    copied(&CopyJob::new(from.clone(), to.clone(), only("two")).run().await.unwrap(), 3, 0);
    assert_eq!(everything(&*to).await.len(), 1);
    for name in ["three", "_kvs.copy"] {
        let error = CopyJob::new(from.clone(), to.clone(), only(name)).run().await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, format!("the source has no bucket {name}")));
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_reports_what_would_be_done() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 10).await;
    let plan = || CopySettings { mode: Mode::DryRun, ..settings() };
    let report = CopyJob::new(from.clone(), to.clone(), plan()).run().await.unwrap();
    assert_eq!((report.copied, report.deleted, report.equal), (10, 0, 0));
    assert!(to.buckets().await.unwrap().is_empty());
    copy(&from, &to).await;
    delete(&*from, "k/0000001").await;
    put(&*from, "k/0000002", "new").await;
    let report = CopyJob::new(from.clone(), to.clone(), plan()).run().await.unwrap();
    assert_eq!((report.copied, report.deleted, report.equal, report.conflicts.len()), (1, 1, 8, 0));
    assert_eq!(all(&*to, "default").await.len(), 10);
    put(&*to, "own", "1").await;
    let report = CopyJob::new(from, to, plan()).run().await.unwrap();
    assert_eq!(report.conflicts.len(), 1);
}

#[tokio::test]
async fn a_value_too_large_for_the_target_is_an_error_without_writes() {
    let (from, to) = (memory(), memory());
    fill(&*from, "first", 3).await;
    put(&*from, "big", &"x".repeat(1001)).await;
    put(&*from, "fits", &"x".repeat(1000)).await;
    let limits = Limits { max_value_bytes: 1000 };
    let report = CopyJob::new(from.clone(), to.clone(), CopySettings { limits, ..settings() }).run().await.unwrap();
    assert!(to.buckets().await.unwrap().is_empty());
    assert_eq!(
        report.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["bucket \"default\", key \"big\": the value has 1001 bytes; the maximum is 1000"]
    );
    let skip = || CopySettings { limits, skip_incompatible: true, ..settings() };
    let report = CopyJob::new(from.clone(), to.clone(), skip()).run().await.unwrap();
    copied(&report, 4, 0);
    assert_eq!(report.rejected.len(), 1);
    // The smaller value that was copied before stays too.
    put(&*from, "fits", &"x".repeat(1001)).await;
    let report = CopyJob::new(from, to.clone(), skip()).run().await.unwrap();
    copied(&report, 0, 0);
    assert_eq!((report.rejected.len(), all(&*to, "default").await.len()), (2, 1));
}

/// A source with these rows.
struct Given(Vec<Row>);

#[async_trait]
impl ImportSource for Given {
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Rejected>)> {
        Ok((vec![Bucket::default()], vec![]))
    }

    async fn count(&self, _: &Bucket) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read<'a>(&'a self, _: &'a Bucket) -> Rows<'a> {
        Box::pin(stream::iter([Ok(self.0.clone())]))
    }

    async fn get(&self, _: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let find = |wanted: &Key| {
            self.0.iter().find_map(|row| match row {
                Row::Entry(key, entry) if key == wanted => Some(entry.clone()),
                _ => None,
            })
        };
        Ok(keys.iter().map(find).collect())
    }

    fn logs(&self) -> Option<&dyn Logs> {
        None
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        None
    }

    fn has_revisions(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_source_with_unordered_keys_is_an_error() {
    let from = memory();
    fill(&*from, "default", 3).await;
    let mut rows: Vec<Row> =
        all(&*from, "default").await.into_iter().map(|(key, entry)| Row::Entry(key, entry.unwrap())).collect();
    let good = CopyJob::from_source(Arc::new(Given(rows.clone())), memory(), settings()).run().await.unwrap();
    copied(&good, 3, 0);
    let to = memory();
    rows.swap(0, 2);
    let error = CopyJob::from_source(Arc::new(Given(rows)), to.clone(), settings()).run().await.unwrap_err();
    assert!(error.to_string().contains("the source returns its keys out of order: \"k/0000001\""), "{error}");
    assert!(to.buckets().await.unwrap().is_empty());
    assert!(to.get(&named("default"), &[key("k/0000000")]).await.unwrap().entries[0].is_none());
}
