//! The rows of the blobs of a bucket.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::model::{Bucket, Error, Result};
use crate::postgres::connect::store_config::Config;
use crate::postgres::runtime::{Runtime, Runtimes};
use crate::postgres::sql::blob_statements::BlobStatements;

/// The blobs of a bucket. They can be used in any runtime.
#[derive(Clone)]
pub(crate) struct BlobRows {
    config: Arc<Config>,
    runtimes: Arc<Runtimes>,
    pub(crate) bucket: Bucket,
}

impl BlobRows {
    pub(crate) fn new(config: &Arc<Config>, runtimes: &Arc<Runtimes>, bucket: &Bucket) -> Self {
        Self { config: Arc::clone(config), runtimes: Arc::clone(runtimes), bucket: bucket.clone() }
    }

    pub(crate) fn statements(&self) -> &BlobStatements {
        &self.config.statements.blobs
    }

    /// Whether nothing can be written.
    pub(crate) fn is_at_one_moment(&self) -> bool {
        self.config.is_at_one_moment()
    }

    pub(crate) fn runtime(&self) -> Result<Arc<Runtime>> {
        self.runtimes.current(&self.config)
    }

    pub(crate) fn locate(&self, error: Error) -> Error {
        self.config.locate(&self.bucket, error)
    }

    /// The rows of a statement about the bucket, `$1`. It is repeated if the connection is lost.
    pub(crate) async fn query(&self, statement: &str, others: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let bucket = self.bucket.as_str();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&bucket];
        parameters.extend(others);
        self.runtime()?.pool.query(statement, &parameters).await.map_err(|e| self.locate(e))
    }
}
