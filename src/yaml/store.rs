//! [`YamlStore`]: a folder of buckets.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use super::blob::{BlobFolder, BlobStatus, UsedBlobs};
use super::blocking::blocking;
use super::bucket::bucket_store::{BucketStore, SharedResources};
use super::bucket::compact::EntryOrder;
use super::bucket::status::StatusReader;
use super::bucket::tidier::Tidier;
use super::edit_session::{EditSession, EditSummary};
use super::file::errors::io_error_with_advice;
use super::file::open_files::OpenFiles;
use super::file::paths::BucketPaths;
use super::log::used_logs::UsedLogs;
use super::options::YamlOptions;
use super::store_folder::StoreFolder;
use super::whole_copy::{CopiedBucket, LinkBlob, Sources, copy_to};
use crate::model::{
    AppendOutcome, Batch, BlobId, Bucket, ChangesPage, ChangesQuery, Error, Key, LogAppend, LogKeysQuery, LogPage,
    LogQuery, Outcome, Page, Result, Revision, Scan, Snapshot,
};
use crate::store::{
    BlobReader, Blobs, Changes, Entries, Logs, NewBlob, PollRate, RecentChanges, Report, Store, Task, page,
};

/// The maximum lock timeout of the buckets that kvs keeps for itself, because the clients that wait for them requested
/// something else.
const OWN_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// A waiter wakes at most this much later than another process wrote.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A folder of YAML files, one for each bucket. Clones share it; so do processes.
#[derive(Clone)]
pub struct YamlStore {
    pub(super) folder: Arc<PathBuf>,
    pub(super) options: YamlOptions,
    pub(super) buckets: Arc<Buckets>,
    pub(super) shared: SharedResources,
    pub(super) status: Arc<StatusReader>,
    pub(super) logs: Arc<UsedLogs>,
    pub(super) blob_status: Arc<BlobStatus>,
}

/// The buckets that were used by this process.
pub(super) struct Buckets {
    pub(super) used: RwLock<HashMap<Bucket, Arc<BucketStore>>>,
    tidier: Arc<Tidier>,
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.tidier.stop();
        for bucket in self.used.get_mut().values() {
            bucket.finish();
        }
    }
}

impl YamlStore {
    /// Opens the store in a folder. Nothing is created before the first write.
    ///
    /// # Errors
    /// `Invalid` if the path is not a folder.
    pub fn open(folder: impl Into<PathBuf>, options: YamlOptions) -> Result<Self> {
        let folder = folder.into();
        let exists = folder.exists();
        if exists && !folder.is_dir() {
            let text = format!("{} is not a folder; give the folder for the data", folder.display());
            return Err(Error::new(crate::model::ErrorKind::Invalid, text));
        }
        let open_files = Arc::new(OpenFiles::new(options.max_open_buckets));
        let poll_rate = PollRate::new(POLL_INTERVAL);
        let folder = Arc::new(folder);
        let shared = SharedResources {
            open_files,
            tidier: Arc::default(),
            poll_rate,
            failures: Arc::default(),
            folder: Arc::new(StoreFolder::new(Arc::clone(&folder), Arc::clone(&options.file_system), exists)),
            measurements: Arc::default(),
        };
        let buckets = Arc::new(Buckets { used: RwLock::default(), tidier: Arc::clone(&shared.tidier) });
        let status = Arc::new(StatusReader::new(Arc::clone(&folder), options.clone()));
        let logs = Arc::new(UsedLogs::new(Arc::clone(&folder), options.clone(), shared.clone()));
        Ok(Self { folder, options, buckets, shared, status, logs, blob_status: Arc::default() })
    }

    pub(super) fn known(&self, bucket: &Bucket) -> Option<Arc<BucketStore>> {
        self.buckets.used.read().get(bucket).cloned()
    }

    fn bucket(&self, bucket: &Bucket) -> Arc<BucketStore> {
        if let Some(found) = self.known(bucket) {
            return found;
        }
        let mut buckets = self.buckets.used.write();
        if buckets.len() == buckets.capacity() {
            // Before the map grows: then waits for random names do not fill the memory.
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_blank());
        }
        let (mut options, mut shared) = (self.options.clone(), self.shared.clone());
        if bucket.is_reserved() {
            options.lock_timeout = options.lock_timeout.min(OWN_LOCK_TIMEOUT);
            // The metrics are about the data of clients.
            shared.measurements = Arc::default();
        }
        let paths = BucketPaths::new(&self.folder, bucket);
        let make = || Arc::new(BucketStore::new(paths, options, &shared));
        Arc::clone(buckets.entry(bucket.clone()).or_insert_with(make))
    }

    /// The bucket if it is known or has a data file or a lock file, so that reads of random names do not fill the
    /// memory.
    fn existing(&self, bucket: &Bucket) -> Result<Option<Arc<BucketStore>>> {
        if let Some(found) = self.known(bucket) {
            return Ok(Some(found));
        }
        let paths = BucketPaths::new(&self.folder, bucket);
        for path in [&paths.data, &paths.lock] {
            if self.options.file_system.stat(path).map_err(|e| paths.failed("inspect", e))?.is_some() {
                return Ok(Some(self.bucket(bucket)));
            }
        }
        Ok(None)
    }

    pub(super) fn used_blobs<'s>(
        &'s self,
        bucket: &'s Bucket,
    ) -> UsedBlobs<impl Fn() -> Result<Option<Arc<BucketStore>>> + 's> {
        let folder = BlobFolder::new(&self.folder, bucket, &self.options, &self.shared);
        UsedBlobs { folder, find_bucket: || self.existing(bucket) }
    }

    /// Whether the bucket had a data file that is missing now.
    fn has_vanished(&self, bucket: &Bucket) -> bool {
        self.existing(bucket).ok().flatten().is_some_and(|bucket| bucket.has_vanished())
    }

    /// The buckets that have been written, ordered by name.
    pub(super) fn list(&self) -> Result<Vec<Bucket>> {
        let names = self.options.file_system.list(&self.folder);
        let doing = || format!("cannot list {}", self.folder.display());
        let names = names.map_err(|e| io_error_with_advice(doing(), e))?;
        let ending = |ending: &'static str| move |name: &String| Bucket::new(name.strip_suffix(ending)?).ok();
        let mut buckets: BTreeSet<Bucket> = names.iter().filter_map(ending(".yaml")).collect();
        let known = self.buckets.used.read().keys().cloned().collect::<Vec<_>>();
        let others = names.iter().filter_map(ending(".lock")).chain(known).filter(|name| !buckets.contains(name));
        let vanished: Vec<Bucket> = others.filter(|bucket| self.has_vanished(bucket)).collect();
        buckets.extend(vanished);
        Ok(buckets.into_iter().collect())
    }

    /// Begins to edit a bucket: the session has its text, or the text of the file itself if that is corrupt.
    ///
    /// # Errors
    /// As for reads; `Corrupt` if the file cannot be shown as text.
    pub fn begin_edit(&self, bucket: &Bucket) -> Result<EditSession> {
        self.bucket(bucket).begin_edit()
    }

    /// Rewrites the file of a bucket with its entries in the order of their keys. The comments above an entry move with
    /// it.
    ///
    /// # Errors
    /// As for [`Task::Compact`].
    pub async fn sort(&self, bucket: &Bucket) -> Result<Report> {
        let Some(bucket) = self.existing(bucket)? else { return Ok(Report::default()) };
        run_blocking(move || bucket.compact_when_free(EntryOrder::Sorted)).await
    }

    /// Copies all buckets to a folder as they are at one moment, with their logs and blobs, the comments in the files and
    /// all revisions. Others may read and write this store meanwhile; writers wait for the moment, but not for the copy.
    /// Reserved buckets are not copied. A blob is copied unless `link_blob` links it.
    ///
    /// Three files are open for each bucket, and one for each log.
    ///
    /// # Errors
    /// `Busy` if somebody holds a lock for too long, `Corrupt` if a file is damaged, `Invalid` if the folder has one of the
    /// files already, and errors of the file system. After an error the copy is incomplete.
    pub async fn copy_to(
        &self,
        folder: impl Into<PathBuf>,
        link_blob: Option<Arc<LinkBlob>>,
    ) -> Result<Vec<CopiedBucket>> {
        let (store, target) = (self.clone(), folder.into());
        let work = move || {
            let sources = Sources {
                folder: &store.folder,
                options: &store.options,
                shared: &store.shared,
                logs: &store.logs,
                list: &|| store.list(),
            };
            copy_to(&target, &sources, link_blob.as_deref())
        };
        run_blocking(work).await
    }

    /// Saves an edited text: writes the changed entries and deletes the removed ones, all or none.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read; `Busy` if somebody else has written the same keys in the
    /// meantime.
    pub async fn save_edit(&self, bucket: &Bucket, session: &EditSession, text: &str) -> Result<EditSummary> {
        self.save_edit_through(self, bucket, session, text).await
    }

    /// Like [`save_edit`](Self::save_edit), but writes through a layer over this store.
    ///
    /// # Errors
    /// Those of [`save_edit`](Self::save_edit), and those of the layer.
    pub async fn save_edit_through(
        &self,
        layer: &dyn Store,
        bucket: &Bucket,
        session: &EditSession,
        text: &str,
    ) -> Result<EditSummary> {
        self.bucket(bucket).save_edit(layer, session, text).await
    }
}

#[async_trait]
impl Store for YamlStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let Some(bucket) = self.existing(bucket)? else {
            return Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] });
        };
        let now = self.options.clock.now();
        if let Some(mut found) = bucket.look_up(keys) {
            for entry in &mut found.entries {
                *entry = entry.take().filter(|entry| entry.is_live(now));
            }
            return Ok(found);
        }
        let state = bucket.current().await?;
        let entries = keys.iter().map(|key| state.entries.live(key, now)).collect();
        Ok(Snapshot { revision: state.revision, entries })
    }

    async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        // A program that answers one request has just seen the folder.
        if !self.options.is_short_lived && self.known(bucket).is_none() {
            self.shared.folder.ensure_not_lost()?;
        }
        self.bucket(bucket).apply(batch).await
    }

    async fn scan(&self, bucket: &Bucket, query: Scan) -> Result<Page> {
        let Some(bucket) = self.existing(bucket)? else {
            return Ok(page(&Entries::new(), &query, self.options.clock.now()));
        };
        let now = self.options.clock.now();
        let state = bucket.current().await?;
        Ok(Page { revision: state.revision, ..page(&state.entries, &query, now) })
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.bucket(bucket).changed(since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.list()
    }

    async fn maintain(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let (store, name) = (self.clone(), bucket.clone());
        let work = move || {
            if task == Task::Status {
                return store.status_of(&name);
            }
            let mut report = match store.existing(&name)? {
                None => Report::default(),
                Some(bucket) => match task {
                    Task::Compact => bucket.compact_when_free(EntryOrder::Kept)?,
                    Task::RemoveExpired => bucket.remove_expired()?,
                    Task::RemoveLeftovers => bucket.remove_leftovers()?,
                    Task::Check | Task::Status => bucket.check()?,
                },
            };
            store.logs.maintain(&name, task, &mut report)?;
            store.used_blobs(&name).maintain(task, &mut report)?;
            Ok(report)
        };
        run_blocking(work).await
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
impl Blobs for YamlStore {
    async fn get_references(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        self.get(bucket, keys).await
    }

    async fn create_blob(&self, bucket: &Bucket) -> Result<Box<dyn NewBlob>> {
        self.used_blobs(bucket).create().await
    }

    async fn open_blob(&self, bucket: &Bucket, id: BlobId) -> Result<Option<Arc<dyn BlobReader>>> {
        blocking(|| self.used_blobs(bucket).open(id))
    }

    async fn remove_unused_blobs(&self, bucket: &Bucket, ids: &[BlobId]) -> Result<bool> {
        blocking(|| self.used_blobs(bucket).remove_unused(ids))
    }
}

#[async_trait]
impl Changes for YamlStore {
    async fn changes_since(&self, bucket: &Bucket, query: ChangesQuery) -> Result<Option<ChangesPage>> {
        match self.existing(bucket)? {
            Some(bucket) => bucket.changes_since(&query).await,
            None => Ok(RecentChanges::default().page(&query, Revision::ZERO, |_| None)),
        }
    }
}

#[async_trait]
impl Logs for YamlStore {
    async fn append(&self, bucket: &Bucket, key: &Key, append: LogAppend) -> Result<AppendOutcome> {
        self.logs.log(bucket, key).append(append).await
    }

    async fn read_log(&self, bucket: &Bucket, key: &Key, query: LogQuery) -> Result<Option<LogPage>> {
        self.logs.log(bucket, key).read(&query)
    }

    async fn remove_log(&self, bucket: &Bucket, key: &Key, before: Option<u64>) -> Result<Option<u64>> {
        self.logs.log(bucket, key).remove(before)
    }

    async fn log_changed(&self, bucket: &Bucket, key: &Key, next: u64) -> Result<u64> {
        self.logs.log(bucket, key).next_changed(next).await
    }

    async fn log_keys(&self, bucket: &Bucket, query: LogKeysQuery) -> Result<Vec<Key>> {
        blocking(|| self.logs.keys(bucket, &query))
    }

    async fn log_buckets(&self) -> Result<Vec<Bucket>> {
        blocking(|| self.logs.buckets())
    }
}

/// Runs slow work on a thread where it does not delay other tasks.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        Err(Error::new(crate::model::ErrorKind::Unavailable, "the maintenance task was aborted").with_source(e))
    })
}

#[cfg(test)]
mod tests;
