//! `GET /log/{bucket}/{key}` with `Accept: text/event-stream`: entries of a log as they are appended.
//!
//! The event `put` is an entry, as in NDJSON. `reset` means that entries may have been missed: the log was removed, or
//! it no longer keeps them. The stream goes on with the oldest entry.

use serde::Serialize;
use tokio::time::Instant;

use super::cursor;
use super::cursor::LogPosition;
use super::entry_format;
use super::store_logs::logs;
use crate::model::{Bucket, Error, Key, LogPage, LogQuery, LogStart};
use crate::web::auth::authorize;
use crate::web::body::Response;
use crate::web::budget::Budget;
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::handlers::events as event_streams;
use crate::web::metrics::counted::Counted;
use crate::web::read::fetch::Wakeup;
use crate::web::response::api_error::ApiError;
use crate::web::response::event_stream::EventSource;
use crate::web::response::streamed::{Composer, Content};

/// How many entries are read at a time.
const PAGE_ENTRIES: usize = 1_000;

/// The data of the event `reset`.
#[derive(Serialize)]
struct Reset {
    event: &'static str,
    first: u64,
    end: u64,
}

/// The entries of a log.
struct LogEvents {
    store: Counted,
    responses: Budget,
    bucket: Bucket,
    key: Key,
    /// Where a client begins that connects for the first time.
    begin: LogQuery,
}

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<Response, ApiError> {
    authorize::require_read(ctx, name.bucket).await?;
    logs(&ctx.state.store)?;
    let query = cursor::query(ctx.query, ctx.now())?;
    let has_begin = ["from", "since"].iter().any(|name| ctx.query.all(name).next().is_some());
    // By default: only new entries.
    let start = if has_begin { query.start } else { LogStart::FromEnd(0) };
    let source = LogEvents {
        store: ctx.state.store.clone(),
        responses: ctx.responses(),
        bucket: name.bucket.clone(),
        key: name.key.clone(),
        begin: LogQuery { start, limit: PAGE_ENTRIES, ..query },
    };
    let since = event_streams::last_event_id(&ctx.parts.headers);
    event_streams::open(ctx, name.bucket, source, since).await
}

impl LogEvents {
    fn name(&self) -> EntryName<'_> {
        EntryName { bucket: &self.bucket, key: &self.key }
    }

    async fn page(&self, query: LogQuery) -> Result<LogPage, ApiError> {
        let page = logs(&self.store)?.read(self.name(), query).await.map_err(ApiError::from_read)?;
        Ok(page.unwrap_or_default())
    }

    /// The first events of a client that connects for the first time.
    async fn begin(&self) -> Result<(LogPosition, Option<Content>), ApiError> {
        let page = self.page(self.begin).await?;
        if !page.entries.is_empty() {
            return Ok((LogPosition::default().after_page(&page), Some(self.format(&page, None)?)));
        }
        // The position is after the last entry, which the client does not want.
        let last = self.page(LogQuery::last(1)).await?;
        Ok((LogPosition::before(last.next).after_page(&last), None))
    }

    /// The entries of a page as events, after a `reset` to a position if there is one.
    fn format(&self, page: &LogPage, reset: Option<LogPosition>) -> Result<Content, ApiError> {
        let mut out = Composer::default();
        if let Some(position) = reset {
            out.text(&format!("event: reset\nid: {position}\ndata: "));
            out.json(&Reset { event: "reset", first: page.first, end: page.next })?;
            out.text("\n\n");
        }
        for entry in &page.entries {
            out.text(&format!("event: put\nid: {}\ndata: ", LogPosition::after(entry)));
            entry_format::entry(&mut out, entry)?;
            out.text("\n\n");
        }
        out.finish(&self.responses)
    }
}

impl EventSource for LogEvents {
    type Position = LogPosition;

    async fn events(
        &self,
        since: Option<&LogPosition>,
        _: Option<Wakeup>,
    ) -> Result<(LogPosition, Option<Content>), ApiError> {
        let Some(since) = since else { return self.begin().await };
        let mut page = self.page(since.query(PAGE_ENTRIES)).await?;
        if since.skip_last(&mut page) {
            let page = self.page(LogQuery { limit: PAGE_ENTRIES, ..LogQuery::from_index(page.first) }).await?;
            let start = LogPosition::before(page.first);
            return Ok((start.after_page(&page), Some(self.format(&page, Some(start))?)));
        }
        let events = if page.entries.is_empty() { None } else { Some(self.format(&page, None)?) };
        Ok((since.after_page(&page), events))
    }

    async fn changed(&self, since: &LogPosition) -> Result<Wakeup, Error> {
        match self.store.logs() {
            Some(logs) => logs.changed(self.name(), since.next).await?,
            None => std::future::pending().await,
        };
        Ok(Wakeup { at: Instant::now(), revision: None })
    }
}
