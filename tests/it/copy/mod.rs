//! Copies: between all stores, with other data in the target, with failures, and with other writers.

mod foreign;
mod interrupted;
mod logs_copied;
mod program;
mod refused;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kvs::copy::{CopyJob, CopyReport, CopySettings, DifferenceKind, Mode, Phase, Progress};
use kvs::memory::MemoryStore;
use kvs::model::{Batch, Bucket, Clock, ContentType, Entry, Key, Outcome, Revision, Scan, SystemClock, Time, Write};
use kvs::store::suite::{Setup, TestClock, hostile_keys, hostile_strings};
use kvs::store::{Limits, Store};

use crate::store::STORES;

/// A store in memory with the system's clock.
fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock), Limits::default()))
}

fn settings() -> CopySettings {
    CopySettings { name: "the source".to_owned(), ..CopySettings::default() }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn named(bucket: &str) -> Bucket {
    Bucket::new(bucket).unwrap()
}

async fn write(store: &dyn Store, bucket: &str, writes: Vec<Write>) -> Revision {
    let batch = Batch::new(writes);
    match store.apply(&named(bucket), batch).await.unwrap() {
        Outcome::Committed { revision, .. } => revision,
        refused @ Outcome::PreconditionFailed { .. } => panic!("{refused:?}"),
    }
}

async fn put(store: &dyn Store, name: &str, value: &str) {
    write(store, "default", vec![Write::put(key(name), value.to_owned())]).await;
}

async fn delete(store: &dyn Store, name: &str) {
    write(store, "default", vec![Write::Delete { key: key(name) }]).await;
}

/// Puts `count` entries in batches, not in the order of their keys.
async fn fill(store: &dyn Store, bucket: &str, count: usize) {
    let numbers: Vec<usize> = (0..count).map(|n| n * 7919 % count).collect();
    for part in numbers.chunks(2000) {
        let put = |n: &usize| Write::put(key(&format!("k/{n:07}")), format!("value {n}"));
        write(store, bucket, part.iter().map(put).collect()).await;
    }
}

type Held = Vec<(Key, Option<Entry>)>;

async fn all(store: &dyn Store, bucket: &str) -> Held {
    store.scan(&named(bucket), Scan { limit: usize::MAX, ..Scan::default() }).await.unwrap().entries
}

/// All buckets that clients can reach.
async fn everything(store: &dyn Store) -> Vec<(Bucket, Held)> {
    let mut held = vec![];
    for bucket in store.buckets().await.unwrap().into_iter().filter(|bucket| !bucket.is_reserved()) {
        held.push((bucket.clone(), all(store, bucket.as_str()).await));
    }
    held
}

async fn copy(from: &Arc<dyn Store>, to: &Arc<dyn Store>) -> CopyReport {
    CopyJob::new(from.clone(), to.clone(), settings()).run().await.unwrap()
}

#[track_caller]
fn copied(report: &CopyReport, copied: u64, deleted: u64) {
    assert!(report.is_equal(), "{report:?}");
    assert_eq!((report.copied, report.deleted), (copied, deleted), "{report:?}");
}

/// Writes hard cases: hostile keys and values, content types, times of clients, expiries, old times, deletions.
async fn write_all_kinds(store: &dyn Store, clock: &TestClock) {
    let end = |secs| Some(clock.now().plus(std::time::Duration::from_secs(secs)));
    let json = ContentType::new("application/json; charset=\"utf-8\"").unwrap();
    let strings = hostile_strings();
    let mut nasty = hostile_keys();
    nasty.sort();
    nasty.dedup();
    let writes = nasty.iter().rev().zip(strings.iter().cycle()).map(|(key, value)| Write::Put {
        key: key.clone(),
        value: Bytes::copy_from_slice(value),
        content_type: json.clone(),
        expires: end(1000),
        modified: Some(Time::from_nanos(-5)),
    });
    write(store, "nasty", writes.collect()).await;
    clock.advance(std::time::Duration::from_secs(1));
    fill(store, "default", 2500).await;
    clock.advance(std::time::Duration::from_secs(1));
    fill(store, "a.b-C_9", 3).await;
    put(store, "k/0000007", "again").await;
    write(store, "default", vec![Write::put(key("raw"), vec![0_u8, 255, 254])]).await;
    write(store, "default", vec![Write::Touch { key: key("k/0000009"), expires: end(500) }]).await;
    write(store, "default", vec![Write::Increment { key: key("n"), by: 5 }]).await;
    delete(store, "k/0000011").await;
    write(store, "gone", vec![Write::put(key("a"), "1")]).await;
    write(store, "gone", vec![Write::Delete { key: key("a") }]).await;
    write(store, "_kvs.throttle", vec![Write::put(key("a"), "1")]).await;
    let long_ago = Entry {
        value: "old".into(),
        content_type: ContentType::default(),
        revision: Revision::new(1),
        created: Time::from_nanos(-1),
        modified: None,
        expires: None,
    };
    write(store, "nasty", vec![Write::Restore { key: key("long ago"), entry: long_ago }]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_is_copied_into_every_other_with_all_times() {
    let folders = tempfile::tempdir().unwrap();
    let folder = || tempfile::tempdir_in(folders.path()).unwrap().keep();
    let stores = || STORES.iter().filter(|(name, _)| !name.starts_with("hooked"));
    for (from_name, from) in stores() {
        let setup = Setup::default();
        let source = from(setup.clock.clone(), setup.limits, &folder());
        write_all_kinds(&*source, &setup.clock).await;
        let there: Vec<_> = everything(&*source).await.into_iter().filter(|(_, held)| !held.is_empty()).collect();
        let count = there.iter().map(|(_, held)| held.len() as u64).sum();
        for (to_name, to) in stores() {
            let target = to(setup.clock.clone(), setup.limits, &folder());
            let how = || CopyJob::new(source.clone(), target.clone(), settings()).with_clock(setup.clock.clone());
            let report = how().run().await.unwrap();
            copied(&report, count, 0);
            assert_eq!((report.equal, report.buckets), (count, 4), "{from_name} to {to_name}");
            assert!(everything(&*target).await == there, "{from_name} to {to_name}");
            let throttle = target.get(&named("_kvs.throttle"), &[key("a")]).await.unwrap();
            assert_eq!(throttle.entries, [None], "what is kvs' own is not copied");
            copied(&how().run().await.unwrap(), 0, 0);
        }
    }
}

#[tokio::test]
async fn a_new_copy_has_the_revision_of_its_last_entry() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 3000).await;
    delete(&*from, "k/0000000").await;
    copy(&from, &to).await;
    let last = all(&*from, "default").await.into_iter().map(|(_, entry)| entry.unwrap().revision).max().unwrap();
    let reached = to.get(&Bucket::default(), &[]).await.unwrap().revision;
    assert_eq!(reached, last, "written in the order of revisions, none of them had to be raised");
}

#[tokio::test]
async fn the_next_run_copies_only_changes() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 2500).await;
    copied(&copy(&from, &to).await, 2500, 0);
    for _ in 0..3 {
        put(&*from, "new", "1").await;
        put(&*from, "k/0000001", "changed").await;
        let ahead = SystemClock.now().plus(std::time::Duration::from_secs(1000));
        write(&*from, "default", vec![Write::Touch { key: key("k/0000002"), expires: Some(ahead) }]).await;
        copied(&copy(&from, &to).await, 3, 0);
        delete(&*from, "new").await;
        copied(&copy(&from, &to).await, 0, 1);
        assert_eq!(everything(&*to).await, everything(&*from).await);
        let touch = Write::Touch { key: key("k/0000002"), expires: None };
        write(&*from, "default", vec![touch]).await;
        copied(&copy(&from, &to).await, 1, 0);
    }
    assert_eq!(everything(&*to).await, everything(&*from).await);
}

#[tokio::test]
async fn a_source_restored_from_a_backup_is_followed() {
    let (from, to) = (memory(), memory());
    put(&*from, "a", "1").await;
    let old = all(&*from, "default").await;
    put(&*from, "a", "2").await;
    put(&*from, "b", "2").await;
    copy(&from, &to).await;
    // As after a restore from a backup: an older entry under the same key.
    let back = memory();
    let restore = |(key, entry): (Key, Option<Entry>)| Write::Restore { key, entry: entry.unwrap() };
    write(&*back, "default", old.into_iter().map(restore).collect()).await;
    copied(&copy(&back, &to).await, 1, 1);
    assert_eq!(everything(&*to).await, everything(&*back).await);
    copied(&copy(&back, &to).await, 0, 0);
}

#[tokio::test]
async fn a_comparison_sees_every_field() {
    let from = memory();
    write(&*from, "default", vec![Write::put(key("a"), "1"), Write::put(key("b"), "1")]).await;
    let entry = all(&*from, "default").await[0].1.clone().unwrap();
    let later = Revision::new(entry.revision.number() + 5);
    let ahead = SystemClock.now().plus(std::time::Duration::from_secs(1000));
    for (field, other) in [
        ("value", Entry { value: "2".into(), ..entry.clone() }),
        ("content type", Entry { content_type: ContentType::new("a/b").unwrap(), ..entry.clone() }),
        ("updated", Entry { revision: later, ..entry.clone() }),
        ("created", Entry { created: Time::from_nanos(5), ..entry.clone() }),
        ("modified", Entry { modified: Some(Time::from_nanos(5)), ..entry.clone() }),
        ("expires", Entry { expires: Some(ahead), ..entry.clone() }),
    ] {
        let to = memory();
        write(&*to, "default", vec![Write::Restore { key: key("a"), entry: other }]).await;
        write(&*to, "default", vec![Write::put(key("c"), "1")]).await;
        let before = everything(&*to).await;
        let verify = CopySettings { mode: Mode::Verify, ..settings() };
        let report = CopyJob::new(from.clone(), to.clone(), verify).run().await.unwrap();
        assert!(!report.is_equal());
        let reported: Vec<String> = report.differences.first.iter().map(ToString::to_string).collect();
        assert_eq!(
            reported,
            [
                format!("bucket default, key \"a\": different {field}"),
                "bucket default, key \"b\": only in the source".to_owned(),
                "bucket default, key \"c\": only in the target".to_owned(),
            ]
        );
        assert_eq!((report.differences.count, report.equal), (3, 0));
        assert!(matches!(report.differences.first[0].kind, DifferenceKind::Changed(_)));
        assert_eq!(everything(&*to).await, before);
    }
}

#[tokio::test]
async fn an_entry_that_expires_during_the_comparison_is_not_a_difference() {
    for (at, after) in [(Phase::Comparing, 700), (Phase::Copying, 1000), (Phase::Verifying, 700)] {
        let clock = Arc::new(TestClock::default());
        let make = || Arc::new(MemoryStore::new(clock.clone(), Limits::default())) as Arc<dyn Store>;
        let (from, to) = (make(), make());
        let end = clock.now().plus(std::time::Duration::from_secs(10));
        let put = |n: usize| Write::Put {
            key: key(&n.to_string()),
            value: "1".into(),
            content_type: ContentType::default(),
            expires: (!n.is_multiple_of(3)).then_some(end),
            modified: None,
        };
        write(&*from, "default", (0..2500).map(put).collect()).await;
        let ticking = clock.clone();
        let watcher = Arc::new(move |step: Progress<'_>| {
            if (step.phase, step.done) == (at, after) {
                ticking.advance(std::time::Duration::from_secs(10));
            }
        });
        let copying =
            CopyJob::new(from.clone(), to.clone(), settings()).with_clock(clock.clone()).with_progress(watcher);
        let report = copying.run().await.unwrap();
        assert!(report.is_equal(), "{at:?}: {report:?}");
        assert_eq!(all(&*to, "default").await.len(), 834);
    }
}

#[tokio::test]
async fn progress_is_reported_to_the_end() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 2500).await;
    let reported = Arc::new(parking_lot::Mutex::new(vec![]));
    let heard = reported.clone();
    let watcher = Arc::new(move |step: Progress<'_>| {
        assert!(step.done <= step.total);
        heard.lock().push((step.phase, step.done));
    });
    CopyJob::new(from, to, settings()).with_progress(watcher).run().await.unwrap();
    for work in [Phase::Comparing, Phase::Copying, Phase::Verifying] {
        assert!(reported.lock().contains(&(work, 2500)), "{work:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_entries_are_copied_to_a_server_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = |name: &str| {
        let path: &Path = &folder.path().join(name);
        Arc::new(kvs::yaml::YamlStore::open(path, kvs::yaml::YamlOptions::default()).unwrap()) as Arc<dyn Store>
    };
    let (from, back) = (yaml("from"), yaml("back"));
    fill(&*from, "default", 100_000).await;
    let url = crate::postgres::empty("");
    let server: Arc<dyn Store> =
        Arc::new(kvs::postgres::PostgresStore::open(&url, kvs::postgres::PostgresOptions::default()).unwrap());
    copied(&copy(&from, &server).await, 100_000, 0);
    copied(&copy(&server, &back).await, 100_000, 0);
    assert!(everything(&*back).await == everything(&*from).await);
}
