//! Copies that are interrupted at every point, and copies during which others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use kvs::copy::{CopyJob, CopySettings};
use kvs::model::{Bucket, Clock, Error, ErrorKind, Result, SystemClock, Write};
use kvs::store::Store;

use crate::support::doubles::{Around, Call, PassThrough};

use super::{all, copied, copy, delete, everything, fill, key, memory, put, settings, write};

/// Runs before or after a call, and can fail it. It gets the store, the number of the call, and whether the call is
/// done.
type Happens = Arc<dyn Fn(Arc<dyn Store>, usize, bool) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Runs something around certain calls of a store.
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
        let (gets, applies) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(PassThrough { inner: inner.clone(), around: Self { inner, gets, applies, on_get, on_apply } })
    }
}

#[async_trait]
impl Around for Disturbed {
    async fn before(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        match (call, &self.on_get, &self.on_apply) {
            // Only reads of entries to copy.
            (Call::Get(keys), Some(happens), _) if keys.len() > 1 => {
                happens(self.inner.clone(), self.gets.fetch_add(1, Ordering::SeqCst), false).await
            }
            (Call::Apply, _, Some(happens)) => {
                happens(self.inner.clone(), self.applies.load(Ordering::SeqCst), false).await
            }
            _ => Ok(()),
        }
    }

    async fn after(&self, _: &Bucket, call: Call<'_>) -> Result<()> {
        match (call, &self.on_apply) {
            (Call::Apply, Some(happens)) => {
                happens(self.inner.clone(), self.applies.fetch_add(1, Ordering::SeqCst), true).await
            }
            _ => Ok(()),
        }
    }
}

/// Fails a write, before or after it was done.
fn failing(at: usize, after: bool) -> Happens {
    Arc::new(move |_, number, over| {
        let fails = number == at && over == after;
        Box::pin(
            async move { if fails { Err(Error::new(ErrorKind::Unavailable, "the power is gone")) } else { Ok(()) } },
        )
    })
}

/// Interrupts a copy before and after each of its writes, changes the source, and continues.
#[tokio::test]
async fn an_interrupted_copy_can_be_continued() {
    let mut ended = false;
    let mut at = 0;
    while !ended {
        for after in [false, true] {
            let (from, to) = (memory(), memory());
            fill(&*from, "default", 3500).await;
            fill(&*from, "second", 10).await;
            let broken = Disturbed::over(&to, None, Some(failing(at, after)));
            let run = CopyJob::new(from.clone(), broken, settings()).run().await;
            ended = run.is_ok();
            let there: usize = everything(&*to).await.iter().map(|(_, held)| held.len()).sum();
            // Entries already copied, not yet copied, deleted, touched, and new.
            put(&*from, "k/0000001", "changed").await;
            let ends = SystemClock.now().plus(std::time::Duration::from_secs(1000));
            write(&*from, "default", vec![Write::Touch { key: key("k/0000002"), expires: Some(ends) }]).await;
            put(&*from, "new", "1").await;
            let report = copy(&from, &to).await;
            assert!(report.is_equal(), "{at} {after}: {report:?}");
            // Only missing and changed entries are copied.
            let missing = 3511 - there as u64;
            assert!((missing..=missing + 2).contains(&report.copied), "{at} {after}: {there} there, {report:?}");
            assert_eq!(everything(&*to).await, everything(&*from).await, "{at} {after}");
        }
        at += 1;
    }
    assert!(at > 8, "{at}");
}

#[tokio::test]
async fn entries_deleted_after_an_interruption_are_deleted() {
    for at in 2..8 {
        let (from, to) = (memory(), memory());
        fill(&*from, "default", 3500).await;
        let broken = Disturbed::over(&to, None, Some(failing(at, true)));
        CopyJob::new(from.clone(), broken, settings()).run().await.unwrap_err();
        let there = all(&*to, "default").await;
        let Some((first, _)) = there.first() else { continue };
        delete(&*from, first.as_str()).await;
        let report = copy(&from, &to).await;
        assert!(report.is_equal() && report.deleted == 1, "{at}: {report:?}");
        assert_eq!(everything(&*to).await, everything(&*from).await);
    }
}

#[tokio::test]
async fn writes_to_the_source_during_a_copy_are_copied() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 3500).await;
    let meddle: Happens = Arc::new(|store, number, _| {
        Box::pin(async move {
            match number {
                // After and before the entries that are being read.
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
    let report = CopyJob::new(busy, to.clone(), settings()).run().await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(everything(&*to).await, everything(&*from).await);
    assert_eq!(all(&*to, "new_bucket").await.len(), 5);
}

#[tokio::test]
async fn entries_changed_after_the_comparison_are_left_for_the_next_one() {
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
    // The fourth write is the second batch. The entries written by then are unchanged and have their own revisions.
    let broken = Disturbed::over(&to, None, Some(failing(3, true)));
    CopyJob::new(busy, broken, settings()).run().await.unwrap_err();
    let there = all(&*to, "default").await;
    assert!(there.len() > 1900 && there.iter().all(|entry| before.contains(entry)), "{}", there.len());
}

#[tokio::test]
async fn a_source_that_keeps_changing_is_reported_and_copied_later() {
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
    let report = CopyJob::new(busy, to.clone(), settings()).run().await.unwrap();
    assert_eq!((report.is_equal(), report.differences.count, report.equal), (false, 2, 98), "{report:?}");
    copied(&copy(&from, &to).await, 2, 0);
}

#[tokio::test]
async fn other_writers_to_the_target_are_noticed_and_lose_nothing() {
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
        let error = CopyJob::new(from.clone(), shared, settings()).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.to_string().contains("others write to bucket default of the target"), "{error}");
        for _ in 0..2 {
            assert_eq!(copy(&from, &to).await.conflicts.len(), 1, "{at}");
            let held = to.get(&Bucket::default(), &[key("k/0003499"), key("own")]).await.unwrap().entries;
            assert!(held.iter().all(|entry| entry.as_ref().unwrap().value == "written here"), "{at}: {held:?}");
        }
    }
}

#[tokio::test]
async fn writes_of_others_after_the_last_batch_are_not_deleted() {
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
    let error = CopyJob::new(from, shared, settings()).run().await.unwrap_err();
    assert!(error.to_string().contains("others write to bucket default of the target"), "{error}");
    assert_eq!(
        to.get(&Bucket::default(), &[key("own")]).await.unwrap().entries[0].as_ref().unwrap().value,
        "written here"
    );
}

/// At a deletion, and when an entry replaces a newer one, the new revision of the bucket cannot be predicted.
#[tokio::test]
async fn writes_of_others_at_the_moment_of_a_deletion_are_not_deleted() {
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
            let how = CopySettings { replace, ..settings() };
            let error = CopyJob::new(from.clone(), shared, how).run().await.unwrap_err();
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
async fn an_error_names_the_side() {
    let (from, to) = (memory(), memory());
    fill(&*from, "default", 10).await;
    let broken = Disturbed::over(&to, None, Some(failing(0, false)));
    let error = CopyJob::new(from.clone(), broken, settings()).run().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "the target: the power is gone".to_owned()));
    let happens: Happens =
        Arc::new(|_, _, _| Box::pin(async { Err(Error::new(ErrorKind::Busy, "the line is engaged")) }));
    let broken = Disturbed::over(&from, Some(happens), None);
    let error = CopyJob::new(broken, to, settings()).run().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Busy, "the source: the line is engaged".to_owned()));
}
