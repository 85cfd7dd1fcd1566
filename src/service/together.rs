//! What many clients wait for is made once: those who look for the same at the same time get one result.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::reply::Refusal;
use super::view::{News, View};
use crate::model::Time;

/// Looks that are being made, or were made for somebody who has not got them yet, by what is looked for.
#[derive(Default)]
pub(crate) struct Together(Mutex<HashMap<String, Arc<Slot>>>);

type Slot = tokio::sync::Mutex<Option<(Instant, View)>>;

impl Together {
    /// What `look` finds, or what somebody found for the same name if that is as new.
    pub(crate) async fn look(
        &self,
        name: String,
        (news, now): (News, Time),
        look: impl Future<Output = Result<View, Refusal>>,
    ) -> Result<View, Refusal> {
        let turn = Turn::new(self, name);
        let mut made = turn.slot.lock().await;
        let is_fresh = |(begun, view): &&(Instant, View)| {
            let is_later = *begun >= news.woken || news.revision.is_some_and(|revision| view.moved >= revision);
            is_later && view.ends.is_none_or(|end| end > now)
        };
        if let Some((_, view)) = made.as_ref().filter(is_fresh) {
            return Ok(view.clone());
        }
        let begun = Instant::now();
        let view = look.await?;
        *made = Some((begun, view.clone()));
        Ok(view)
    }
}

/// One of those who look for the same. The last takes the result away.
struct Turn<'a> {
    together: &'a Together,
    name: String,
    slot: Arc<Slot>,
}

impl<'a> Turn<'a> {
    fn new(together: &'a Together, name: String) -> Self {
        let slot = Arc::clone(together.0.lock().entry(name.clone()).or_default());
        Self { together, name, slot }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.together.0.lock();
        // The map's and ours.
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
    async fn those_who_look_at_once_look_once_and_nothing_is_kept() {
        let (together, looks) = (Together::default(), AtomicUsize::new(0));
        let look = async || {
            looks.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            Ok(View { moved: Revision::new(7), ends: None, shown: None })
        };
        let wake = |revision| News { woken: Instant::now(), revision };
        let now = Time::from_secs(1);
        let by_write = (0..50).map(|_| together.look("a".into(), (wake(Some(Revision::new(7))), now), look()));
        let found = futures_util::future::join_all(by_write).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(looks.swap(0, Ordering::SeqCst), 1);
        // For who waits for a later one the first look is too old.
        let later = async {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            together.look("a".into(), (wake(Some(Revision::new(8))), now), look()).await
        };
        let first = together.look("a".into(), (wake(Some(Revision::new(7))), now), look());
        let (first, later) = tokio::join!(first, later);
        assert!(first.is_ok() && later.is_ok());
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        assert!(together.0.lock().is_empty());
    }
}
