//! Scans and other reads: one statement each, so that entries and revision are of one moment. Gets stand in `get`.

use std::ops::Bound;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::engine::Engine;
use super::fault::{Attempts, Fault};
use super::row::{column, entry, key, revision};
use crate::model::{Bucket, ContentType, Key, Page, Query, Result, Revision, Shape, Time};
use crate::store::bounds;

impl Engine {
    /// The rows of a statement, prepared, tried again if the connection is lost.
    pub(super) async fn query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut attempts = Attempts::default();
        loop {
            match self.try_query(statement, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(fault) => self.again(&mut attempts, fault).await?,
            }
        }
    }

    async fn try_query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        let client = self.client().await?;
        let prepared = client.prepare_cached(statement).await.map_err(Fault::before)?;
        client.query(&prepared, parameters).await.map_err(Fault::before)
    }

    /// Removes what was found to have expired, while the reader goes on.
    pub(super) fn remove_expired(self: &Arc<Self>, bucket: &Bucket, keys: Vec<Key>, now: Time) {
        let (engine, bucket) = (Arc::clone(self), bucket.clone());
        tokio::spawn(async move {
            let sql = format!(
                "DELETE FROM {} WHERE bucket = $1 AND key = ANY($2::text[]) AND expires_at <= $3",
                engine.place.url.names.table
            );
            let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
            if let Err(error) = engine.query(&sql, &[&bucket.as_str(), &names, &now.nanos()]).await {
                tracing::debug!("removing what has expired from {bucket}: {error}");
            }
        });
    }

    /// The revision of the bucket.
    pub(super) async fn revision(&self, bucket: &Bucket) -> Result<Revision> {
        let rows = self.query(&self.place.statements.revision, &[&bucket.as_str()]).await?;
        rows.first().map_or(Ok(Revision::ZERO), |row| column(row, 0).map(revision))
    }

    /// A page of the bucket.
    pub(super) async fn scan(&self, bucket: &Bucket, query: &Query) -> Result<Page> {
        let range = bounds(query).map(|(low, high)| (without_nul(low, true), without_nul(high, false)));
        let Some((low, high)) = range else {
            let count = (query.shape == Shape::Count).then_some(0);
            return Ok(Page { revision: self.revision(bucket).await?, count, ..Page::default() });
        };
        let now = self.place.options.clock.now().nanos();
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
        let sql = self.scan_text(query, &low, &high);
        let bucket = bucket.as_str();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&bucket, &now];
        if query.shape != Shape::Count {
            parameters.push(&limit);
        }
        for bound in [&low, &high] {
            if let Bound::Included(text) | Bound::Excluded(text) = bound {
                parameters.push(text);
            }
        }
        page(query, &self.query(&sql, &parameters).await?)
    }

    /// The statement of a scan: `$2` the time, `$3` the limit unless it counts, then the bounds that there are.
    fn scan_text(&self, query: &Query, low: &Bound<String>, high: &Bound<String>) -> String {
        let names = &self.place.url.names;
        let mut condition = "e.bucket = $1 AND (e.expires_at IS NULL OR e.expires_at > $2)".to_owned();
        let mut next = if query.shape == Shape::Count { 3 } else { 4 };
        for (bound, included, excluded) in [(low, ">=", ">"), (high, "<=", "<")] {
            let relation = match bound {
                Bound::Included(_) => included,
                Bound::Excluded(_) => excluded,
                Bound::Unbounded => continue,
            };
            condition += &format!(" AND e.key {relation} ${next}");
            next += 1;
        }
        let (table, buckets) = (&names.table, &names.buckets);
        if query.shape == Shape::Count {
            return format!(
                "SELECT b.revision, (SELECT count(*) FROM {table} e WHERE {condition}) \
                 FROM {buckets} b WHERE b.bucket = $1"
            );
        }
        let direction = if query.reverse { "DESC" } else { "ASC" };
        let columns = match query.shape {
            Shape::Keys => "e.key",
            Shape::Entries | Shape::Count => {
                "e.key, e.value, e.type, e.revision, e.created_at, e.modified_at, e.expires_at"
            }
        };
        format!(
            "SELECT b.revision, {columns} FROM {buckets} b LEFT JOIN LATERAL (SELECT {columns} FROM {table} e \
             WHERE {condition} ORDER BY e.key {direction} LIMIT $3) e ON true \
             WHERE b.bucket = $1 ORDER BY e.key {direction}"
        )
    }
}

/// The page in these rows, of which there is one more than the page holds if another follows.
fn page(query: &Query, rows: &[Row]) -> Result<Page> {
    let Some(first) = rows.first() else {
        return Ok(Page { count: (query.shape == Shape::Count).then_some(0), ..Page::default() });
    };
    let mut page = Page { revision: revision(column(first, 0)?), ..Page::default() };
    if query.shape == Shape::Count {
        page.count = Some(u64::try_from(column::<i64>(first, 1)?).unwrap_or(0));
        return Ok(page);
    }
    let mut last = ContentType::default();
    for row in rows.iter().take(query.limit) {
        let Some(text) = column::<Option<&str>>(row, 1)? else { continue };
        let key = key(text)?;
        let entry = if query.shape == Shape::Entries { Some(entry(row, 2, &key, &mut last)?) } else { None };
        page.entries.push((key, entry));
    }
    if rows.len() > query.limit {
        page.cursor = page.entries.last().map(|(key, _)| key.clone());
    }
    Ok(page)
}

/// The same bound without NUL, which PostgreSQL's texts cannot hold. As no key has one, all keys that begin like the bound up
/// to its NUL lie behind it, but for the one that ends there.
fn without_nul(bound: Bound<String>, low: bool) -> Bound<String> {
    let cut = |text: &str| text.find('\0').map(|at| text.get(..at).unwrap_or_default().to_owned());
    let (Bound::Included(text) | Bound::Excluded(text)) = &bound else { return bound };
    match cut(text) {
        None => bound,
        Some(begin) if low => Bound::Excluded(begin),
        Some(begin) => Bound::Included(begin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_cut_at_its_nul_and_means_the_same() {
        let cut = |text: &str, low| without_nul(Bound::Included(text.into()), low);
        assert_eq!(cut("a\0b", true), Bound::Excluded("a".into()));
        assert_eq!(cut("a\0b", false), Bound::Included("a".into()));
        assert_eq!(cut("a", true), Bound::Included("a".into()));
        assert_eq!(without_nul(Bound::Unbounded, true), Bound::Unbounded);
    }
}
