//! The store: reads, batches, scans and waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::address::RemoteAddress;
use super::connection::Connection;
use super::exchange::{RemoteRequest, Reply};
use super::failure::{problem, unreadable};
use super::json::json_batch;
use super::json::json_batch::parse;
use super::json::json_entry::JsonEntry;
use super::large_value;
use super::read_requests::{list, parts};
use super::remote_options::RemoteOptions;
use crate::model::{
    Batch, Bucket, ChangesQuery, Error, ErrorKind, Key, Outcome, Page, Projection, Result, Returning, Revision, Scan,
    Snapshot,
};
use crate::store::{Blobs, Changes, Logs, Report, Store, Task};

/// How often a read of several parts is repeated because the bucket has changed meanwhile.
const MAX_ATTEMPTS: usize = 20;
/// How long the server may hold a wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(25);
/// The pause before the next wait if the server cannot hold one and does not say how long to pause.
pub(super) const POLL_PAUSE: Duration = Duration::from_secs(1);

/// A store that another kvs server keeps.
///
/// The server enforces its own limits. A page with more than 1,000 entries is read in several requests; if the bucket
/// changes meanwhile, the page ends early. A `get` of more than 1,000 keys begins again then.
///
/// It has no blobs: values are whole in memory, and may have 100 MiB. In the outcome of a batch, a value of more than
/// 16 MiB is its [reference](crate::model::BlobRef).
pub struct RemoteStore {
    pub(super) connection: Connection,
    /// Keeps the reserved buckets, which the server does not show.
    records: Option<Arc<dyn Store>>,
}

impl RemoteStore {
    /// The store at an address. The first request connects.
    ///
    /// # Errors
    /// `Invalid` if the secret cannot be sent in a header.
    pub fn new(address: RemoteAddress, options: &RemoteOptions) -> Result<Self> {
        Ok(Self { connection: Connection::new(address, options)?, records: None })
    }

    /// The same with another store for the records of kvs itself, such as the counts of wrong secrets. The HTTP API over
    /// this store needs one.
    #[must_use]
    pub fn with_records_in(self, records: Arc<dyn Store>) -> Self {
        Self { records: Some(records), ..self }
    }

    /// The store of a reserved bucket, if it is not on the server.
    pub(super) fn records_of(&self, bucket: &Bucket) -> Option<&Arc<dyn Store>> {
        self.records.as_ref().filter(|_| bucket.is_reserved() && bucket.as_str() != Bucket::COPY_RECORDS)
    }

    /// Sends a request whose only good response is a result.
    pub(super) async fn send(&self, request: &RemoteRequest<'_>) -> Result<Reply> {
        let reply = self.connection.send(request).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(problem(&self.connection.address, &reply)) }
    }

    /// Sends a request about something that may not exist.
    pub(super) async fn send_if_found(&self, request: &RemoteRequest<'_>) -> Result<Option<Reply>> {
        let reply = self.connection.send(request).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(reply)),
            _ => Err(problem(&self.connection.address, &reply)),
        }
    }

    /// The JSON of a response.
    pub(super) fn json<'a, T: Deserialize<'a>>(&self, reply: &'a Reply) -> Result<T> {
        parse(&reply.body).map_err(|why| self.unreadable(why))
    }

    pub(super) fn unreadable(&self, why: impl fmt::Display) -> Error {
        unreadable(&self.connection.address, why)
    }

    /// The names in a response to `GET /kv` or `GET /log`.
    pub(super) async fn bucket_names(&self, path: &str) -> Result<Vec<Bucket>> {
        #[derive(Deserialize)]
        struct Names {
            buckets: Vec<String>,
        }
        let reply = self.send(&RemoteRequest::get(path.to_owned(), vec![])).await?;
        let Names { buckets } = self.json(&reply)?;
        buckets.iter().map(|name| Bucket::new(name)).collect::<Result<_>>().map_err(|why| self.unreadable(why))
    }

    /// The entries under some keys. `None` if they changed while a large value was read.
    async fn get_part(&self, bucket: &Bucket, keys: &[Key]) -> Result<Option<Snapshot>> {
        #[derive(Deserialize)]
        struct Found {
            revision: String,
            entries: Vec<Option<JsonEntry>>,
        }
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let body = serde_json::to_vec(&names).map_err(|why| self.unreadable(why))?;
        let query = vec![("meta", "1".to_owned())];
        let request = RemoteRequest::read(Method::POST, format!("multi/{bucket}"), query);
        let reply = self.send(&request.with_body("application/json", body)).await?;
        let Found { revision, entries } = self.json(&reply)?;
        if entries.len() != keys.len() {
            return Err(self.unreadable("it has another number of entries"));
        }
        let mut snapshot =
            Snapshot { revision: revision.parse().map_err(|why| self.unreadable(why))?, entries: vec![] };
        for (key, json) in keys.iter().zip(entries) {
            let entry = json.map(JsonEntry::into_entry).transpose().map_err(|why| self.unreadable(why))?;
            let mut entry = entry.map(|(_, entry)| entry);
            if let Some(entry) = &mut entry
                && !large_value::resolve(&self.connection, bucket, key, entry).await?
            {
                return Ok(None);
            }
            snapshot.entries.push(entry);
        }
        Ok(Some(snapshot))
    }

    /// The entries under any number of keys, at one moment. `None` if the bucket changed between two parts.
    async fn get_parts(&self, bucket: &Bucket, keys: &[Key]) -> Result<Option<Snapshot>> {
        let mut all: Option<Snapshot> = None;
        let mut waiting: Vec<&[Key]> = parts(keys).collect();
        waiting.reverse();
        while let Some(part) = waiting.pop() {
            let next = match self.get_part(bucket, part).await {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(None),
                // The server does not return so much at once.
                Err(error) if error.kind() == ErrorKind::TooLarge && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.extend([second, first]);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match &mut all {
                None => all = Some(next),
                Some(all) if all.revision == next.revision => all.entries.extend(next.entries),
                Some(_) => return Ok(None),
            }
        }
        Ok(all)
    }

    async fn page(&self, bucket: &Bucket, query: &Scan) -> Result<Page> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(page) = self.try_page(bucket, query).await? {
                return Ok(page);
            }
        }
        Err(self.changes_too_often(bucket))
    }

    fn changes_too_often(&self, bucket: &Bucket) -> Error {
        let address = &self.connection.address;
        Error::new(ErrorKind::Busy, format!("{address}: bucket {bucket} changes too often to be read at one moment"))
    }

    /// A page of the server. `None` if its first value is large and changed while it was read.
    async fn try_page(&self, bucket: &Bucket, query: &Scan) -> Result<Option<Page>> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            entries: Vec<JsonEntry>,
            #[serde(default)]
            keys: Vec<String>,
            count: Option<u64>,
            cursor: Option<String>,
        }
        let reply = self.send(&list(bucket, query)).await?;
        let revision = reply.headers.get("kvs-revision").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let listed: Listed = self.json(&reply)?;
        let read = || -> Result<Page> {
            let mut page = Page { revision: revision.parse()?, count: listed.count, ..Page::default() };
            page.cursor = listed.cursor.as_deref().map(Key::new).transpose()?;
            for name in &listed.keys {
                page.entries.push((Key::new(name)?, None));
            }
            for json in listed.entries {
                let (key, entry) = json.into_entry()?;
                page.entries.push((key, Some(entry)));
            }
            Ok(page)
        };
        let mut page = read().map_err(|why| self.unreadable(why))?;
        let mut end = page.entries.len();
        for (number, (key, entry)) in page.entries.iter_mut().enumerate() {
            if let Some(entry) = entry
                && !large_value::resolve(&self.connection, bucket, key, entry).await?
            {
                end = number;
                break;
            }
        }
        if end < page.entries.len() {
            page.entries.truncate(end);
            let Some((last, _)) = page.entries.last() else { return Ok(None) };
            page.cursor = Some(last.clone());
        }
        Ok(Some(page))
    }
}

#[async_trait]
impl Store for RemoteStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        if let Some(records) = self.records_of(bucket) {
            return records.get(bucket, keys).await;
        }
        for _ in 0..MAX_ATTEMPTS {
            if let Some(snapshot) = self.get_parts(bucket, keys).await? {
                return Ok(snapshot);
            }
        }
        Err(self.changes_too_often(bucket))
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        if let Some(records) = self.records_of(bucket) {
            return records.apply(bucket, batch).await;
        }
        let returned = if batch.returning == Returning::Nothing { "none" } else { "changes" };
        let query = vec![("return", returned.to_owned())];
        let request = RemoteRequest::write(Method::POST, format!("txn/{bucket}"), query);
        let request = request.with_body("application/json", json_batch::body(&batch)?);
        let reply = self.connection.send(&request).await?;
        let outcome = match reply.status {
            status if status.is_success() => json_batch::committed(&reply.body),
            StatusCode::CONFLICT => json_batch::failed(&reply.body),
            _ => return Err(problem(&self.connection.address, &reply)),
        };
        outcome.map_err(|why| self.unreadable(why))
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        if let Some(records) = self.records_of(bucket) {
            return records.scan(bucket, query).await;
        }
        if query.projection == Projection::Count {
            return self.page(bucket, &query).await;
        }
        let mut all: Option<Page> = None;
        loop {
            let read = all.as_ref().map_or(0, |page| page.entries.len());
            let after = all.as_ref().and_then(|page| page.cursor.as_ref()).map(ToString::to_string);
            let limit = query.limit.saturating_sub(read);
            let page =
                self.page(bucket, &Scan { limit, after: after.or(query.after.clone()), ..query.clone() }).await?;
            all = Some(match all.take() {
                None => page,
                // What was read before is one moment, and its cursor is where it ends.
                Some(before) if before.revision != page.revision => return Ok(before),
                Some(mut before) => {
                    before.entries.extend(page.entries);
                    before.cursor = page.cursor;
                    before
                }
            });
            let Some(page) = all.as_mut() else { continue };
            if page.cursor.is_none() || page.entries.len() >= query.limit {
                if query.limit == 0 {
                    (page.entries, page.cursor) = (vec![], None);
                }
                return Ok(std::mem::take(page));
            }
        }
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        if let Some(records) = self.records_of(bucket) {
            return records.changed(bucket, since).await;
        }
        loop {
            let query = ChangesQuery { since, limit: 1, prefix: String::new() };
            let (page, retry_after) = self.changes_after(bucket, &query, MAX_WAIT).await?;
            let is_at_end = page.as_ref().is_some_and(|page| page.next <= since);
            if !is_at_end {
                let revision = self.get(bucket, &[]).await?.revision;
                if revision > since {
                    return Ok(revision);
                }
            }
            // A wait that the server held is over, and the next one begins at once.
            match retry_after {
                Some(pause) => tokio::time::sleep(pause).await,
                None if is_at_end => {}
                None => tokio::time::sleep(POLL_PAUSE).await,
            }
        }
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.bucket_names("kv").await
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        if let Some(records) = self.records_of(bucket) {
            return records.maintain(bucket, task).await;
        }
        self.run_task(bucket, task).await
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        None
    }
}
