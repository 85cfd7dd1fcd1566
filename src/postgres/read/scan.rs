//! Scans of a bucket. A scan is one statement, so its entries and its revision are of the same moment.

use std::ops::Bound;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::lookup::bucket_revision;
use crate::model::{Bucket, ContentType, Page, Projection, Result, Scan};
use crate::postgres::connect::pool::Pool;
use crate::postgres::sql::row::{column, entry, key, revision};
use crate::postgres::sql::schema::TableNames;
use crate::store::bounds;

/// Reads a page of the bucket.
pub(crate) async fn scan(pool: &Pool, bucket: &Bucket, query: &Scan) -> Result<Page> {
    let range = bounds(query).map(|(low, high)| (without_nul(low, true), without_nul(high, false)));
    let Some((low, high)) = range else {
        let count = (query.projection == Projection::Count).then_some(0);
        return Ok(Page { revision: bucket_revision(pool, bucket).await?, count, ..Page::default() });
    };
    let now = pool.now().nanos();
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    let sql = scan_sql(pool.names(), query, &low, &high);
    let bucket = bucket.as_str();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&bucket, &now];
    if query.projection != Projection::Count {
        parameters.push(&limit);
    }
    for bound in [&low, &high] {
        if let Bound::Included(text) | Bound::Excluded(text) = bound {
            parameters.push(text);
        }
    }
    page(&pool.names().table, query, &pool.query(&sql, &parameters).await?)
}

/// The statement of a scan. `$2` is the time, `$3` the limit (unless it counts), then follow the bounds that exist.
fn scan_sql(names: &TableNames, query: &Scan, low: &Bound<String>, high: &Bound<String>) -> String {
    let mut condition = "e.bucket = $1 AND (e.expires_at IS NULL OR e.expires_at > $2)".to_owned();
    let mut next = if query.projection == Projection::Count { 3 } else { 4 };
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
    if query.projection == Projection::Count {
        return format!(
            "SELECT b.revision, (SELECT count(*) FROM {table} e WHERE {condition}) \
             FROM {buckets} b WHERE b.bucket = $1"
        );
    }
    let direction = if query.reverse { "DESC" } else { "ASC" };
    let columns = match query.projection {
        Projection::Keys => "e.key",
        Projection::Entries | Projection::Count => {
            "e.key, e.value, e.type, e.revision, e.created_at, e.modified_at, e.expires_at"
        }
    };
    format!(
        "SELECT b.revision, {columns} FROM {buckets} b LEFT JOIN LATERAL (SELECT {columns} FROM {table} e \
         WHERE {condition} ORDER BY e.key {direction} LIMIT $3) e ON true \
         WHERE b.bucket = $1 ORDER BY e.key {direction}"
    )
}

/// Reads a page from rows. One row more than the limit means that another page follows.
fn page(table: &str, query: &Scan, rows: &[Row]) -> Result<Page> {
    let Some(first) = rows.first() else {
        return Ok(Page { count: (query.projection == Projection::Count).then_some(0), ..Page::default() });
    };
    let mut page = Page { revision: revision(column(first, 0)?), ..Page::default() };
    if query.projection == Projection::Count {
        page.count = Some(u64::try_from(column::<i64>(first, 1)?).unwrap_or(0));
        return Ok(page);
    }
    let mut last_type = ContentType::default();
    for row in rows.iter().take(query.limit) {
        let Some(text) = column::<Option<&str>>(row, 1)? else { continue };
        let key = key(table, text)?;
        let entry =
            if query.projection == Projection::Entries { Some(entry(row, 2, &key, &mut last_type)?) } else { None };
        page.entries.push((key, entry));
    }
    if rows.len() > query.limit {
        page.cursor = page.entries.last().map(|(key, _)| key.clone());
    }
    Ok(page)
}

/// An equivalent bound without NUL, which a text in PostgreSQL cannot contain. No key contains NUL, so the bound is cut
/// there: only the key that ends at the cut sorts before the bound, and all longer keys with that beginning sort after
/// it.
fn without_nul(bound: Bound<String>, low: bool) -> Bound<String> {
    let before_nul = |text: &str| text.find('\0').map(|at| text.get(..at).unwrap_or_default().to_owned());
    let (Bound::Included(text) | Bound::Excluded(text)) = &bound else { return bound };
    match before_nul(text) {
        None => bound,
        Some(begin) if low => Bound::Excluded(begin),
        Some(begin) => Bound::Included(begin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_with_nul_is_replaced_by_an_equivalent_one() {
        let cut = |text: &str, low| without_nul(Bound::Included(text.into()), low);
        assert_eq!(cut("a\0b", true), Bound::Excluded("a".into()));
        assert_eq!(cut("a\0b", false), Bound::Included("a".into()));
        assert_eq!(cut("a", true), Bound::Included("a".into()));
        assert_eq!(without_nul(Bound::Unbounded, true), Bound::Unbounded);
    }
}
