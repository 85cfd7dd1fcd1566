//! The changes of a bucket.

use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::exchange::{RemoteRequest, Reply};
use super::failure::problem;
use super::json::json_batch::parse;
use super::json::json_entry::JsonEntry;
use super::large_value;
use super::remote_store::RemoteStore;
use crate::model::{Bucket, ChangesPage, ChangesQuery, Key, KeyChange, Result};
use crate::store::Changes;

/// The most changes of a page of the server.
const MAX_PAGE: usize = 1000;
/// A page whose values have this many bytes may have ended early.
const FULL_PAGE_BYTES: usize = 4 << 20;
/// How often changes are read again because a large value was replaced meanwhile.
const MAX_ATTEMPTS: usize = 20;

#[derive(Deserialize)]
struct Followed<'a> {
    /// A change is an event, and an entry if the event is `put`.
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    since: String,
}

#[derive(Deserialize)]
struct JsonEvent {
    event: String,
    id: String,
    key: String,
}

impl RemoteStore {
    /// The changes after a revision; if there are none, waits for them so long. `None` if they are not all known. If
    /// the server could not hold the wait, also the pause that it asks for.
    pub(super) async fn changes_after(
        &self,
        bucket: &Bucket,
        query: &ChangesQuery,
        wait: Duration,
    ) -> Result<(Option<ChangesPage>, Option<Duration>)> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let mut parameters = vec![("since", query.since.to_string()), ("limit", limit.to_string())];
        if !query.prefix.is_empty() {
            parameters.push(("prefix", query.prefix.clone()));
        }
        if !wait.is_zero() {
            parameters.push(("wait", wait.as_secs().to_string()));
        }
        let mut request = RemoteRequest::get(format!("kv/{bucket}"), parameters);
        request.wait = wait;
        for _ in 0..MAX_ATTEMPTS {
            let reply = self.connection.send(&request).await?;
            let pause = pause(&reply);
            match reply.status {
                StatusCode::GONE => return Ok((None, pause)),
                status if !status.is_success() => return Err(problem(&self.connection.address, &reply)),
                _ => {}
            }
            if let Some(page) = self.read_changes(bucket, &reply, limit).await? {
                return Ok((Some(page), pause));
            }
        }
        Ok((None, None))
    }

    /// The changes of a response; `None` if a large value has changed since.
    async fn read_changes(&self, bucket: &Bucket, reply: &Reply, limit: usize) -> Result<Option<ChangesPage>> {
        let Followed { changes, since } = self.json(reply)?;
        let next = since.parse().map_err(|why| self.unreadable(why))?;
        let mut page = ChangesPage { changes: vec![], next, has_more: changes.len() >= limit };
        let mut bytes = 0;
        for json in changes {
            let mut change = change(json).map_err(|why| self.unreadable(why))?;
            if let Some(entry) = &mut change.entry {
                bytes += entry.value.len();
                if !large_value::resolve(&self.connection, bucket, &change.key, entry).await? {
                    return Ok(None);
                }
            }
            page.changes.push(change);
        }
        page.has_more |= bytes >= FULL_PAGE_BYTES;
        Ok(Some(page))
    }
}

fn change(json: &RawValue) -> Result<KeyChange> {
    let json = json.get().as_bytes();
    let JsonEvent { event, id, key } = parse(json)?;
    let entry = if event == "put" { Some(parse::<JsonEntry>(json)?.into_entry()?.1) } else { None };
    Ok(KeyChange { revision: id.parse()?, key: Key::new(&key)?, entry })
}

/// How long to pause before the next wait.
pub(super) fn pause(reply: &Reply) -> Option<Duration> {
    let seconds = reply.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[async_trait]
impl Changes for RemoteStore {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        if let Some(records) = self.records_of(bucket) {
            let Some(changes) = records.changes() else { return Ok(None) };
            return changes.changes_since(bucket, query).await;
        }
        Ok(self.changes_after(bucket, &query, Duration::ZERO).await?.0)
    }
}
