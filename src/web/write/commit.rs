//! Commits writes to a bucket under the preconditions of their request.

use std::collections::HashMap;

use crate::model::{Batch, Bucket, Change, Entry, Expectation, Key, Outcome, Revision, Time, Write};
use crate::store::{Decision, Limits, Moment, evaluate};
use crate::web::auth::policy::Timestamps;
use crate::web::context::RequestContext;
use crate::web::request::client_timestamps::DatePreconditions;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;

/// How often a batch is evaluated outside the store before the request fails. An attempt fails if another client writes
/// at the same time.
pub(crate) const MAX_ATTEMPTS: usize = 100;

/// Commits a batch without expectations, and returns what each write changed.
///
/// # Errors
/// If a precondition fails, or there are preconditions and several keys.
pub(crate) async fn commit(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    batch: Batch,
    preconditions: WritePreconditions,
) -> Result<Vec<Change>, ApiError> {
    let first = batch.writes.first().map(Write::key);
    if !preconditions.is_empty() && batch.writes.iter().any(|write| Some(write.key()) != first) {
        return Err(WritePreconditions::of_several());
    }
    changes_of(commit_batch(ctx, bucket, batch, preconditions).await?)
}

/// Commits a batch on one key, with the preconditions of the request after the expectations of the batch.
pub(super) async fn commit_batch(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    mut batch: Batch,
    preconditions: WritePreconditions,
) -> Result<Outcome, ApiError> {
    match preconditions {
        WritePreconditions::ByDate(dates) => evaluate_and_commit(ctx, bucket, &batch, Some(&dates)).await,
        WritePreconditions::ByRevision(conditions) => {
            let key = batch.writes.first().map(Write::key).cloned();
            let expect = |condition| key.clone().map(|key| Expectation { key, condition });
            batch.expectations.extend(conditions.into_iter().filter_map(expect));
            apply(ctx, bucket, batch).await
        }
    }
}

/// What was changed.
pub(super) fn changes_of(outcome: Outcome) -> Result<Vec<Change>, ApiError> {
    match outcome {
        Outcome::Committed { changes, .. } => Ok(changes),
        Outcome::PreconditionFailed { .. } => Err(ApiError::write_precondition_failed()),
    }
}

/// Commits a batch under the policy of its bucket.
///
/// A store supports neither a size limit for one bucket nor client timestamps. If the policy has one of them, the batch
/// is evaluated here on the current entries, and committed only if they are still unchanged.
pub(crate) async fn apply(ctx: RequestContext<'_>, bucket: &Bucket, batch: Batch) -> Result<Outcome, ApiError> {
    let settings = &ctx.state.settings;
    let changes_in_place = |write: &Write| matches!(write, Write::Increment { .. } | Write::Append { .. });
    let has_client_timestamps = settings.policies.for_bucket(bucket).timestamps == Timestamps::Client;
    let has_lower_limit =
        ctx.max_value_bytes(bucket) < settings.max_value_bytes && batch.writes.iter().any(changes_in_place);
    if has_client_timestamps {
        evaluate_and_commit(ctx, bucket, &batch, Some(&DatePreconditions::default())).await
    } else if has_lower_limit {
        evaluate_and_commit(ctx, bucket, &batch, None).await
    } else {
        Ok(ctx.state.store.apply(bucket, batch).await?)
    }
}

/// The current entry of each key of a batch.
type CurrentEntries<'a> = HashMap<&'a Key, Option<Entry>>;

async fn evaluate_and_commit(
    ctx: RequestContext<'_>,
    bucket: &Bucket,
    batch: &Batch,
    dates: Option<&DatePreconditions>,
) -> Result<Outcome, ApiError> {
    let store = &ctx.state.store;
    let limits = Limits { max_value_bytes: ctx.max_value_bytes(bucket) };
    let checked = batch.expectations.iter().map(|expectation| &expectation.key);
    let keys: Vec<Key> = checked.chain(batch.writes.iter().map(Write::key)).cloned().collect();
    for _ in 0..MAX_ATTEMPTS {
        let found: CurrentEntries<'_> =
            keys.iter().zip(store.get(bucket, &keys).await.map_err(ApiError::from_read)?.entries).collect();
        let lookup = |key: &Key| found.get(key).cloned().flatten();
        let holds = |write: &Write| dates.is_none_or(|dates| dates.hold(lookup(write.key()).as_ref()));
        if !batch.writes.iter().all(holds) {
            return Err(ApiError::write_precondition_failed().without_body(true));
        }
        let changes = match evaluate(batch, limits, Moment::new(ctx.now(), Revision::ZERO), lookup)? {
            Decision::PreconditionFailed { index, found } => return Ok(Outcome::PreconditionFailed { index, found }),
            Decision::Commit { changes } => changes.into_iter().map(|(_, change, _)| change.after),
        };
        let plan = plan(batch, changes, &found, dates);
        match store.apply(bucket, plan).await? {
            Outcome::PreconditionFailed { index, .. } if index >= batch.expectations.len() => {}
            outcome => return Ok(outcome),
        }
    }
    Err(ApiError::contention())
}

/// The batch with whole values instead of changes, and with the expectation that every entry is unchanged. With client
/// timestamps each value gets the date of the request, or else the date of the entry that it replaces.
fn plan(
    batch: &Batch,
    after: impl Iterator<Item = Option<Entry>>,
    found: &CurrentEntries<'_>,
    client: Option<&DatePreconditions>,
) -> Batch {
    let mut plan = Batch { expectations: batch.expectations.clone(), writes: vec![], returning: batch.returning };
    let mut dates: HashMap<&Key, Option<Time>> = HashMap::new();
    for (write, after) in batch.writes.iter().zip(after) {
        let key = write.key();
        let entry = found.get(key).and_then(Option::as_ref);
        plan.expectations.push(Expectation::unchanged(key.clone(), entry));
        let last = dates.entry(key).or_insert_with(|| entry.map(Entry::last_modified));
        let date = client.and_then(|dates| dates.new_date.or(*last));
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
