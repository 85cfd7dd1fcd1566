//! Plain writes in one statement, which is one transaction and one round trip.
//!
//! Plain is what needs no judging: values put, whatever stood there, and keys deleted, each once. The statement compares the
//! revision that it saw with the one it is about to change; if another process came in between it does nothing, and the
//! batches take the long way.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fault::Fault;
use super::row::{Statements, column, entry, revision, type_name};
use crate::model::{Batch, Bucket, Change, Entry, Key, Outcome, Result, Revision, Time, Write};
use crate::store::Limits;

/// How the attempt ended.
pub(super) enum Once {
    /// All of them were carried out; and what the revision is, if anything changed.
    Done(Vec<Outcome>, Option<Revision>),
    /// Nothing was done: the bucket is new, or another process writes it.
    NotNow,
}

/// Whether all of this is plain.
pub(super) fn is_plain(batches: &[Batch], limits: Limits, now: Time) -> bool {
    let plain = |write: &Write| match write {
        Write::Put { value, expires, .. } => value.len() <= limits.value && expires.is_none_or(|end| now < end),
        Write::Delete { .. } => true,
        Write::Look { .. }
        | Write::Touch { .. }
        | Write::Increment { .. }
        | Write::Append { .. }
        | Write::Restore { .. } => false,
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
    statements: &Statements,
    (bucket, batches): (&Bucket, &[Batch]),
    now: Time,
) -> Result<Once, Fault> {
    let writes: Vec<&Write> = batches.iter().flat_map(|batch| &batch.writes).collect();
    let rows = match writes.as_slice() {
        [write @ Write::Put { .. }] => put(client, statements, bucket, (write, now)).await?,
        _ => many(client, statements, bucket, (&writes, now)).await?,
    };
    let Some(first) = rows.first() else { return Ok(Once::NotNow) };
    let seen = revision(column(first, 0)?);
    let moved = column::<Option<i64>>(first, 1)?.map(revision);
    let mut before = HashMap::with_capacity(rows.len());
    for row in &rows {
        before.extend(entry(row, 2)?);
    }
    let changes = |write: &&Write| matches!(write, Write::Put { .. }) || before.contains_key(write.key());
    let places = writes.iter().filter(|write| changes(write)).count() as u64;
    let base = match moved {
        Some(last) => Revision::new(last.number().saturating_sub(places)),
        None if places == 0 => seen,
        None => return Ok(Once::NotNow),
    };
    Ok(Once::Done(outcomes(batches, before, base), moved))
}

async fn put(
    client: &Client,
    statements: &Statements,
    bucket: &Bucket,
    (write, now): (&Write, Time),
) -> Result<Vec<Row>, Fault> {
    let Write::Put { key, value, content_type, expires, modified } = write else { return Ok(vec![]) };
    let statement = client.prepare_cached(&statements.put).await.map_err(Fault::before)?;
    let (value, kind) = (&value[..], type_name(content_type));
    let (modified, expires) = (modified.map(Time::nanos), expires.map(Time::nanos));
    let values: [&(dyn ToSql + Sync); 7] =
        [&bucket.as_str(), &now.nanos(), &key.as_str(), &value, &kind, &modified, &expires];
    client.query(&statement, &values).await.map_err(Fault::committing)
}

async fn many(
    client: &Client,
    statements: &Statements,
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
    let statement = client.prepare_cached(&statements.once).await.map_err(Fault::before)?;
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&bucket.as_str(), &now.nanos(), &keys, &values, &types, &modifieds, &ends, &gone];
    client.query(&statement, &parameters).await.map_err(Fault::committing)
}

/// The answers, given what stood there and the revision after which those of the writes come.
fn outcomes(batches: &[Batch], mut before: HashMap<Key, Entry>, base: Revision) -> Vec<Outcome> {
    let mut last = base;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut changes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let before = before.remove(write.key());
            let put = matches!(write, Write::Put { .. });
            if put || before.is_some() {
                last = Revision::new(last.number() + 1);
            }
            let after = after(write, before.as_ref(), last);
            changes.push(Change { before, after });
        }
        outcomes.push(Outcome::Committed { revision: last, changes });
    }
    outcomes
}

fn after(write: &Write, before: Option<&Entry>, revision: Revision) -> Option<Entry> {
    let Write::Put { value, content_type, expires, modified, .. } = write else { return None };
    Some(Entry {
        value: value.clone(),
        content_type: content_type.clone(),
        revision,
        created: before.map_or(revision.time(), |entry| entry.created),
        modified: *modified,
        expires: *expires,
    })
}
