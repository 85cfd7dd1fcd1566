//! The store: the contract of `store`, carried out by the parts of the current runtime.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::blob::blob_rows::BlobRows;
use super::blob::stored_parts::StoredParts;
use super::blob::unused_blobs;
use super::blob::upload::Upload;
use super::connect::pool::discard;
use super::connect::store_config::Config;
use super::connect::url::{CONNECT_TIMEOUT, Url};
use super::error::{PgError, Reason};
use super::logs;
use super::logs::LogName;
use super::maintenance::maintain;
use super::options::PostgresOptions;
use super::read::changes_page::changes_page;
use super::read::scan::scan;
use super::runtime::{Runtime, Runtimes};
use super::sql::row::column;
use crate::model::{
    AppendOutcome, Batch, BlobId, Bucket, ChangesPage, ChangesQuery, Error, Key, LogAppend, LogKeysQuery, LogPage,
    LogQuery, Outcome, Page, Result, Revision, Scan, Snapshot,
};
use crate::store::{BlobReader, Blobs, Changes, Logs, NewBlob, Report, Store, Task};

/// A store in tables of a PostgreSQL database. Clones share the connections, and processes share the tables.
#[derive(Clone)]
pub struct PostgresStore {
    config: Arc<Config>,
    runtimes: Arc<Runtimes>,
}

impl PostgresStore {
    /// Opens the store at a URL such as `postgresql://user@host/database?table=kvs`. This does not contact the server.
    /// The first use creates the tables that do not exist.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong. The error names the parameter, and never contains the password.
    pub fn open(url: &str, options: PostgresOptions) -> Result<Self> {
        let config = Arc::new(Config::new(Url::parse(url)?, options)?);
        Ok(Self { config, runtimes: Arc::default() })
    }

    /// The SQL that creates the tables. With `distributed`, it also spreads them over a Citus cluster.
    #[must_use]
    pub fn sql(&self, distributed: bool) -> String {
        let url = &self.config.url;
        let mut sql = url.names.create_tables(url.table_options);
        if distributed {
            sql += &url.names.distribute_tables();
        }
        sql
    }

    /// Creates the tables. With `distributed`, it also spreads them over a Citus cluster. Existing tables stay.
    ///
    /// # Errors
    /// `PermissionDenied` if the role may not create them, `Unavailable` if `distributed` is set and there is no Citus.
    pub async fn init(&self, distributed: bool) -> Result<()> {
        let client = self.runtime()?.pool.connection().await.map_err(|e| self.locate("the tables", e.error))?;
        let created =
            client.batch_execute(&self.config.url.names.create_tables_exclusively(&self.sql(distributed))).await;
        created.map_err(|error| {
            discard(client);
            let what = if distributed { "cannot create and distribute the tables" } else { "cannot create the tables" };
            let cause = PgError::query(error).error;
            Error::new(cause.kind(), what).with_source(cause)
        })
    }

    /// Whether the tables exist, also those of an earlier version. Unlike other methods, this does not create them.
    ///
    /// # Errors
    /// `Busy` or `Unavailable` if the server cannot be reached.
    pub async fn is_made(&self) -> Result<bool> {
        let client = self.runtime()?.pool.connection().await.map_err(|e| self.locate("the tables", e.error))?;
        match client.batch_execute(&self.config.statements.find_data).await.map_err(PgError::query) {
            Ok(()) => Ok(true),
            Err(error) if error.reason == Some(Reason::NoTable) => Ok(false),
            Err(error) => Err(self.locate("the tables", error.error)),
        }
    }

    /// Checks at once whether the database can hold every key; otherwise each new connection checks it. A server that
    /// does not respond within 5 s is not an error.
    ///
    /// # Errors
    /// `Corrupt` if the encoding of the database is neither UTF8 nor `SQL_ASCII`.
    pub async fn check_encoding(&self) -> Result<()> {
        let runtime = self.runtime()?;
        match tokio::time::timeout(CONNECT_TIMEOUT, runtime.pool.connection()).await {
            Ok(Err(error)) if error.reason == Some(Reason::Encoding) => Err(error.error),
            Ok(Ok(_) | Err(_)) | Err(_) => Ok(()),
        }
    }

    /// The same store as it is now, for reading: all that is read from it is of one moment, however long it takes and
    /// whatever others write meanwhile. It needs up to three more connections. Nothing can be written to it.
    ///
    /// # Errors
    /// `Invalid` if the tables are spread over a Citus cluster, and those of connecting.
    pub async fn at_one_moment(&self) -> Result<Self> {
        let config = self.runtime()?.pool.at_one_moment().await;
        let config = config.map_err(|e| self.locate("a moment of the database", e.error))?;
        Ok(Self { config: Arc::new(config), runtimes: Arc::default() })
    }

    fn runtime(&self) -> Result<Arc<Runtime>> {
        self.runtimes.current(&self.config)
    }

    fn blob_rows(&self, bucket: &Bucket) -> BlobRows {
        BlobRows::new(&self.config, &self.runtimes, bucket)
    }

    fn locate(&self, what: &str, error: Error) -> Error {
        self.config.locate_in(what, error)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.runtime()?.reads.entries(bucket, keys).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.runtime()?.reads.values(bucket, keys).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        self.runtime()?.writes.apply(bucket, batch).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        scan(&self.runtime()?.pool, bucket, &query).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.runtime()?.notifier.changed(bucket, since).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let rows = self.runtime()?.pool.query(&self.config.statements.buckets, &[]).await;
        let rows = rows.map_err(|e| self.locate("the list of buckets", e))?;
        rows.iter().map(|row| Bucket::new(column(row, 0)?)).collect()
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let maintained = maintain(&self.runtime()?.pool, bucket, task).await;
        let mut report = maintained.map_err(|e| self.config.locate(bucket, e))?;
        // After the entries that have expired.
        match task {
            Task::Compact | Task::RemoveExpired => {
                unused_blobs::remove_all(&self.blob_rows(bucket)).await?;
            }
            Task::RemoveLeftovers => report.removed += unused_blobs::remove_all(&self.blob_rows(bucket)).await?,
            Task::Check => report.findings.extend(unused_blobs::check(&self.blob_rows(bucket)).await?),
            Task::Status => {}
        }
        Ok(report)
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        Some(self)
    }
}

#[async_trait]
impl Changes for PostgresStore {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        changes_page(&self.runtime()?.pool, bucket, &query).await.map_err(|e| self.config.locate(bucket, e))
    }
}

#[async_trait]
impl Blobs for PostgresStore {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.get(bucket, keys).await
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        Ok(Box::new(Upload::begin(self.blob_rows(bucket)).await?))
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        let blob = StoredParts::open(self.blob_rows(bucket), id).await?;
        Ok(blob.map(|blob| Arc::new(blob) as Arc<dyn BlobReader>))
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        unused_blobs::remove_these(&self.blob_rows(bucket), ids).await
    }
}

#[async_trait]
impl Logs for PostgresStore {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        logs::append_entries::append(&*self.runtime()?, LogName { bucket, key }, append)
            .await
            .map_err(|e| self.config.locate(bucket, e))
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        logs::page::read(&self.runtime()?.pool, LogName { bucket, key }, &query)
            .await
            .map_err(|e| self.config.locate(bucket, e))
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        logs::remove_entries::remove(&*self.runtime()?, LogName { bucket, key }, before)
            .await
            .map_err(|e| self.config.locate(bucket, e))
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        let runtime = self.runtime()?;
        let waited = runtime.logs.next_changed(&runtime.pool, LogName { bucket, key }, next);
        waited.await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        logs::page::keys(&self.runtime()?.pool, bucket, &query).await.map_err(|e| self.config.locate(bucket, e))
    }

    async fn log_buckets(&self) -> Result<Vec<Bucket>> {
        let rows = self.runtime()?.pool.query(&self.config.statements.logs.buckets, &[]).await;
        let rows = rows.map_err(|e| self.locate("the list of logs", e))?;
        rows.iter().map(|row| Bucket::new(column(row, 0)?)).collect()
    }
}
