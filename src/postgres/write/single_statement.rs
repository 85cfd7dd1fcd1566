//! Commits plain writes in one statement, which is one transaction and one round trip.
//!
//! A write is plain if it needs no evaluation: puts and deletes without conditions, each key once; or a single touch or
//! increment. The statement compares the revision that it read with the one that it is about to change. If another
//! process wrote in between, or a value is not a number, the statement stores nothing, and the batches need a locked
//! transaction.

use std::collections::HashSet;

use bytes::Bytes;
use deadpool_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::model::{Batch, Bucket, Change, Entry, Error, ErrorKind, Outcome, Result, Returning, Revision, Time, Write};
use crate::postgres::connect::pool::Pool;
use crate::postgres::error::PgError;
use crate::postgres::sql::plain_statements::{PlainWriteStatements, PutStatements};
use crate::postgres::sql::row::{column, position, replaced_entry, revision, type_name, typed_parameters};
use crate::store::Limits;

/// The result of the statement.
pub(crate) enum SingleStatement {
    /// All batches were committed.
    Done {
        outcomes: Vec<Outcome>,
        /// `None` if nothing changed.
        new_revision: Option<Revision>,
    },
    /// Nothing was stored: the bucket is new, another process wrote it, or only an evaluation finds the error.
    NotApplicable,
}

/// The largest absolute value that can be added without an overflow, since the statement increments numbers of at most
/// 18 digits only.
const MAX_INCREMENT: u64 = 8_000_000_000_000_000_000;

/// The longest text of a 64-bit integer.
const MAX_NUMBER_BYTES: usize = 20;

/// Whether all writes of the batches are plain.
pub(crate) fn is_plain(batches: &[Batch], limits: Limits, now: Time) -> bool {
    let is_ahead = |expires: &Option<Time>| expires.is_none_or(|expires| now < expires);
    let is_single = batches.iter().map(|batch| batch.writes.len()).sum::<usize>() == 1;
    let plain = |write: &Write| match write {
        Write::Put { value, expires, .. } => value.len() <= limits.max_value_bytes && is_ahead(expires),
        Write::Delete { .. } => true,
        Write::Touch { expires, .. } => is_single && is_ahead(expires),
        Write::Increment { by, .. } => {
            is_single && by.unsigned_abs() <= MAX_INCREMENT && limits.max_value_bytes >= MAX_NUMBER_BYTES
        }
        Write::Read { .. } | Write::Append { .. } | Write::Restore { .. } => false,
    };
    let mut keys = HashSet::new();
    let mut writes = batches.iter().flat_map(|batch| &batch.writes);
    batches.iter().all(|batch| batch.expectations.is_empty())
        && writes.all(|write| plain(write) && keys.insert(write.key()))
        && !keys.is_empty()
}

/// Commits the batches in one statement. On a cluster, only a single write that replaces an entry can be.
pub(crate) async fn execute(
    client: &Client,
    pool: &Pool,
    bucket: &Bucket,
    batches: &[Batch],
    now: Time,
) -> Result<SingleStatement, PgError> {
    let writes: Vec<&Write> = batches.iter().flat_map(|batch| &batch.writes).collect();
    let lone = matches!(writes.as_slice(), [Write::Put { .. } | Write::Increment { .. }]);
    let (statements, is_distributed) = (pool.statements(), pool.is_distributed());
    if is_distributed && !lone {
        return Ok(SingleStatement::NotApplicable);
    }
    let (statements, replace) = (&statements.plain, &statements.distributed.replace);
    // Replaced entries are read only for callers that want them, and to find out whether there was anything to delete.
    let puts = if batches.iter().all(|batch| batch.returning == Returning::Nothing) {
        &statements.returning_nothing
    } else {
        &statements.returning_replaced
    };
    let (put, increment) =
        if is_distributed { (&replace.put, &replace.increment) } else { (&puts.one, &statements.increment) };
    let statement =
        PlainStatement { client, statements, puts, put, increment, bucket: bucket.as_str(), now: now.nanos() };
    let rows = match writes.as_slice() {
        [write] => statement.one(write).await?,
        _ => statement.many(&writes).await?,
    };
    let Some(first) = rows.first() else { return Ok(SingleStatement::NotApplicable) };
    let old_revision = revision(column(first, 0)?);
    let new_revision = column::<Option<i64>>(first, 1)?.map(revision);
    let mut before: Vec<Option<Entry>> = writes.iter().map(|_| None).collect();
    for row in &rows {
        if let Some(slot) = position(row, 2)?.and_then(|at| before.get_mut(at)) {
            *slot = Some(replaced_entry(row, 3)?);
        }
    }
    let revision_count =
        writes.iter().zip(&before).filter(|(write, before)| changes(write, before.as_ref())).count() as u64;
    let base = match new_revision {
        Some(last) => Revision::new(last.number().saturating_sub(revision_count)),
        None if revision_count == 0 => old_revision,
        None => return Ok(SingleStatement::NotApplicable),
    };
    Ok(SingleStatement::Done { outcomes: outcomes(bucket, batches, before, base)?, new_revision })
}

/// The parameters that all plain writes have in common.
struct PlainStatement<'a> {
    client: &'a Client,
    statements: &'a PlainWriteStatements,
    puts: &'a PutStatements,
    /// Of a single put, and of a single increment.
    put: &'a str,
    increment: &'a str,
    bucket: &'a str,
    now: i64,
}

impl PlainStatement<'_> {
    async fn query(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        let statement = self.client.prepare_cached(text).await.map_err(PgError::query)?;
        self.client.query(&statement, parameters).await.map_err(PgError::commit)
    }

    async fn one(&self, write: &Write) -> Result<Vec<Row>, PgError> {
        let Self { statements, put, increment, bucket, now, .. } = self;
        let key = write.key().as_str();
        match write {
            Write::Put { value, content_type, expires, modified, .. } => {
                let (value, content_type) = (&value[..], type_name(content_type));
                let (modified, expires) = (modified.map(Time::nanos), expires.map(Time::nanos));
                self.query(put, &[bucket, now, &key, &value, &content_type, &modified, &expires]).await
            }
            Write::Delete { .. } => self.query(&statements.delete, &[bucket, now, &key]).await,
            Write::Touch { expires, .. } => {
                self.query(&statements.touch, &[bucket, now, &key, &expires.map(Time::nanos)]).await
            }
            Write::Increment { by, .. } => self.query(increment, &[bucket, now, &key, by]).await,
            Write::Read { .. } | Write::Append { .. } | Write::Restore { .. } => Ok(vec![]),
        }
    }

    async fn many(&self, writes: &[&Write]) -> Result<Vec<Row>, PgError> {
        let mut keys = Vec::with_capacity(writes.len());
        let (mut values, mut types, mut modified, mut expires, mut deleted) = (vec![], vec![], vec![], vec![], vec![]);
        for write in writes {
            keys.push(write.key().as_str());
            if let Write::Put { value, content_type, expires: expiry, modified: time, .. } = write {
                values.push(Some(&value[..]));
                types.push(type_name(content_type));
                modified.push(time.map(Time::nanos));
                expires.push(expiry.map(Time::nanos));
            } else {
                values.push(None);
                types.push(None);
                modified.push(None);
                expires.push(None);
                deleted.push(write.key().as_str());
            }
        }
        let stored: [&(dyn ToSql + Sync); 7] = [&self.bucket, &self.now, &keys, &values, &types, &modified, &expires];
        if deleted.is_empty() {
            return self.query(&self.puts.many, &stored).await;
        }
        let parameters = typed_parameters(&stored, [(&deleted as &(dyn ToSql + Sync), Type::TEXT_ARRAY)]);
        self.client.query_typed(&self.statements.mixed, &parameters).await.map_err(PgError::commit)
    }
}

/// Whether a write changes anything, given the entry before it.
fn changes(write: &Write, before: Option<&Entry>) -> bool {
    match write {
        Write::Put { .. } | Write::Increment { .. } | Write::Append { .. } | Write::Restore { .. } => true,
        Write::Delete { .. } => before.is_some(),
        Write::Touch { expires, .. } => before.is_some_and(|entry| entry.expires != *expires),
        Write::Read { .. } => false,
    }
}

/// The outcomes of the batches, given the entries before them. The writes take the revisions after `base`.
fn outcomes(bucket: &Bucket, batches: &[Batch], before: Vec<Option<Entry>>, base: Revision) -> Result<Vec<Outcome>> {
    let (mut last, mut before) = (base, before.into_iter());
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut done = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let before = before.next().flatten();
            if changes(write, before.as_ref()) {
                last = Revision::new(last.number() + 1);
            }
            let after = after(bucket, write, before.as_ref(), last)?;
            done.push(Change { before, after });
        }
        outcomes.push(batch.outcome(last, done));
    }
    Ok(outcomes)
}

fn after(bucket: &Bucket, write: &Write, before: Option<&Entry>, revision: Revision) -> Result<Option<Entry>> {
    let created = before.map_or(revision.time(), |entry| entry.created);
    let ahead = before.and_then(|entry| entry.ahead_of(revision.time()));
    Ok(match write {
        Write::Put { value, content_type, expires, modified, .. } => Some(Entry {
            value: value.clone(),
            content_type: content_type.clone(),
            revision,
            created,
            modified: modified.or(ahead),
            expires: *expires,
        }),
        Write::Touch { expires, .. } => before.map(|entry| Entry { expires: *expires, ..entry.clone() }),
        Write::Increment { by, .. } => Some(Entry {
            value: sum(bucket, before, *by)?,
            content_type: before.map(|entry| entry.content_type.clone()).unwrap_or_default(),
            revision,
            created,
            modified: ahead,
            expires: before.and_then(|entry| entry.expires),
        }),
        Write::Delete { .. } | Write::Read { .. } | Write::Append { .. } | Write::Restore { .. } => None,
    })
}

/// The number that the statement has stored.
fn sum(bucket: &Bucket, before: Option<&Entry>, by: i64) -> Result<Bytes> {
    let old = before.map_or(Some(0), |entry| std::str::from_utf8(&entry.value).ok()?.parse::<i64>().ok());
    let sum = old.and_then(|old| old.checked_add(by));
    let sum = sum.ok_or_else(|| {
        let text =
            format!("internal error: a value that is not a number was incremented in bucket {bucket}; run kvs check");
        Error::new(ErrorKind::Unavailable, text)
    })?;
    Ok(Bytes::from(sum.to_string()))
}
