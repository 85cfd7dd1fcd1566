//! Request coalescing: long polls that fetch the same resource at the same time share one fetch.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::fetch::{Fetched, Wakeup};
use crate::model::Time;
use crate::web::response::api_error::ApiError;

/// The fetches in progress, and the results for which a long poll still waits, by name.
///
/// Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Coalescer(Arc<Mutex<HashMap<String, Arc<FetchSlot>>>>);

type FetchSlot = tokio::sync::Mutex<Option<(Instant, Fetched)>>;

impl Coalescer {
    /// The result of `fetch`, or a result of another fetch with the same name if that is recent enough.
    pub(crate) async fn fetch(
        &self,
        name: String,
        wakeup: Wakeup,
        now: Time,
        fetch: impl Future<Output = Result<Fetched, ApiError>>,
    ) -> Result<Fetched, ApiError> {
        let guard = FetchSlotGuard::new(self, name);
        let mut result = guard.slot.lock().await;
        let is_fresh = |(start, fetched): &&(Instant, Fetched)| {
            let is_later = *start >= wakeup.at || wakeup.revision.is_some_and(|revision| fetched.revision >= revision);
            is_later && fetched.expires.is_none_or(|expires| expires > now)
        };
        if let Some((_, fetched)) = result.as_ref().filter(is_fresh) {
            return Ok(fetched.clone());
        }
        let start = Instant::now();
        let fetched = fetch.await?;
        *result = Some((start, fetched.clone()));
        Ok(fetched)
    }
}

/// A user of a slot. The last one to drop it removes the slot.
struct FetchSlotGuard<'a> {
    coalescer: &'a Coalescer,
    name: String,
    slot: Arc<FetchSlot>,
}

impl<'a> FetchSlotGuard<'a> {
    fn new(coalescer: &'a Coalescer, name: String) -> Self {
        let slot = Arc::clone(coalescer.0.lock().entry(name.clone()).or_default());
        Self { coalescer, name, slot }
    }
}

impl Drop for FetchSlotGuard<'_> {
    fn drop(&mut self) {
        let mut all = self.coalescer.0.lock();
        // One reference is in the map, one is ours.
        if Arc::strong_count(&self.slot) == 2 {
            all.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revision;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn concurrent_fetches_are_shared_and_nothing_is_kept() {
        let (coalescer, fetches) = (Coalescer::default(), AtomicUsize::new(0));
        let fetch = async || {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(Fetched { revision: Revision::new(7), expires: None, representation: None })
        };
        let wake = |revision| Wakeup { at: Instant::now(), revision };
        let now = Time::from_secs(1);
        let by_write = (0..50).map(|_| coalescer.fetch("a".into(), wake(Some(Revision::new(7))), now, fetch()));
        let found = futures_util::future::join_all(by_write).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(fetches.swap(0, Ordering::SeqCst), 1);
        // The first fetch is too old for a poll that a later write woke.
        let later = async {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            coalescer.fetch("a".into(), wake(Some(Revision::new(8))), now, fetch()).await
        };
        let first = coalescer.fetch("a".into(), wake(Some(Revision::new(7))), now, fetch());
        let (first, later) = tokio::join!(first, later);
        assert!(first.is_ok() && later.is_ok());
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
        assert!(coalescer.0.lock().is_empty());
    }
}
