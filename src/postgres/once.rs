//! Plain writes in one statement, which is one transaction and one round trip.
//!
//! Plain is what needs no judging: values put, whatever stood there, and keys deleted, each once; and a single touch or
//! increment. The statement compares the revision that it saw with the one it is about to change; if another process came
//! in between, or a number is none, it does nothing, and the batches take the long way.

use std::collections::HashSet;

use bytes::Bytes;
use deadpool_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fault::Fault;
use super::row::{column, place, replaced, revision, type_name, typed};
use super::statements::{Plain, Puts};
use crate::model::{Batch, Bucket, Change, Entry, Error, Kind, Outcome, Result, Revision, Time, Write};
use crate::store::Limits;

/// How the attempt ended.
pub(super) enum Once {
    /// All of them were carried out; and what the revision is, if anything changed.
    Done(Vec<Outcome>, Option<Revision>),
    /// Nothing was done: the bucket is new, another process writes it, or it takes a judge to say what is wrong.
    NotNow,
}

/// What may be added without a look whether the sum overflows: the statement adds to no number of more than 18 digits.
const ADDED: u64 = 8_000_000_000_000_000_000;

/// How many bytes a number has at most.
const NUMBER: usize = 20;

/// Whether all of this is plain.
pub(super) fn is_plain(batches: &[Batch], limits: Limits, now: Time) -> bool {
    let ahead = |end: &Option<Time>| end.is_none_or(|end| now < end);
    let lone = batches.iter().map(|batch| batch.writes.len()).sum::<usize>() == 1;
    let plain = |write: &Write| match write {
        Write::Put { value, expires, .. } => value.len() <= limits.value && ahead(expires),
        Write::Delete { .. } => true,
        Write::Touch { expires, .. } => lone && ahead(expires),
        Write::Increment { by, .. } => lone && by.unsigned_abs() <= ADDED && limits.value >= NUMBER,
        Write::Look { .. } | Write::Append { .. } | Write::Restore { .. } => false,
    };
    let mut keys = HashSet::new();
    let mut writes = batches.iter().flat_map(|batch| &batch.writes);
    batches.iter().all(|batch| batch.expectations.is_empty())
        && writes.all(|write| plain(write) && keys.insert(write.key()))
        && !keys.is_empty()
}

/// Carries out batches that are plain.
pub(super) async fn once(
    client: &Client,
    statements: &Plain,
    (bucket, batches): (&Bucket, &[Batch]),
    now: Time,
) -> Result<Once, Fault> {
    let writes: Vec<&Write> = batches.iter().flat_map(|batch| &batch.writes).collect();
    // What was replaced is looked at only for who asks, and to know whether there was anything to delete.
    let puts = if batches.iter().all(|batch| batch.untold) { &statements.untold } else { &statements.seen };
    let rows = match writes.as_slice() {
        [write] => lone(client, (statements, puts), bucket, (write, now)).await?,
        _ => many(client, (statements, puts), bucket, (&writes, now)).await?,
    };
    let Some(first) = rows.first() else { return Ok(Once::NotNow) };
    let seen = revision(column(first, 0)?);
    let moved = column::<Option<i64>>(first, 1)?.map(revision);
    let mut before: Vec<Option<Entry>> = writes.iter().map(|_| None).collect();
    for row in &rows {
        if let Some(slot) = place(row, 2)?.and_then(|at| before.get_mut(at)) {
            *slot = Some(replaced(row, 3)?);
        }
    }
    let places = writes.iter().zip(&before).filter(|(write, before)| changes(write, before.as_ref())).count() as u64;
    let base = match moved {
        Some(last) => Revision::new(last.number().saturating_sub(places)),
        None if places == 0 => seen,
        None => return Ok(Once::NotNow),
    };
    Ok(Once::Done(outcomes(batches, before, base)?, moved))
}

/// One write, by a statement of its own.
async fn lone(
    client: &Client,
    (statements, puts): (&Plain, &Puts),
    bucket: &Bucket,
    (write, now): (&Write, Time),
) -> Result<Vec<Row>, Fault> {
    let (bucket, now, key) = (bucket.as_str(), now.nanos(), write.key().as_str());
    let query = async |text: &str, parameters: &[&(dyn ToSql + Sync)]| {
        let statement = client.prepare_cached(text).await.map_err(Fault::before)?;
        client.query(&statement, parameters).await.map_err(Fault::committing)
    };
    match write {
        Write::Put { value, content_type, expires, modified, .. } => {
            let (value, kind) = (&value[..], type_name(content_type));
            let (modified, expires) = (modified.map(Time::nanos), expires.map(Time::nanos));
            query(&puts.one, &[&bucket, &now, &key, &value, &kind, &modified, &expires]).await
        }
        Write::Delete { .. } => query(&statements.delete, &[&bucket, &now, &key]).await,
        Write::Touch { expires, .. } => {
            query(&statements.touch, &[&bucket, &now, &key, &expires.map(Time::nanos)]).await
        }
        Write::Increment { by, .. } => query(&statements.increment, &[&bucket, &now, &key, by]).await,
        Write::Look { .. } | Write::Append { .. } | Write::Restore { .. } => Ok(vec![]),
    }
}

async fn many(
    client: &Client,
    (statements, puts): (&Plain, &Puts),
    bucket: &Bucket,
    (writes, now): (&[&Write], Time),
) -> Result<Vec<Row>, Fault> {
    let mut keys = Vec::with_capacity(writes.len());
    let (mut values, mut types, mut modifieds, mut ends, mut gone) = (vec![], vec![], vec![], vec![], vec![]);
    for write in writes {
        keys.push(write.key().as_str());
        if let Write::Put { value, content_type, expires, modified, .. } = write {
            values.push(Some(&value[..]));
            types.push(type_name(content_type));
            modifieds.push(modified.map(Time::nanos));
            ends.push(expires.map(Time::nanos));
        } else {
            values.push(None);
            types.push(None);
            modifieds.push(None);
            ends.push(None);
            gone.push(write.key().as_str());
        }
    }
    let (bucket, now) = (bucket.as_str(), now.nanos());
    let stored: [&(dyn ToSql + Sync); 7] = [&bucket, &now, &keys, &values, &types, &modifieds, &ends];
    if gone.is_empty() {
        let statement = client.prepare_cached(&puts.many).await.map_err(Fault::before)?;
        return client.query(&statement, &stored).await.map_err(Fault::committing);
    }
    client.query_typed(&statements.once, &typed(&stored, &gone)).await.map_err(Fault::committing)
}

/// Whether a write changes anything, given what stood there.
fn changes(write: &Write, before: Option<&Entry>) -> bool {
    match write {
        Write::Put { .. } | Write::Increment { .. } | Write::Append { .. } | Write::Restore { .. } => true,
        Write::Delete { .. } => before.is_some(),
        Write::Touch { expires, .. } => before.is_some_and(|entry| entry.expires != *expires),
        Write::Look { .. } => false,
    }
}

/// The answers, given what stood there and the revision after which those of the writes come.
fn outcomes(batches: &[Batch], before: Vec<Option<Entry>>, base: Revision) -> Result<Vec<Outcome>> {
    let (mut last, mut before) = (base, before.into_iter());
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut done = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let before = before.next().flatten();
            if changes(write, before.as_ref()) {
                last = Revision::new(last.number() + 1);
            }
            let after = after(write, before.as_ref(), last)?;
            done.push(Change { before, after });
        }
        outcomes.push(batch.committed(last, done));
    }
    Ok(outcomes)
}

fn after(write: &Write, before: Option<&Entry>, revision: Revision) -> Result<Option<Entry>> {
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
            value: sum(before, *by)?,
            content_type: before.map(|entry| entry.content_type.clone()).unwrap_or_default(),
            revision,
            created,
            modified: ahead,
            expires: before.and_then(|entry| entry.expires),
        }),
        Write::Delete { .. } | Write::Look { .. } | Write::Append { .. } | Write::Restore { .. } => None,
    })
}

/// What the statement has made of a number.
fn sum(before: Option<&Entry>, by: i64) -> Result<Bytes> {
    let old = before.map_or(Some(0), |entry| std::str::from_utf8(&entry.value).ok()?.parse::<i64>().ok());
    let sum = old.and_then(|old| old.checked_add(by));
    let sum = sum.ok_or_else(|| Error::new(Kind::Failed, "PostgreSQL has added to what is no number"))?;
    Ok(Bytes::from(sum.to_string()))
}
