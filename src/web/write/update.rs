//! Changes an entry depending on its current value: read, change, and commit if the entry is still the same.

use super::commit;
use super::commit::MAX_ATTEMPTS;
use crate::model::{Batch, Change, Entry, Expectation, Outcome, Write};
use crate::web::context::RequestContext;
use crate::web::entry_name::EntryName;
use crate::web::request::write_preconditions::WritePreconditions;
use crate::web::response::api_error::ApiError;

/// Does the write that `change` makes of the current entry, under the preconditions of the request, and returns what
/// changed. If another client writes the key at the same time, `change` is called again with the new entry.
///
/// # Errors
/// Those of `change`, whatever the preconditions are (RFC 9110, section 13.2.1); or if a precondition fails.
pub(crate) async fn update(
    ctx: RequestContext<'_>,
    name: EntryName<'_>,
    preconditions: WritePreconditions,
    change: impl Fn(Option<&Entry>) -> Result<Write, ApiError>,
) -> Result<Change, ApiError> {
    let EntryName { bucket, key } = name;
    for _ in 0..MAX_ATTEMPTS {
        let snapshot = ctx.state.store.get(bucket, std::slice::from_ref(key)).await.map_err(ApiError::from_read)?;
        let found = snapshot.entries.into_iter().next().flatten();
        let write = change(found.as_ref())?;
        // First, so that a failed precondition of the client has an index of its own.
        let unchanged = Expectation::unchanged(key.clone(), found.as_ref());
        let batch = Batch::new(vec![write]).with_expectations(vec![unchanged]);
        match commit::commit_batch(ctx, bucket, batch, preconditions.clone()).await? {
            Outcome::PreconditionFailed { index: 0, .. } => {}
            outcome => {
                let change = commit::changes_of(outcome)?.into_iter().next();
                return change.ok_or_else(|| ApiError::internal("the store returned no change for a write"));
            }
        }
    }
    Err(ApiError::contention())
}
