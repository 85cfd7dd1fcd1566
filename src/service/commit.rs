//! Writes of a bucket, done under what their request demands.

use super::Asked;
use super::dates::Dates;
use super::demand::Demand;
use super::reply::{Cache, Refusal};
use crate::model::{Batch, Bucket, Change, Condition, Entry, Expectation, Key, Outcome, Write};

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
        Demand::Dates(dates) => by_date(asked, bucket, writes, &dates).await,
        Demand::Conditions(conditions) => {
            let key = writes.first().map(Write::key);
            let expect = |condition| key.map(|key| Expectation { key: key.clone(), condition });
            let expectations = conditions.into_iter().filter_map(expect).collect();
            match asked.service.store.apply(bucket, Batch { expectations, writes }).await? {
                Outcome::Committed { changes, .. } => Ok(changes),
                Outcome::Refused { .. } => Err(Refusal::condition(Cache::Never)),
            }
        }
    }
}

/// The same where clients give the times: judged on what stands there, done if that still stands there.
async fn by_date(asked: Asked<'_>, bucket: &Bucket, writes: Vec<Write>, dates: &Dates) -> Result<Vec<Change>, Refusal> {
    let store = &asked.service.store;
    let keys: Vec<Key> = writes.iter().map(|write| write.key().clone()).collect();
    for _ in 0..TRIES {
        let found = store.get(bucket, &keys).await?.entries;
        if !found.iter().all(|entry| dates.hold(entry.as_ref())) {
            return Err(Refusal::condition(Cache::Never).silent(true));
        }
        let mut batch = Batch { expectations: vec![], writes: writes.clone() };
        for (write, entry) in batch.writes.iter_mut().zip(&found) {
            batch.expectations.push(unchanged(write.key(), entry.as_ref()));
            if let Write::Put { modified, .. } = write {
                *modified = dates.given.or_else(|| entry.as_ref().map(Entry::last_modified));
            }
        }
        if let Outcome::Committed { changes, .. } = store.apply(bucket, batch).await? {
            return Ok(changes);
        }
    }
    Err(Refusal::outrun())
}

/// That a key is still as it was found.
pub(crate) fn unchanged(key: &Key, found: Option<&Entry>) -> Expectation {
    let condition = found.map_or(Condition::Absent, |entry| Condition::RevisionIn(vec![entry.revision]));
    Expectation { key: key.clone(), condition }
}
