//! What a long poll or a stream waits for: a change of a bucket, or of a log.

use crate::model::{Bucket, Result, Revision};
use crate::web::entry_name::EntryName;
use crate::web::metrics::counted::Counted;

/// What is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Watched<'a> {
    Bucket(&'a Bucket),
    /// The index of the next entry of a log takes the place of the revision.
    Log(EntryName<'a>),
}

impl<'a> Watched<'a> {
    pub(crate) fn bucket(&self) -> &'a Bucket {
        match self {
            Self::Bucket(bucket) => bucket,
            Self::Log(name) => name.bucket,
        }
    }

    /// Waits for a change after this revision, and returns the new one.
    pub(crate) async fn changed(&self, store: &Counted, since: Revision) -> Result<Revision> {
        match self {
            Self::Bucket(bucket) => store.changed(bucket, since).await,
            Self::Log(name) => match store.logs() {
                Some(logs) => logs.changed(*name, since.number()).await.map(Revision::new),
                None => std::future::pending().await,
            },
        }
    }
}
