//! Copies that are broken off, at every point there is, and copies beside which others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kvs::api::copy::{Copying, Settings};
use kvs::model::{Batch, Bucket, Error, Kind, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock, Write};
use kvs::model::{Clock, Key};
use kvs::store::{Report, Store, Task};

use super::{all, copied, copy, delete, everything, fill, key, memory, put, settings, write};

/// What happens beside or instead of a call, given the store, the number of the call, and whether it is over.
type Happens = Arc<dyn Fn(Arc<dyn Store>, usize, bool) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A store of which certain calls do not go by undisturbed.
struct Disturbed {
    inner: Arc<dyn Store>,
    gets: AtomicUsize,
    applies: AtomicUsize,
    on_get: Option<Happens>,
    on_apply: Option<Happens>,
}

impl Disturbed {
    fn over(inner: &Arc<dyn Store>, on_get: Option<Happens>, on_apply: Option<Happens>) -> Arc<dyn Store> {
        let inner = inner.clone();
        Arc::new(Self { inner, gets: AtomicUsize::new(0), applies: AtomicUsize::new(0), on_get, on_apply })
    }
}

#[async_trait]
impl Store for Disturbed {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        // Only those that fetch entries to be copied.
        if keys.len() > 1
            && let Some(happens) = &self.on_get
        {
            happens(self.inner.clone(), self.gets.fetch_add(1, Ordering::SeqCst), false).await?;
        }
        self.inner.get(bucket, keys).await
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        let number = self.applies.fetch_add(1, Ordering::SeqCst);
        if let Some(happens) = &self.on_apply {
            happens(self.inner.clone(), number, false).await?;
        }
        let outcome = self.inner.apply(bucket, batch).await;
        if let Some(happens) = &self.on_apply {
            happens(self.inner.clone(), number, true).await?;
        }
        outcome
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        self.inner.scan(bucket, query).await
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.inner.changed(bucket, since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        self.inner.upkeep(bucket, task).await
    }
}

/// Fails at that write, before it or after it was done.
fn failing(at: usize, after: bool) -> Happens {
    Arc::new(move |_, number, over| {
        let fails = number == at && over == after;
        Box::pin(async move { if fails { Err(Error::new(Kind::Failed, "the power is gone")) } else { Ok(()) } })
    })
}

/// Breaks a copy off at each of its writes, before and after it is done, changes the source in between, and goes on.
#[tokio::test]
async fn a_copy_that_is_broken_off_anywhere_goes_on_from_there() {
    let mut ended = false;
    let mut at = 0;
    while !ended {
        for after in [false, true] {
            let (from, to) = (memory(), memory());
            fill(&*from, "default", 3500).await;
            fill(&*from, "second", 10).await;
            let broken = Disturbed::over(&to, None, Some(failing(at, after)));
            let run = Copying::new(from.clone(), broken, settings()).run().await;
            ended = run.is_ok();
            let there: usize = everything(&*to).await.iter().map(|(_, held)| held.len()).sum();
            // What was copied already, what was not yet, and what is deleted, touched, or new.
            put(&*from, "k/0000001", "changed").await;
            let ends = SystemClock.now().plus(std::time::Duration::from_secs(1000));
            write(&*from, "default", vec![Write::Touch { key: key("k/0000002"), expires: Some(ends) }]).await;
            put(&*from, "new", "1").await;
            let report = copy(&from, &to).await;
            assert!(report.is_equal(), "{at} {after}: {report:?}");
            // Besides what is missing only what has changed goes over.
            let missing = 3511 - there as u64;
            assert!((missing..=missing + 2).contains(&report.copied), "{at} {after}: {there} there, {report:?}");
            assert_eq!(everything(&*to).await, everything(&*from).await, "{at} {after}");
        }
        at += 1;
    }
    assert!(at > 8, "{at}");
}

#[tokio::test]
async fn what_the_source_deleted_since_the_interruption_is_deleted() {
    for at in 2..8 {
        let (from, to) = (memory(), memory());
        fill(&*from, "default", 3500).await;
        let broken = Disturbed::over(&to, None, Some(failing(at, true)));
        Copying::new(from.clone(), broken, settings()).run().await.unwrap_err();
        let there = all(&*to, "default").await;
        let Some((first, _)) = there.first() else { continue };
        delete(&*from, first.as_str()).await;
        let report = copy(&from, &to).await;
        assert!(report.is_equal() && report.deleted == 1, "{at}: {report:?}");
        assert_eq!(everything(&*to).await, everything(&*from).await);
    }
}

#[tokio::test]
async fn what_is_written_to_the_source_meanwhile_goes_over_too() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 3500).await;
    let meddle: Happens = Arc::new(|store, number, _| {
        Box::pin(async move {
            match number {
                // Behind and before what is being fetched.
                1 => {
                    for n in [0, 7, 3499] {
                        put(&*store, &format!("k/{n:07}"), "changed").await;
                    }
                    let ends = SystemClock.now().plus(std::time::Duration::from_secs(1000));
                    for name in ["k/0000100", "k/0003400"] {
                        write(&*store, "default", vec![Write::Touch { key: key(name), expires: Some(ends) }]).await;
                    }
                }
                2 => {
                    for n in [0, 7, 50, 3498] {
                        delete(&*store, &format!("k/{n:07}")).await;
                    }
                    put(&*store, "a new one", "1").await;
                    fill(&*store, "new_bucket", 5).await;
                }
                4 => put(&*store, "late", "1").await,
                _ => {}
            }
            Ok(())
        })
    });
    let busy = Disturbed::over(&from, Some(meddle), None);
    let report = Copying::new(busy, to.clone(), settings()).run().await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(everything(&*to).await, everything(&*from).await);
    assert_eq!(all(&*to, "new_bucket").await.len(), 5);
}

#[tokio::test]
async fn what_changed_since_it_was_compared_waits_for_its_turn() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 3500).await;
    let before = all(&*from, "default").await;
    let meddle: Happens = Arc::new(|store, _, _| {
        Box::pin(async move {
            for n in 0..50 {
                put(&*store, &format!("k/{n:07}"), "changed").await;
            }
            Ok(())
        })
    });
    let busy = Disturbed::over(&from, Some(meddle), None);
    // The fourth write is the second batch: what has arrived by then are entries as they were, under their own revisions.
    let broken = Disturbed::over(&to, None, Some(failing(3, true)));
    Copying::new(busy, broken, settings()).run().await.unwrap_err();
    let there = all(&*to, "default").await;
    assert!(there.len() > 1900 && there.iter().all(|entry| before.contains(entry)), "{}", there.len());
}

#[tokio::test]
async fn a_source_that_never_rests_is_told_and_caught_up_with_later() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 100).await;
    let meddle: Happens = Arc::new(|store, number, _| {
        Box::pin(async move {
            put(&*store, "k/0000001", &number.to_string()).await;
            put(&*store, "k/0000002", &number.to_string()).await;
            Ok(())
        })
    });
    let busy = Disturbed::over(&from, Some(meddle), None);
    let report = Copying::new(busy, to.clone(), settings()).run().await.unwrap();
    assert_eq!((report.is_equal(), report.differences.count, report.equal), (false, 2, 98), "{report:?}");
    copied(&copy(&from, &to).await, 2, 0);
}

#[tokio::test]
async fn others_who_write_to_the_target_are_noticed_and_lose_nothing() {
    for at in [1, 3, 5] {
        let (from, to) = (memory(), memory());
        fill(&*from, "default", 3500).await;
        let meddle: Happens = Arc::new(move |store, number, over| {
            Box::pin(async move {
                if number == at && !over {
                    put(&*store, "k/0003499", "written here").await;
                    put(&*store, "own", "written here").await;
                }
                Ok(())
            })
        });
        let shared = Disturbed::over(&to, None, Some(meddle));
        let error = Copying::new(from.clone(), shared, settings()).run().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Busy, "{error}");
        assert!(error.to_string().contains("others write to bucket default of the target"), "{error}");
        for _ in 0..2 {
            assert_eq!(copy(&from, &to).await.conflicts.len(), 1, "{at}");
            let held = to.get(&Bucket::default(), &[key("k/0003499"), key("own")]).await.unwrap().entries;
            assert!(held.iter().all(|entry| entry.as_ref().unwrap().value == "written here"), "{at}: {held:?}");
        }
    }
}

#[tokio::test]
async fn what_others_write_to_the_target_behind_the_last_batch_is_not_deleted() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 1500).await;
    let meddle: Happens = Arc::new(|store, number, over| {
        Box::pin(async move {
            if number == 3 && over {
                put(&*store, "own", "written here").await;
            }
            Ok(())
        })
    });
    let shared = Disturbed::over(&to, None, Some(meddle));
    let error = Copying::new(from, shared, settings()).run().await.unwrap_err();
    assert!(error.to_string().contains("others write to bucket default of the target"), "{error}");
    assert_eq!(
        to.get(&Bucket::default(), &[key("own")]).await.unwrap().entries[0].as_ref().unwrap().value,
        "written here"
    );
}

/// At the moment of a deletion, and of an entry that takes the place of a later one: what they bring a bucket to cannot be
/// foreseen.
#[tokio::test]
async fn what_others_write_at_the_moment_of_a_deletion_is_not_deleted() {
    for (replace, name) in [(false, "own"), (true, "own"), (true, "k/0000001")] {
        for at in 0..3 {
            let (from, to) = (memory(), memory());
            fill(&*from, "default", 10).await;
            copy(&from, &to).await;
            if replace {
                put(&*to, "k/0000001", "later than the source's").await;
            } else {
                delete(&*from, "k/0000000").await;
            }
            let meddle: Happens = Arc::new(move |store, number, over| {
                Box::pin(async move {
                    if number == at && !over {
                        put(&*store, name, "written here").await;
                    }
                    Ok(())
                })
            });
            let shared = Disturbed::over(&to, None, Some(meddle));
            let how = Settings { replace, ..settings() };
            let error = Copying::new(from.clone(), shared, how).run().await.unwrap_err();
            assert!(error.to_string().contains("others write to bucket default of the target"), "{at}: {error}");
            for _ in 0..2 {
                assert_eq!(copy(&from, &to).await.conflicts.len(), 1, "{replace}, {name}, {at}");
                let held = to.get(&Bucket::default(), &[key(name)]).await.unwrap().entries;
                assert_eq!(held[0].as_ref().unwrap().value, "written here", "{replace}, {name}, {at}");
            }
        }
    }
}

#[tokio::test]
async fn an_error_tells_the_side() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 10).await;
    let broken = Disturbed::over(&to, None, Some(failing(0, false)));
    let error = Copying::new(from.clone(), broken, settings()).run().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Failed, "the target: the power is gone".to_owned()));
    let happens: Happens = Arc::new(|_, _, _| Box::pin(async { Err(Error::new(Kind::Busy, "the line is engaged")) }));
    let broken = Disturbed::over(&from, Some(happens), None);
    let error = Copying::new(broken, to, settings()).run().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Busy, "the source: the line is engaged".to_owned()));
}
