//! The changes of a bucket since a revision: from memory, or else with those that the lock file remembers.

use std::sync::Arc;

use super::bucket_store::BucketStore;
use crate::model::{ChangesPage, ChangesQuery, Result, Revision};
use crate::store::RecentChanges;
use crate::yaml::blocking::blocking;
use crate::yaml::fs::LockMode;
use crate::yaml::state::BucketState;

impl BucketStore {
    /// A page of changes; `None` if they are not all known.
    pub(crate) async fn changes_since(self: &Arc<Self>, query: &ChangesQuery) -> Result<Option<ChangesPage>> {
        {
            let state = self.current().await?;
            let is_in_memory = query.since == Revision::ZERO || query.since >= state.recent.start();
            if is_in_memory || query.since > state.revision {
                return Ok(self.page(&state, &state.recent, query));
            }
        }
        blocking(|| self.remembered_since(query))
    }

    fn page(&self, state: &BucketState, changes: &RecentChanges, query: &ChangesQuery) -> Option<ChangesPage> {
        changes.page_of(query, state.revision, &state.entries, self.options.clock.now())
    }

    /// A page of changes from before this process read the file.
    fn remembered_since(&self, query: &ChangesQuery) -> Result<Option<ChangesPage>> {
        let mut file = self.lock_files(LockMode::Shared)?;
        file.refresh(&self.state)?;
        self.watch.notify(self.state.read().revision);
        let state = self.readable_state()?;
        let is_complete = |from: Revision, to: Revision| from <= query.since && state.recent.start() <= to;
        let remembered =
            file.remembered_changes(file.known.epoch).filter(|remembered| is_complete(remembered.from, remembered.to));
        let Some(remembered) = remembered else { return Ok(None) };
        let mut all = RecentChanges::of_entries(query, &state.entries);
        for (revision, key) in remembered.changes {
            all.insert(revision, key);
        }
        for (revision, key) in state.recent.iter_after(query.since) {
            all.insert(revision, key.clone());
        }
        Ok(self.page(&state, &all, query))
    }
}
