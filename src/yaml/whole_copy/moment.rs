//! Locks all buckets and logs of a store at once, and notes what each of their files contains.
//!
//! The buckets are read before, so that only what was written meanwhile is read under the locks. Writers wait that long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::model::{Bucket, Error, ErrorKind, Key, LogKeysQuery, Result};
use crate::yaml::blob::BlobFolder;
use crate::yaml::bucket::bucket_store::SharedResources;
use crate::yaml::bucket::locked_files::Backoff;
use crate::yaml::file::data_file::DataFile;
use crate::yaml::file::lock::FilesLock;
use crate::yaml::file::paths::BucketPaths;
use crate::yaml::fs::{File, LockMode};
use crate::yaml::log::log_file::{self, LogLocker};
use crate::yaml::log::log_path::LogPath;
use crate::yaml::log::used_logs::UsedLogs;
use crate::yaml::options::YamlOptions;
use crate::yaml::state::BucketState;

/// How often all locks are tried. Writers must not wait for the whole lock timeout, so an attempt has half of it.
const MAX_ATTEMPTS: u32 = 4;

/// What is copied.
pub(crate) struct Sources<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) options: &'a YamlOptions,
    pub(crate) shared: &'a SharedResources,
    pub(crate) logs: &'a UsedLogs,
    /// The buckets that have entries.
    pub(crate) list: &'a (dyn Fn() -> Result<Vec<Bucket>> + Sync),
}

impl Sources<'_> {
    /// The folder of the blobs of a bucket.
    pub(super) fn blobs(&self, bucket: &Bucket) -> BlobFolder {
        BlobFolder::new(self.folder, bucket, self.options, self.shared)
    }

    fn buckets(&self) -> Result<BTreeSet<Bucket>> {
        let all = (self.list)()?.into_iter().chain(self.logs.buckets()?);
        Ok(all.filter(|bucket| !bucket.is_reserved()).collect())
    }

    fn log_keys(&self, bucket: &Bucket) -> Result<Vec<Key>> {
        self.logs.keys(bucket, &LogKeysQuery { limit: usize::MAX, ..LogKeysQuery::default() })
    }

    fn busy(&self) -> Error {
        let wait = self.options.lock_timeout * MAX_ATTEMPTS / 2;
        let text = format!(
            "{}: not all buckets and logs could be locked at once within {wait:?}; nothing was copied, try again",
            self.folder.display()
        );
        Error::new(ErrorKind::Busy, text)
    }
}

/// A bucket at the moment.
pub(super) struct BucketAtMoment {
    pub(super) bucket: Bucket,
    pub(super) state: RwLock<BucketState>,
    /// The data file; `None` if there is none.
    pub(super) data: Option<Arc<dyn File>>,
    /// How many bytes of it are committed.
    pub(super) committed: u64,
    pub(super) logs: Vec<LogAtMoment>,
}

/// A log at the moment.
pub(super) struct LogAtMoment {
    pub(super) key: Key,
    pub(super) file: Arc<dyn File>,
    /// The offset after its last entry.
    pub(super) end: u64,
}

/// All buckets, as they were at one moment.
pub(super) struct Moment {
    pub(super) buckets: Vec<BucketAtMoment>,
    /// Prevents the removal of blobs.
    pub(super) _blobs: Vec<Box<dyn File>>,
}

/// A bucket that was read, and may be locked.
struct ReadBucket {
    files: DataFile,
    state: RwLock<BucketState>,
    lock: Option<FilesLock>,
}

/// A log that is locked.
type LockedLogs = BTreeMap<(Bucket, Key), Arc<dyn File>>;

impl ReadBucket {
    fn new(sources: &Sources<'_>, bucket: &Bucket) -> Self {
        let paths = BucketPaths::new(sources.folder, bucket);
        let YamlOptions { file_system, tidy_up_to, .. } = sources.options;
        let files = DataFile::new(paths, Arc::clone(file_system), *tidy_up_to, Arc::default());
        Self { files, state: RwLock::default(), lock: None }
    }

    /// Locks the bucket until `deadline`. Returns false if others hold it for longer.
    fn lock_until(&mut self, sources: &Sources<'_>, deadline: Instant) -> Result<bool> {
        let mut backoff = Backoff::new(&sources.shared.open_files);
        while self.lock.is_none() {
            self.lock = self.files.lock(LockMode::Shared)?;
            if self.lock.is_none() {
                if Instant::now() >= deadline {
                    return Ok(false);
                }
                backoff.sleep();
            }
        }
        Ok(true)
    }

    /// Reads what was written since the last time. The bucket is locked.
    fn refresh(&mut self) -> Result<()> {
        self.files.refresh(&self.state)?;
        match &self.state.read().damage {
            None => Ok(()),
            Some(damage) => {
                let name = self.files.paths.data.display().to_string();
                let text = format!("{}; correct it first (`kvs check`). Nothing was copied", damage.of(&name));
                Err(Error::new(ErrorKind::Corrupt, text))
            }
        }
    }
}

impl Moment {
    /// Waits for a moment at which nobody writes.
    pub(super) fn take(sources: &Sources<'_>) -> Result<Self> {
        let half = (sources.options.lock_timeout / 2).min(Duration::from_secs(3600));
        let mut blobs = BTreeMap::new();
        let mut buckets = BTreeMap::new();
        for bucket in sources.buckets()? {
            let mut read = ReadBucket::new(sources, &bucket);
            if !read.lock_until(sources, Instant::now() + 2 * half)? {
                return Err(sources.busy());
            }
            read.refresh()?;
            read.lock = None;
            buckets.insert(bucket, read);
        }
        for _ in 0..MAX_ATTEMPTS {
            hold_blobs(sources, buckets.keys(), &mut blobs)?;
            let deadline = Instant::now() + half;
            if let Some(logs) = lock_all(sources, &mut buckets, &mut blobs, deadline)? {
                let buckets = note_all(sources, buckets, logs)?;
                return Ok(Self { buckets, _blobs: blobs.into_values().collect() });
            }
            for bucket in buckets.values_mut() {
                bucket.lock = None;
            }
        }
        Err(sources.busy())
    }
}

/// Prevents the removal of blobs.
fn hold_blobs<'b>(
    sources: &Sources<'_>,
    buckets: impl Iterator<Item = &'b Bucket>,
    held: &mut BTreeMap<Bucket, Box<dyn File>>,
) -> Result<()> {
    for bucket in buckets {
        let folder = sources.blobs(bucket);
        if !held.contains_key(bucket) && folder.exists()? {
            held.insert(bucket.clone(), folder.hold()?);
        }
    }
    Ok(())
}

/// Locks all buckets and logs, also those that appear meanwhile, and reads what was written meanwhile. `None` if the time
/// is up.
fn lock_all(
    sources: &Sources<'_>,
    buckets: &mut BTreeMap<Bucket, ReadBucket>,
    blobs: &mut BTreeMap<Bucket, Box<dyn File>>,
    deadline: Instant,
) -> Result<Option<LockedLogs>> {
    let mut logs = LockedLogs::new();
    loop {
        let before = (buckets.len(), logs.len());
        for bucket in sources.buckets()? {
            let read = buckets.entry(bucket.clone()).or_insert_with(|| ReadBucket::new(sources, &bucket));
            if !read.lock_until(sources, deadline)? {
                return Ok(None);
            }
        }
        for bucket in buckets.keys() {
            for key in sources.log_keys(bucket)? {
                let name = (bucket.clone(), key);
                if logs.contains_key(&name) {
                    continue;
                }
                match lock_log(sources, &name, deadline) {
                    Ok(Some(file)) => drop(logs.insert(name, file)),
                    Ok(None) => {}
                    Err(error) if error.kind() == ErrorKind::Busy => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        }
        if (buckets.len(), logs.len()) == before && buckets.values().all(|bucket| bucket.lock.is_some()) {
            break;
        }
    }
    buckets.values_mut().try_for_each(ReadBucket::refresh)?;
    // Blobs of buckets that had none before.
    hold_blobs(sources, buckets.keys(), blobs)?;
    Ok(Some(logs))
}

fn lock_log(sources: &Sources<'_>, (bucket, key): &(Bucket, Key), deadline: Instant) -> Result<Option<Arc<dyn File>>> {
    let path = LogPath::new(sources.folder, bucket, key);
    let open_files = &sources.shared.open_files;
    LogLocker { fs: &*sources.options.file_system, path: &path, open_files, deadline }.lock(LockMode::Shared)
}

/// Notes what the files contain. All of them are locked, until this returns.
fn note_all(
    sources: &Sources<'_>,
    buckets: BTreeMap<Bucket, ReadBucket>,
    logs: LockedLogs,
) -> Result<Vec<BucketAtMoment>> {
    let mut noted: BTreeMap<Bucket, Vec<LogAtMoment>> = BTreeMap::new();
    for ((bucket, key), file) in logs {
        let path = LogPath::new(sources.folder, &bucket, &key);
        if let Some(known) = log_file::inspect(&*file, &path)? {
            noted.entry(bucket).or_default().push(LogAtMoment { key, file, end: known.tail.end });
        }
    }
    let note = |(bucket, read): (Bucket, ReadBucket)| {
        let ReadBucket { files, state, lock: _lock } = read;
        let data = files.known.stat.and(files.file.clone());
        let logs = noted.remove(&bucket).unwrap_or_default();
        BucketAtMoment { bucket, state, data, committed: files.known.committed, logs }
    };
    let noted: Vec<BucketAtMoment> = buckets.into_iter().map(note).collect();
    // The open files of logs are still locked; closing them unlocks them, but they are needed.
    for log in noted.iter().flat_map(|bucket| &bucket.logs) {
        let _ = log.file.unlock();
    }
    Ok(noted)
}
