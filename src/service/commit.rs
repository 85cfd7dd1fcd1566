//! Writes of a bucket, done under what their request demands.

use std::collections::HashMap;

use super::dates::Dates;
use super::demand::Demand;
use super::reply::Refusal;
use super::{Asked, Timestamps};
use crate::model::{Batch, Bucket, Change, Condition, Entry, Expectation, Key, Outcome, Revision, Time, Write};
use crate::store::{Judged, Limits, Moment, judge};

/// What was judged outside the store is tried so often before others are left to finish first. Each failure is a
/// success of somebody else.
pub(crate) const TRIES: usize = 100;

/// Does the writes, all or none, and tells what each did.
///
/// # Errors
/// What is demanded does not hold, or is demanded of several keys.
pub(crate) async fn commit(
    asked: Asked<'_>,
    bucket: &Bucket,
    writes: Vec<Write>,
    demand: Demand,
) -> Result<Vec<Change>, Refusal> {
    if !demand.is_empty() && writes.iter().any(|write| Some(write.key()) != writes.first().map(Write::key)) {
        return Err(Demand::of_several());
    }
    match demand {
        Demand::Dates(dates) => {
            let batch = Batch::of(writes);
            committed(planned(asked, bucket, &batch, Some(&dates)).await?)
        }
        Demand::Conditions(conditions) => {
            let key = writes.first().map(Write::key);
            let expect = |condition| key.map(|key| Expectation { key: key.clone(), condition });
            let expectations = conditions.into_iter().filter_map(expect).collect();
            committed(apply(asked, bucket, Batch::of(writes).expecting(expectations)).await?)
        }
    }
}

fn committed(outcome: Outcome) -> Result<Vec<Change>, Refusal> {
    match outcome {
        Outcome::Committed { changes, .. } => Ok(changes),
        Outcome::Refused { .. } => Err(Refusal::guard()),
    }
}

/// Does a batch as the policy of its bucket has it.
///
/// A store knows neither the bound of one bucket nor dates that stay. Where these have a say, the batch is judged on what
/// stands there and done if that still stands there.
pub(crate) async fn apply(asked: Asked<'_>, bucket: &Bucket, batch: Batch) -> Result<Outcome, Refusal> {
    let settings = &asked.service.settings;
    let changes_in_place = |write: &Write| matches!(write, Write::Increment { .. } | Write::Append { .. });
    let is_dated = settings.policies.of(bucket).timestamps == Timestamps::Client;
    let is_bounded = asked.most(bucket) < settings.max_value && batch.writes.iter().any(changes_in_place);
    if is_dated {
        planned(asked, bucket, &batch, Some(&Dates::default())).await
    } else if is_bounded {
        planned(asked, bucket, &batch, None).await
    } else {
        Ok(asked.service.store.apply(bucket, batch).await?)
    }
}

/// What was found under each key of a batch.
type Found<'a> = HashMap<&'a Key, Option<Entry>>;

async fn planned(asked: Asked<'_>, bucket: &Bucket, batch: &Batch, dates: Option<&Dates>) -> Result<Outcome, Refusal> {
    let store = &asked.service.store;
    let limits = Limits { value: asked.most(bucket) };
    let checked = batch.expectations.iter().map(|expectation| &expectation.key);
    let keys: Vec<Key> = checked.chain(batch.writes.iter().map(Write::key)).cloned().collect();
    for _ in 0..TRIES {
        let found: Found<'_> =
            keys.iter().zip(store.get(bucket, &keys).await.map_err(Refusal::unread)?.entries).collect();
        let look = |key: &Key| found.get(key).cloned().flatten();
        let holds = |write: &Write| dates.is_none_or(|dates| dates.hold(look(write.key()).as_ref()));
        if !batch.writes.iter().all(holds) {
            return Err(Refusal::guard().silent(true));
        }
        let changes = match judge(batch, limits, Moment::new(asked.now(), Revision::ZERO), look)? {
            Judged::Refused { index, found } => return Ok(Outcome::Refused { index, found }),
            Judged::Go { changes } => changes.into_iter().map(|(_, change, _)| change.after),
        };
        let plan = plan(batch, changes, &found, dates);
        match store.apply(bucket, plan).await? {
            Outcome::Refused { index, .. } if index >= batch.expectations.len() => {}
            outcome => return Ok(outcome),
        }
    }
    Err(Refusal::outrun())
}

/// The same batch with values in place of changes, under the expectation that all is as it was found. Where dates are
/// the clients', each value gets the date given, or that of what it replaces.
fn plan(batch: &Batch, after: impl Iterator<Item = Option<Entry>>, found: &Found<'_>, client: Option<&Dates>) -> Batch {
    let mut plan = Batch::default().expecting(batch.expectations.clone());
    let mut dates: HashMap<&Key, Option<Time>> = HashMap::new();
    for (write, after) in batch.writes.iter().zip(after) {
        let key = write.key();
        let entry = found.get(key).and_then(Option::as_ref);
        plan.expectations.push(unchanged(key, entry));
        let last = dates.entry(key).or_insert_with(|| entry.map(Entry::last_modified));
        let date = client.and_then(|dates| dates.given.or(*last));
        plan.writes.push(match (write, after) {
            (Write::Increment { .. } | Write::Append { .. }, Some(Entry { value, content_type, expires, .. })) => {
                Write::Put { key: key.clone(), value, content_type, expires, modified: date }
            }
            (Write::Put { value, content_type, expires, .. }, _) if client.is_some() => Write::Put {
                key: key.clone(),
                value: value.clone(),
                content_type: content_type.clone(),
                expires: *expires,
                modified: date,
            },
            _ => write.clone(),
        });
        *last = if matches!(write, Write::Delete { .. }) { None } else { date };
    }
    plan
}

/// That a key is still as it was found.
pub(crate) fn unchanged(key: &Key, found: Option<&Entry>) -> Expectation {
    let condition = found.map_or(Condition::Absent, |entry| Condition::RevisionIn(vec![entry.revision]));
    Expectation { key: key.clone(), condition }
}
