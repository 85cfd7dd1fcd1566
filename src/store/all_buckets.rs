//! All buckets of a store.

use std::collections::BTreeSet;

use super::contract::Store;
use crate::model::{Bucket, Result};

/// The buckets that have been written or have logs, ordered by name.
///
/// # Errors
/// Those of the store.
pub async fn all_buckets(store: &dyn Store) -> Result<Vec<Bucket>> {
    let mut buckets: BTreeSet<Bucket> = store.buckets().await?.into_iter().collect();
    if let Some(logs) = store.logs() {
        buckets.extend(logs.log_buckets().await?);
    }
    Ok(buckets.into_iter().collect())
}
