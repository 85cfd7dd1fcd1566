//! The changes of a bucket, or of a part of it, as long polls and event streams fetch them.
//!
//! Readers at the same position share one fetch, so a change costs the store one read, not one for each reader.

use std::sync::Arc;

use super::coalesce::Coalescer;
use super::fetch::{Fetched, Representation, Wakeup};
use super::page_limits::MAX_PAGE_BYTES;
use crate::model::{Bucket, ChangesPage, ChangesQuery, Clock, Key, KeyChange, Revision, Snapshot};
use crate::web::budget::Budget;
use crate::web::context::RequestContext;
use crate::web::metrics::counted::Counted;
use crate::web::response::api_error::ApiError;
use crate::web::response::streamed;
use crate::web::response::streamed::Content;

/// The keys that are followed.
#[derive(Clone, Debug)]
pub(crate) enum Followed {
    /// One key.
    Key(Key),
    /// The keys that begin with this.
    Prefix(String),
}

/// How changes are formatted.
#[derive(Clone, Copy)]
pub(crate) struct FeedFormat {
    /// Different formats have different names.
    pub(crate) name: &'static str,
    /// Formats changes, in their order. The revision is the next `since`.
    pub(crate) changes: fn(&Feed, &[KeyChange], Revision) -> Result<Content, ApiError>,
}

/// The changes of some keys of a bucket.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) store: Counted,
    coalescer: Coalescer,
    clock: Arc<dyn Clock>,
    pub(crate) responses: Budget,
    pub(crate) bucket: Bucket,
    followed: Followed,
    limit: usize,
    format: FeedFormat,
}

impl Feed {
    /// # Errors
    /// If the store remembers no changes.
    pub(crate) fn new(
        ctx: RequestContext<'_>,
        bucket: &Bucket,
        followed: Followed,
        format: FeedFormat,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let state = ctx.state;
        if !state.store.has_changes() {
            return Err(ApiError::not_implemented(
                "the store of this server remembers no changes; poll the list instead",
            ));
        }
        Ok(Self {
            store: state.store.clone(),
            coalescer: state.coalescer.clone(),
            clock: Arc::clone(&state.settings.clock),
            responses: state.settings.responses.clone(),
            bucket: bucket.clone(),
            followed,
            limit,
            format,
        })
    }

    /// Whether one key is followed.
    pub(crate) fn is_of_one_key(&self) -> bool {
        matches!(self.followed, Followed::Key(_))
    }

    /// The changes since a revision, formatted; without a representation if there are none. The revision of the result
    /// is the next `since`. `None` if they are not all known.
    pub(crate) async fn fetch(&self, since: Revision, wakeup: Option<Wakeup>) -> Result<Option<Fetched>, ApiError> {
        let Some(wakeup) = wakeup else { return self.fetch_alone(since).await };
        let name = format!("changes {} {:?} {} {} {since}", self.bucket, self.followed, self.format.name, self.limit);
        let fetch = async || self.fetch_alone(since).await?.ok_or_else(unknown);
        match self.coalescer.fetch(name, wakeup, self.clock.now(), fetch()).await {
            Ok(fetched) => Ok(Some(fetched)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first event for a client without a known position: the state of the key, or else a `reset`.
    pub(crate) async fn begin_again(
        &self,
        reset: impl Fn(&Self, Revision) -> Result<Content, ApiError>,
    ) -> Result<Fetched, ApiError> {
        let keys = match &self.followed {
            Followed::Key(key) => std::slice::from_ref(key),
            Followed::Prefix(_) => &[],
        };
        let Snapshot { revision, entries } = self.store.get(&self.bucket, keys).await.map_err(ApiError::from_read)?;
        let body = match &self.followed {
            Followed::Prefix(_) => reset(self, revision)?,
            Followed::Key(key) => {
                let entry = entries.into_iter().next().flatten();
                (self.format.changes)(self, &[KeyChange { revision, key: key.clone(), entry }], revision)?
            }
        };
        Ok(fetched(revision, Some(body)))
    }

    async fn fetch_alone(&self, since: Revision) -> Result<Option<Fetched>, ApiError> {
        let mut since = since;
        loop {
            let Some(page) = self.page(since).await? else { return Ok(None) };
            if page.changes.is_empty() && page.has_more {
                since = page.next;
                continue;
            }
            let format = || (self.format.changes)(self, &page.changes, page.next);
            let body = if page.changes.is_empty() { None } else { Some(format()?) };
            return Ok(Some(fetched(page.next, body)));
        }
    }

    async fn page(&self, since: Revision) -> Result<Option<ChangesPage>, ApiError> {
        let prefix = match &self.followed {
            Followed::Key(key) => key.as_str().to_owned(),
            Followed::Prefix(prefix) => prefix.clone(),
        };
        let query = ChangesQuery { since, prefix, limit: self.limit };
        let page = self.store.changes_since(&self.bucket, query).await.map_err(ApiError::from_read)?;
        Ok(page.map(|mut page| {
            if let Followed::Key(only) = &self.followed {
                page.changes.retain(|KeyChange { key, .. }| key == only);
            }
            limit_size(page)
        }))
    }
}

/// What was fetched, up to this revision of the bucket.
fn fetched(revision: Revision, body: Option<Content>) -> Fetched {
    let representation = |body| Representation { tag: String::new(), modified: None, headers: vec![], body };
    Fetched { revision, expires: None, representation: body.map(representation) }
}

/// The error if the changes since a revision are not all known.
pub(crate) fn unknown() -> ApiError {
    ApiError::gone("since is too long ago, or it is of another store; read the list again, and follow it from there")
}

/// The page, cut off at the size limit. It keeps at least one change. Changes of one revision are not separated.
fn limit_size(mut page: ChangesPage) -> ChangesPage {
    let (mut bytes, mut last) = (0_u64, None);
    let fits = page.changes.iter().take_while(|change| {
        bytes = bytes.saturating_add(change.entry.as_ref().map_or(0, |e| streamed::length_in_json(&e.value)));
        let is_first_or_same = last.is_none_or(|last| last == change.revision);
        last = Some(change.revision);
        is_first_or_same || bytes <= MAX_PAGE_BYTES
    });
    let fits = fits.count();
    if fits < page.changes.len() {
        page.changes.truncate(fits);
        page.next = page.changes.last().map_or(page.next, |change| change.revision);
        page.has_more = true;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Entry, Time};

    #[test]
    fn page_of_large_values_ends_early() {
        let change = |revision| {
            let entry = Entry {
                value: vec![b'x'; 9 << 20].into(),
                content_type: ContentType::default(),
                revision: Revision::new(revision),
                created: Time::from_secs(1),
                modified: None,
                expires: None,
            };
            KeyChange { revision: entry.revision, key: Key::new("k").unwrap(), entry: Some(entry) }
        };
        let page = |changes: Vec<KeyChange>| ChangesPage { changes, next: Revision::new(9), has_more: false };
        let cut = limit_size(page(vec![change(1), change(2), change(3)]));
        assert_eq!((cut.changes.len(), cut.next.number(), cut.has_more), (1, 1, true));
        let whole = limit_size(page(vec![change(1)]));
        assert_eq!((whole.changes.len(), whole.next.number(), whole.has_more), (1, 9, false));
        let together = limit_size(page(vec![change(1), change(1), change(1), change(2)]));
        assert_eq!((together.changes.len(), together.next.number()), (3, 1));
    }
}
