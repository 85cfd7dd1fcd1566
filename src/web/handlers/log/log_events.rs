//! `GET /log/{bucket}/{key}` with `Accept: text/event-stream`: entries of a log as they are appended.
//!
//! The event `put` is an entry, as in NDJSON. `reset` means that entries may have been missed: the log was removed, or
//! it no longer keeps them. The stream goes on with the oldest entry.

use serde::Serialize;
use tokio::time::Instant;

use super::entry_format;
use super::entry_format::Spelling;
use super::log_query;
use super::store_logs::logs;
use crate::model::{Bucket, Error, Key, LogPage, LogQuery, LogStart, Time};
use crate::store::{LogPosition, LogStep};
use crate::web::auth::authorize;
use crate::web::auth::place::Place;
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
    start: LogStart,
    /// Only entries of this time or later.
    since: Option<Time>,
}

pub(super) async fn answer(ctx: RequestContext<'_>, name: EntryName<'_>) -> Result<Response, ApiError> {
    authorize::require_read(ctx, Place::Key(name)).await?;
    logs(&ctx.state.store)?;
    let query = log_query::parse(ctx.query, ctx.now())?;
    let has_begin = ["from", "since"].iter().any(|name| ctx.query.all(name).next().is_some());
    let source = LogEvents {
        store: ctx.state.store.clone(),
        responses: ctx.responses(),
        bucket: name.bucket.clone(),
        key: name.key.clone(),
        // By default: only new entries.
        start: if has_begin { query.start } else { LogStart::FromEnd(0) },
        since: query.since,
    };
    let since = event_streams::last_event_id(&ctx.parts.headers);
    event_streams::open(ctx, name.bucket, source, since).await
}

impl LogEvents {
    fn name(&self) -> EntryName<'_> {
        EntryName { bucket: &self.bucket, key: &self.key }
    }

    async fn page(&self, query: LogQuery) -> Result<LogPage, ApiError> {
        let query = LogQuery { since: self.since, ..query };
        let page = logs(&self.store)?.read(self.name(), query).await.map_err(ApiError::from_read)?;
        Ok(page.unwrap_or_default())
    }

    /// The position of a client that connects for the first time.
    async fn begin(&self) -> Result<LogPosition, ApiError> {
        let number = match self.start {
            LogStart::Index(index) => return Ok(LogPosition::before(index)),
            LogStart::FromEnd(number) => number,
        };
        // With the entry before, it is noticed if the log begins again.
        let last = LogQuery { start: LogStart::FromEnd(number.saturating_add(1)), limit: 1, since: None };
        let page = self.page(last).await?;
        let wanted = page.next.saturating_sub(number);
        Ok(match page.entries.first() {
            Some(entry) if entry.index < wanted && self.since.is_none() => LogPosition::after(entry),
            _ => LogPosition::before(wanted.max(page.first)),
        })
    }
}

fn add_reset(out: &mut Composer, step: &LogStep, first: u64) -> Result<(), ApiError> {
    out.text(&format!("event: reset\nid: {}\ndata: ", step.position));
    out.json(&Reset { event: "reset", first, end: step.position.end() })?;
    out.text("\n\n");
    Ok(())
}

impl EventSource for LogEvents {
    type Position = LogPosition;

    async fn events(
        &self,
        since: Option<&LogPosition>,
        _: Option<Wakeup>,
    ) -> Result<(LogPosition, Option<Content>), ApiError> {
        let mut position = match since {
            Some(since) => *since,
            None => self.begin().await?,
        };
        let (mut out, mut has_events) = (Composer::default(), false);
        loop {
            let page = self.page(position.query(PAGE_ENTRIES)).await?;
            let first = page.first;
            let step = position.advance(page);
            position = step.position;
            if step.has_missed {
                has_events = true;
                add_reset(&mut out, &step, first)?;
            }
            for entry in &step.entries {
                out.text(&format!("event: put\nid: {}\ndata: ", LogPosition::after(entry)));
                entry_format::entry(&mut out, entry, Spelling::Readable)?;
                out.text("\n\n");
            }
            has_events |= !step.entries.is_empty();
            // A page is sent before the next one is read.
            if step.is_at_end || !step.entries.is_empty() {
                break;
            }
        }
        let events = if has_events { Some(out.finish(&self.responses)?) } else { None };
        Ok((position, events))
    }

    async fn changed(&self, since: &LogPosition) -> Result<Wakeup, Error> {
        match self.store.logs() {
            Some(logs) => logs.changed(self.name(), since.end()).await?,
            None => std::future::pending().await,
        };
        Ok(Wakeup { at: Instant::now(), revision: None })
    }
}
