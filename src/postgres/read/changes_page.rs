//! Reads the changes of a bucket since a revision. It is one statement, so all of it is of the same moment.

use tokio_postgres::Row;

use crate::model::{Bucket, ChangesPage, ChangesQuery, ContentType, KeyChange, Result, Revision, Time};
use crate::postgres::connect::pool::Pool;
use crate::postgres::sql::row::{column, entry, key, revision, revision_number};

/// No key has it, so it is the prefix of none.
const PREFIX_OF_NO_KEY: &str = "\u{1}";

/// Reads a page of changes. `None` if not all changes since then are known.
pub(crate) async fn changes_page(pool: &Pool, bucket: &Bucket, query: &ChangesQuery) -> Result<Option<ChangesPage>> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    // A text in PostgreSQL cannot contain NUL, and neither does a key.
    let prefix = if query.prefix.contains('\0') { PREFIX_OF_NO_KEY } else { query.prefix.as_str() };
    let since = revision_number(query.since);
    let rows = pool.query(&pool.statements().changes.since, &[&bucket.as_str(), &since, &prefix, &limit]).await?;
    let (reached, mark) = match rows.first() {
        Some(row) => (revision(column(row, 0)?), column::<Option<i64>>(row, 1)?.map(revision)),
        None => (Revision::ZERO, None),
    };
    if !is_known(query.since, reached, mark) {
        return Ok(None);
    }
    page(&pool.names().table, query, &rows, Moment { reached, now: pool.now() }).map(Some)
}

/// Whether all changes after `since` are known in a bucket with this revision and this mark.
fn is_known(since: Revision, reached: Revision, mark: Option<Revision>) -> bool {
    since == Revision::ZERO || since == reached || (since < reached && mark.is_some_and(|mark| mark <= since))
}

/// The revision of the bucket and the time when the changes were read.
struct Moment {
    reached: Revision,
    now: Time,
}

/// Reads a page from rows. One row more than the limit means that another page follows.
fn page(table: &str, query: &ChangesQuery, rows: &[Row], moment: Moment) -> Result<ChangesPage> {
    let has_more = rows.len() > query.limit && has_change(rows)?;
    let (mut changes, mut last_type) = (Vec::new(), ContentType::default());
    for row in rows.iter().take(query.limit) {
        let Some(name) = column::<Option<&str>>(row, 3)? else { continue };
        let key = key(table, name)?;
        let is_present = column::<Option<&[u8]>>(row, 4)?.is_some();
        let entry = if is_present { Some(entry(row, 4, &key, &mut last_type)?) } else { None };
        let entry = entry.filter(|entry| entry.is_live(moment.now));
        changes.push(KeyChange { revision: revision(column(row, 2)?), key, entry });
    }
    let last = changes.last().map_or(query.since, |change| change.revision);
    Ok(ChangesPage { changes, next: if has_more { last } else { moment.reached }, has_more })
}

/// Whether the rows have changes. If there are no changes, there is one row without one.
fn has_change(rows: &[Row]) -> Result<bool> {
    rows.first().map_or(Ok(false), |row| Ok(column::<Option<&str>>(row, 3)?.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_known_from_the_mark_to_the_revision_of_the_bucket() {
        let known = |since, reached, mark: Option<u64>| {
            is_known(Revision::new(since), Revision::new(reached), mark.map(Revision::new))
        };
        assert_eq!([4, 5, 6, 9, 10].map(|since| known(since, 9, Some(5))), [false, true, true, true, false]);
        assert_eq!([0, 1, 8, 9, 10].map(|since| known(since, 9, None)), [true, false, false, true, false]);
        assert_eq!([0, 1].map(|since| known(since, 0, None)), [true, false]);
    }
}
