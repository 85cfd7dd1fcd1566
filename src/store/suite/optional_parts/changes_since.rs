//! Changes since a revision: every change is found, in order, and a follower ends with the state of the bucket.
//!
//! They run only if the store has [`Changes`](crate::store::Changes).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::model::{
    Bucket, ChangesPage, ChangesQuery, Condition, Entry, Key, KeyChange, Outcome, Revision, Scan, Write,
};
use crate::store::contract::Task;
use crate::store::suite::cases::cases;
use crate::store::suite::store_under_test::{TestBench, changes_of_each_kind, expect, key, put_until};

cases![
    every_kind_of_write_is_a_change,
    only_changes_count,
    each_key_is_in_a_page_once_with_its_last_change,
    changes_are_in_the_order_of_their_revisions,
    only_keys_with_the_prefix_are_returned,
    pages_end_at_the_limit,
    a_future_revision_is_unknown,
    a_revision_before_the_first_write_is_unknown,
    a_missing_bucket_has_no_changes,
    revision_zero_returns_all_entries,
    deletions_are_known_after_maintenance,
    an_expired_entry_is_missing,
    buckets_have_separate_changes,
    a_restored_entry_is_a_change_now,
    followers_end_with_the_state_of_the_bucket,
];

impl TestBench {
    /// A page of changes; `None` if they are not all known.
    async fn page(&self, query: ChangesQuery) -> Option<ChangesPage> {
        self.store.changes().unwrap().changes_since(&self.bucket, query).await.unwrap()
    }

    /// The changes since then, which must be known and fit a page.
    async fn since(&self, since: Revision) -> ChangesPage {
        let page = self.page(ChangesQuery::since(since)).await.unwrap_or_else(|| panic!("{since} is unknown"));
        assert!(!page.has_more && page.next == self.revision().await, "{page:?}");
        page
    }
}

/// The keys of changes.
fn keys(page: &ChangesPage) -> Vec<&str> {
    page.changes.iter().map(|change| change.key.as_str()).collect()
}

async fn every_kind_of_write_is_a_change(bench: TestBench) {
    let creation = [Write::put(key("a"), "1")];
    for write in creation.into_iter().chain(changes_of_each_kind(&bench, "a")) {
        let since = bench.revision().await;
        let (revision, _) = bench.commit(vec![write.clone()]).await;
        let entry = bench.entry("a").await;
        let changes = vec![KeyChange { revision, key: key("a"), entry }];
        assert_eq!(bench.since(since).await, ChangesPage { changes, next: revision, has_more: false }, "{write:?}");
        assert_eq!(bench.since(revision).await.changes, [], "{write:?}");
    }
}

async fn only_changes_count(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    let refused = bench.apply(vec![expect("a", Condition::Absent)], vec![Write::put(key("a"), "2")]).await;
    assert!(matches!(refused, Outcome::PreconditionFailed { .. }));
    bench.commit(vec![Write::Delete { key: key("b") }, Write::Touch { key: key("a"), expires: None }]).await;
    bench
        .fails(vec![Write::put(key("b"), "1"), Write::put(key("c"), "x"), Write::Increment { key: key("c"), by: 1 }])
        .await;
    assert_eq!(bench.since(since).await, ChangesPage { next: since, ..ChangesPage::default() });
}

async fn each_key_is_in_a_page_once_with_its_last_change(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    for value in ["2", "3", "4"] {
        bench.put("b", value).await;
        bench.put("a", value).await;
    }
    bench.commit(vec![Write::put(key("c"), "1"), Write::Delete { key: key("c") }]).await;
    let page = bench.since(since).await;
    assert_eq!(keys(&page), ["b", "a", "c"]);
    let values: Vec<_> = page.changes.iter().map(|change| change.entry.as_ref().and_then(Entry::as_text)).collect();
    assert_eq!(values, [Some("4"), Some("4"), None]);
}

async fn changes_are_in_the_order_of_their_revisions(bench: TestBench) {
    let since = bench.put("z", "1").await.revision;
    bench.put("x", "1").await;
    let writes = ["c", "a", "b"].map(|name| Write::put(key(name), "1"));
    bench.commit(writes.to_vec()).await;
    bench
        .commit(vec![Write::Delete { key: key("z") }, Write::put(key("y"), "1"), Write::Delete { key: key("x") }])
        .await;
    bench.write(Write::Touch { key: key("c"), expires: Some(bench.secs_ahead(60)) }).await;
    let page = bench.since(since).await;
    assert_eq!(keys(&page), ["a", "b", "z", "y", "x", "c"]);
    let revisions: Vec<Revision> = page.changes.iter().map(|change| change.revision).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b) && revisions.iter().all(|revision| *revision > since));
}

async fn only_keys_with_the_prefix_are_returned(bench: TestBench) {
    let since = bench.put("rooms/hall", "1").await.revision;
    for name in ["rooms/hall", "rooms", "rooms/", "ROOMS/a", "rooms/\u{10ffff}", "rooms%/a", "s"] {
        bench.put(name, "2").await;
    }
    bench.write(Write::Delete { key: key("rooms/hall") }).await;
    let with_prefix = |prefix: &str| ChangesQuery { prefix: prefix.into(), ..ChangesQuery::since(since) };
    let page = bench.page(with_prefix("rooms/")).await.unwrap();
    assert_eq!(keys(&page), ["rooms/", "rooms/\u{10ffff}", "rooms/hall"]);
    let page = bench.page(with_prefix("rooms%")).await.unwrap();
    assert_eq!(keys(&page), ["rooms%/a"]);
    let none = bench.page(with_prefix("none")).await.unwrap();
    assert_eq!(none, ChangesPage { next: bench.revision().await, ..ChangesPage::default() });
}

async fn pages_end_at_the_limit(bench: TestBench) {
    let start = bench.put("first", "1").await.revision;
    let writes = (0..10).map(|n| Write::put(key(&format!("k{n}")), "1"));
    bench.commit(writes.collect()).await;
    let deletes = (0..5).map(|n| Write::Delete { key: key(&format!("k{n}")) });
    bench.commit(deletes.collect()).await;
    for limit in [1, 3, 5, 10, 11] {
        let (mut since, mut seen) = (start, vec![]);
        loop {
            let page = bench.page(ChangesQuery { limit, ..ChangesQuery::since(since) }).await.unwrap();
            assert!(page.changes.len() == limit || !page.has_more, "{page:?}");
            seen.extend(page.changes.into_iter().map(|change| change.key.as_str().to_owned()));
            since = page.next;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(seen.join(" "), "k5 k6 k7 k8 k9 k0 k1 k2 k3 k4", "{limit}");
        assert_eq!(since, bench.revision().await);
    }
}

async fn a_future_revision_is_unknown(bench: TestBench) {
    let future = ChangesQuery::since(Revision::new(1));
    assert_eq!(bench.page(future).await, None, "of a missing bucket");
    let revision = bench.put("a", "1").await.revision;
    assert_eq!(bench.page(ChangesQuery::since(revision.following())).await, None);
}

async fn a_revision_before_the_first_write_is_unknown(bench: TestBench) {
    let first = bench.put("a", "1").await.revision;
    bench.put("b", "1").await;
    // A client has such a revision from an earlier bucket of this name.
    for earlier in [Revision::new(1), first.preceding().preceding()] {
        assert_eq!(bench.page(ChangesQuery::since(earlier)).await, None, "{earlier}");
    }
    assert_eq!(keys(&bench.since(first).await), ["b"]);
}

async fn a_missing_bucket_has_no_changes(bench: TestBench) {
    assert_eq!(bench.since(Revision::ZERO).await, ChangesPage::default());
    assert_eq!(bench.store.buckets().await.unwrap(), []);
    let entry = bench.put("a", "1").await;
    assert_eq!(bench.since(Revision::ZERO).await.changes.len(), 1);
    assert_eq!(bench.since(entry.revision).await.changes, []);
}

async fn revision_zero_returns_all_entries(bench: TestBench) {
    for name in ["b", "a", "c"] {
        bench.put(name, "1").await;
    }
    bench.write(Write::Delete { key: key("a") }).await;
    bench.store.maintain(&bench.bucket, Task::Compact).await.unwrap();
    let page = bench.since(Revision::ZERO).await;
    let live: Vec<&str> =
        page.changes.iter().filter(|change| change.entry.is_some()).map(|change| change.key.as_str()).collect();
    assert_eq!(live, ["b", "c"]);
}

async fn deletions_are_known_after_maintenance(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    for (n, task) in [Task::Compact, Task::RemoveExpired, Task::RemoveLeftovers, Task::Check].into_iter().enumerate() {
        let name = key(&format!("gone{n}"));
        bench.commit(vec![Write::put(name.clone(), "1"), Write::Delete { key: name }]).await;
        bench.write(Write::Touch { key: key("a"), expires: Some(bench.secs_ahead(1_000 + n as u64)) }).await;
        bench.store.maintain(&bench.bucket, task).await.unwrap();
        let expected: Vec<String> = (0..=n).map(|n| format!("gone{n}")).chain(["a".to_owned()]).collect();
        assert_eq!(keys(&bench.since(since).await), expected, "{task:?}");
    }
}

async fn an_expired_entry_is_missing(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    bench.write(put_until("b", "1", bench.secs_ahead(1))).await;
    assert!(bench.since(since).await.changes[0].entry.is_some());
    let revision = bench.revision().await;
    bench.advance(1);
    let page = bench.since(since).await;
    assert_eq!((keys(&page), &page.changes[0].entry), (vec!["b"], &None));
    assert_eq!(bench.since(revision).await.changes, [], "an expiry is not a change");
}

async fn buckets_have_separate_changes(bench: TestBench) {
    let since = bench.put("a", "1").await.revision;
    let other = TestBench { bucket: Bucket::new("other").unwrap(), ..bench.clone() };
    other.put("b", "1").await;
    other.write(Write::Delete { key: key("b") }).await;
    assert_eq!(bench.since(since).await.changes, []);
    assert_eq!(keys(&other.since(Revision::ZERO).await).iter().filter(|name| **name != "b").count(), 0);
}

async fn a_restored_entry_is_a_change_now(bench: TestBench) {
    let entry = bench.put("a", "1").await;
    bench.write(Write::Delete { key: key("a") }).await;
    let since = bench.revision().await;
    bench.write(Write::Restore { key: key("b"), entry: entry.clone() }).await;
    let (page, revision) = (bench.since(since).await, bench.revision().await);
    assert_eq!(page.changes, [KeyChange { revision, key: key("b"), entry: Some(entry) }]);
}

/// Writes and deletes a few keys, again and again.
async fn write_at_random(bench: TestBench, seed: usize) {
    for n in 0..60 {
        let name = key(&format!("k{}", (n * 7 + seed * 3) % 10));
        match (n + seed) % 5 {
            0 => bench.write(Write::Delete { key: name }).await,
            1 => bench.write(Write::Touch { key: name, expires: Some(bench.secs_ahead(9_000 + n as u64)) }).await,
            _ => bench.write(Write::put(name, format!("{seed} {n}"))).await,
        };
    }
}

/// Follows a bucket from revision zero until the key `last` is there, and returns the entries as it has seen them.
async fn follow(bench: TestBench, limit: usize, last: Key) -> BTreeMap<Key, Entry> {
    let (mut since, mut entries) = (Revision::ZERO, BTreeMap::new());
    loop {
        let page = bench.page(ChangesQuery { limit, ..ChangesQuery::since(since) }).await.unwrap();
        let unique: BTreeSet<&Key> = page.changes.iter().map(|change| &change.key).collect();
        assert_eq!(unique.len(), page.changes.len());
        for KeyChange { revision, key, entry } in page.changes {
            assert!(revision > since, "{revision} after {since}");
            since = revision;
            match entry {
                Some(entry) => entries.insert(key, entry),
                None => entries.remove(&key),
            };
        }
        assert!(page.next >= since);
        since = page.next;
        if page.has_more {
            continue;
        }
        if entries.contains_key(&last) {
            return entries;
        }
        let changed = bench.store.changed(&bench.bucket, since);
        tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap().unwrap();
    }
}

async fn followers_end_with_the_state_of_the_bucket(bench: TestBench) {
    let last = key("last");
    let mut followers = JoinSet::new();
    for limit in [1, 7, 1_000] {
        followers.spawn(follow(bench.clone(), limit, last.clone()));
    }
    let mut writers = JoinSet::new();
    for seed in 0..4 {
        writers.spawn(write_at_random(bench.clone(), seed));
    }
    writers.join_all().await;
    bench.put("last", "1").await;
    let page = bench.scan(Scan { limit: usize::MAX, ..Scan::default() }).await;
    let state: BTreeMap<Key, Entry> = page.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect();
    for seen in followers.join_all().await {
        assert_eq!(seen, state);
    }
}
