//! The logs of a bucket.

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::bucket_changes::pause;
use super::exchange::RemoteRequest;
use super::failure::problem;
use super::json::json_log::{JsonPage, lines};
use super::remote_store::{MAX_WAIT, POLL_PAUSE, RemoteStore};
use crate::model::{
    AppendOutcome, Bucket, Key, LogAppend, LogKeysQuery, LogPage, LogQuery, LogStart, Result, Retention,
};
use crate::store::{Logs, check_retention};

/// The most entries of a page of the server.
const MAX_PAGE: usize = 100_000;
/// The most keys of a page of the server.
const MAX_KEYS: usize = 1000;

fn key_of(key: &Key) -> (&'static str, String) {
    ("key", key.to_string())
}

/// `keep` and `keep_for`.
fn retention(retention: Retention) -> [(&'static str, String); 2] {
    let all = || "all".to_owned();
    let keep = retention.max_entries.map_or_else(all, |number| number.to_string());
    let keep_for = retention.max_age.map_or_else(all, |age| format!("{}ms", age.as_millis()));
    [("keep", keep), ("keep_for", keep_for)]
}

#[async_trait]
impl Logs for RemoteStore {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        #[derive(Deserialize)]
        struct Appended {
            index: u64,
        }
        #[derive(Deserialize)]
        struct Taken {
            next: u64,
        }
        check_retention(key, append.retention)?;
        let mut query = vec![key_of(key), ("entries", "1".to_owned())];
        query.extend(append.index.map(|index| ("index", index.to_string())));
        query.extend(append.retention.into_iter().flat_map(retention));
        let request = RemoteRequest::write(Method::POST, format!("log/{bucket}"), query);
        let reply = self.connection.send(&request.with_body("application/x-ndjson", lines(&append.entries))).await?;
        match reply.status {
            StatusCode::CONFLICT => {
                let Taken { next } = self.json(&reply)?;
                Ok(AppendOutcome::IndexTaken { next })
            }
            status if status.is_success() => {
                let Appended { index } = self.json(&reply)?;
                Ok(AppendOutcome::Appended { index })
            }
            _ => Err(problem(&self.connection.address, &reply)),
        }
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        let from = match query.start {
            LogStart::Index(index) => index.min(i64::MAX.unsigned_abs()).to_string(),
            LogStart::FromEnd(0) => i64::MAX.to_string(),
            LogStart::FromEnd(number) => format!("-{}", number.min(i64::MAX.unsigned_abs())),
        };
        let limit = query.limit.clamp(1, MAX_PAGE).to_string();
        let mut parameters = vec![
            key_of(key),
            ("from", from),
            ("limit", limit),
            ("format", "json".to_owned()),
            ("exact", "1".to_owned()),
        ];
        parameters.extend(query.since.map(|since| ("since", since.to_string())));
        let request = RemoteRequest::get(format!("log/{bucket}"), parameters);
        let Some(reply) = self.send_if_found(&request).await? else { return Ok(None) };
        let page: JsonPage = self.json(&reply)?;
        let mut page = page.into_page().map_err(|why| self.unreadable(why))?;
        if query.limit == 0 {
            page.entries.clear();
        }
        Ok(Some(page))
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Removed {
            removed: u64,
        }
        let mut query = vec![key_of(key)];
        query.extend(before.map(|before| ("before", before.min(i64::MAX.unsigned_abs()).to_string())));
        let request = RemoteRequest::write(Method::DELETE, format!("log/{bucket}"), query);
        let Some(reply) = self.send_if_found(&request).await? else { return Ok(None) };
        let Removed { removed } = self.json(&reply)?;
        Ok(Some(removed))
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        loop {
            let from = next.min(i64::MAX.unsigned_abs()).to_string();
            let parameters =
                vec![key_of(key), ("from", from), ("limit", "1".to_owned()), ("wait", MAX_WAIT.as_secs().to_string())];
            let request = RemoteRequest::get(format!("log/{bucket}"), parameters);
            let pause = match self.send_if_found(&RemoteRequest { wait: MAX_WAIT, ..request }).await? {
                None if next != 0 => return Ok(0),
                // A server that cannot hold the wait does not say so.
                None => Some(POLL_PAUSE),
                Some(reply) => {
                    let end = reply.headers.get("kvs-end").and_then(|value| value.to_str().ok()?.parse().ok());
                    let end: u64 = end.ok_or_else(|| self.unreadable("it has no KVS-End"))?;
                    if end != next {
                        return Ok(end);
                    }
                    pause(&reply)
                }
            };
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        #[derive(Deserialize)]
        struct Listed {
            keys: Vec<String>,
            cursor: Option<String>,
        }
        let mut keys: Vec<Key> = vec![];
        let mut after = query.after.as_ref().map(ToString::to_string);
        while keys.len() < query.limit {
            let limit = (query.limit - keys.len()).min(MAX_KEYS).to_string();
            let mut parameters = vec![("limit", limit)];
            if !query.prefix.is_empty() {
                parameters.push(("prefix", query.prefix.clone()));
            }
            parameters.extend(after.take().map(|after| ("after", after)));
            let reply = self.send(&RemoteRequest::get(format!("log/{bucket}"), parameters)).await?;
            let listed: Listed = self.json(&reply)?;
            for name in &listed.keys {
                keys.push(Key::new(name).map_err(|why| self.unreadable(why))?);
            }
            after = listed.cursor;
            if after.is_none() {
                break;
            }
        }
        Ok(keys)
    }

    async fn log_buckets(&self) -> Result<Vec<Bucket>> {
        self.bucket_names("log").await
    }
}
