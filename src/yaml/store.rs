//! The store itself: a folder of buckets.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use super::bucket::{BucketStore, Shared};
use super::compact::Order;
use super::disk::{Disk, RealDisk};
use super::draft::{Draft, Replaced};
use super::opened::Opened;
use super::place::{Place, explained};
use super::status::{Glances, Listed};
use super::tidy::Tidier;
use crate::model::{Batch, Bucket, Clock, Error, Key, Outcome, Page, Query, Result, Revision, Snapshot, SystemClock};
use crate::store::{Limits, Report, Store, Task, page};

/// How long to wait at most for a bucket that is kvs' own: clients wait for it who asked for something else.
const OWN_LOCK_WAIT: Duration = Duration::from_millis(500);

/// How a store is kept.
#[derive(Clone)]
pub struct Options {
    /// What it takes.
    pub limits: Limits,
    /// How long to wait for a bucket that another process holds.
    pub lock_wait: Duration,
    /// The log is folded into the snapshot once it is longer than the snapshot and than this, in bytes.
    pub least_log: u64,
    /// A file is brought into its form at rest when nobody has written for so long, and when the process ends; zero: never.
    pub tidy_after: Duration,
    /// Longer files, in bytes, are only compacted, and have no copy of what was good last.
    pub tidy_up_to: u64,
    /// So many buckets keep their files open, those used last. Each has two, and while it is worked on up to three more.
    pub most_open: usize,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    /// Values of 1 MiB, 5 s for a lock, 64 KiB of log, 2 s to the form at rest for files of up to 1 MiB, open files as the limit of the process allows, the clock and the
    /// file system of the machine.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            lock_wait: Duration::from_secs(5),
            least_log: 64 << 10,
            tidy_after: Duration::from_secs(2),
            tidy_up_to: 1 << 20,
            most_open: Opened::limit(),
            clock: Arc::new(SystemClock),
            disk: Arc::new(RealDisk),
        }
    }
}

/// A folder of YAML files, one a bucket. Clones share it, and so do processes.
#[derive(Clone)]
pub struct YamlStore {
    pub(super) folder: Arc<PathBuf>,
    pub(super) options: Options,
    buckets: Arc<Buckets>,
    shared: Shared,
    pub(super) glances: Arc<Glances>,
    pub(super) listed: Arc<Listed>,
}

/// The buckets that were used.
struct Buckets {
    used: RwLock<HashMap<Bucket, Arc<BucketStore>>>,
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
    /// The store in a folder. Nothing is made before the first write.
    ///
    /// # Errors
    /// `Invalid` if something other than a folder has that name; `Failed` if it cannot be looked at.
    pub fn open(folder: impl Into<PathBuf>, options: Options) -> Result<Self> {
        let folder = folder.into();
        if folder.exists() && !folder.is_dir() {
            let text = format!("{} is not a folder; name the folder to keep the data in", folder.display());
            return Err(Error::new(crate::model::Kind::Invalid, text));
        }
        let opened = Arc::new(Opened::new(options.most_open));
        let shared = Shared { opened, tidier: Arc::default(), looking: Arc::default() };
        let buckets = Arc::new(Buckets { used: RwLock::default(), tidier: Arc::clone(&shared.tidier) });
        Ok(Self { folder: Arc::new(folder), options, buckets, shared, glances: Arc::default(), listed: Arc::default() })
    }

    /// The bucket, if it was used.
    pub(super) fn known(&self, bucket: &Bucket) -> Option<Arc<BucketStore>> {
        self.buckets.used.read().get(bucket).cloned()
    }

    fn bucket(&self, bucket: &Bucket) -> Arc<BucketStore> {
        if let Some(found) = self.known(bucket) {
            return found;
        }
        let mut buckets = self.buckets.used.write();
        if buckets.len() == buckets.capacity() {
            // Before the map grows: waiting for names at random does not fill the memory either.
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_blank());
        }
        let mut options = self.options.clone();
        if bucket.is_reserved() {
            options.lock_wait = options.lock_wait.min(OWN_LOCK_WAIT);
        }
        let place = Place::new(&self.folder, bucket);
        let make = || Arc::new(BucketStore::new(place, options, &self.shared));
        Arc::clone(buckets.entry(bucket.clone()).or_insert_with(make))
    }

    /// The bucket, if it is known or has a data file or a lock file: so that reading names at random does not fill the memory.
    fn existing(&self, bucket: &Bucket) -> Result<Option<Arc<BucketStore>>> {
        if let Some(found) = self.known(bucket) {
            return Ok(Some(found));
        }
        let place = Place::new(&self.folder, bucket);
        for path in [&place.data, &place.lock] {
            if self.options.disk.stat(path).map_err(|e| place.failed("look at", e))?.is_some() {
                return Ok(Some(self.bucket(bucket)));
            }
        }
        Ok(None)
    }

    /// Whether the data file of this bucket was there and is missing.
    fn has_vanished(&self, bucket: &Bucket) -> bool {
        self.existing(bucket).ok().flatten().is_some_and(|bucket| bucket.has_vanished())
    }

    /// A text of the bucket for a person to edit: clean YAML, or the file itself if it is damaged.
    ///
    /// # Errors
    /// As for reads; `Damaged` if not even the text can be had.
    pub fn draft(&self, bucket: &Bucket) -> Result<Draft> {
        self.bucket(bucket).draft()
    }

    /// Writes the file of a bucket with its entries in the order of their keys. The comments above an entry move with it.
    ///
    /// # Errors
    /// As for [`Task::Compact`].
    pub async fn sort(&self, bucket: &Bucket) -> Result<Report> {
        let Some(bucket) = self.existing(bucket)? else { return Ok(Report::default()) };
        blocked(move || bucket.compact_patiently(Order::Sorted)).await
    }

    /// Takes back a draft as it was edited: writes what was changed, deletes what was removed, all or nothing.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read; `Busy` if another wrote the same keys meanwhile.
    pub async fn replace(&self, bucket: &Bucket, draft: &Draft, text: &str) -> Result<Replaced> {
        self.replace_through(self, (bucket, draft), text).await
    }

    /// The same through a layer over this store.
    ///
    /// # Errors
    /// Those of [`YamlStore::replace`], and of the layer.
    pub async fn replace_through(
        &self,
        layer: &dyn Store,
        (bucket, draft): (&Bucket, &Draft),
        text: &str,
    ) -> Result<Replaced> {
        self.bucket(bucket).replace(layer, draft, text).await
    }
}

#[async_trait]
impl Store for YamlStore {
    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        let Some(bucket) = self.existing(bucket)? else {
            return Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] });
        };
        let now = self.options.clock.now();
        let image = bucket.current().await?;
        let entries = keys.iter().map(|key| image.entries.get(key).filter(|e| e.is_live(now)).cloned()).collect();
        Ok(Snapshot { revision: image.revision, entries })
    }

    async fn values(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.get(bucket, keys).await?.into_values())
    }

    async fn apply(&self, bucket: &Bucket, batch: Batch) -> Result<Outcome> {
        self.bucket(bucket).apply(batch).await
    }

    async fn scan(&self, bucket: &Bucket, query: Query) -> Result<Page> {
        let Some(bucket) = self.existing(bucket)? else {
            return Ok(page(&std::collections::BTreeMap::new(), &query, self.options.clock.now()));
        };
        let now = self.options.clock.now();
        let image = bucket.current().await?;
        Ok(Page { revision: image.revision, ..page(&image.entries, &query, now) })
    }

    async fn changed(&self, bucket: &Bucket, since: Revision) -> Result<Revision> {
        self.bucket(bucket).changed(since).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let names = self.options.disk.list(&self.folder);
        let doing = || format!("cannot list {}", self.folder.display());
        let names = names.map_err(|e| explained(doing(), e))?;
        let ending = |ending: &'static str| move |name: &String| Bucket::new(name.strip_suffix(ending)?).ok();
        let mut buckets: BTreeSet<Bucket> = names.iter().filter_map(ending(".yaml")).collect();
        let known = self.buckets.used.read().keys().cloned().collect::<Vec<_>>();
        let others = names.iter().filter_map(ending(".lock")).chain(known).filter(|name| !buckets.contains(name));
        let vanished: Vec<Bucket> = others.filter(|bucket| self.has_vanished(bucket)).collect();
        buckets.extend(vanished);
        Ok(buckets.into_iter().collect())
    }

    async fn upkeep(&self, bucket: &Bucket, task: Task) -> Result<Report> {
        let (store, name) = (self.clone(), bucket.clone());
        let work = move || {
            if task == Task::Status {
                return store.status(&name);
            }
            let Some(bucket) = store.existing(&name)? else { return Ok(Report::default()) };
            match task {
                Task::Compact => bucket.compact_patiently(Order::Kept),
                Task::PurgeExpired => bucket.purge(),
                Task::Sweep => bucket.sweep(),
                Task::Check | Task::Status => bucket.check(),
            }
        };
        blocked(work).await
    }
}

/// Does what may take long where it holds up nobody.
async fn blocked(work: impl FnOnce() -> Result<Report> + Send + 'static) -> Result<Report> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::new(crate::model::Kind::Failed, "upkeep ended early").because(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_nothing_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = YamlStore::open(folder.path(), Options::default()).unwrap();
        let waiting = store.bucket(&Bucket::new("waiting").unwrap());
        for n in 0..1000 {
            store.bucket(&Bucket::new(&format!("b{n}")).unwrap());
        }
        assert!(store.buckets.used.read().len() < 30);
        assert!(Arc::ptr_eq(&waiting, &store.bucket(&Bucket::new("waiting").unwrap())));
    }

    #[tokio::test]
    async fn purging_leaves_the_file_alone_if_nothing_has_expired() {
        use std::os::unix::fs::MetadataExt;

        use crate::model::{ContentType, Write};
        use crate::store::suite::TestClock;

        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let store = YamlStore::open(folder.path(), Options { clock: clock.clone(), ..Options::default() }).unwrap();
        let bucket = Bucket::default();
        for expires in [None, Some(clock.now().plus(Duration::from_secs(9)))] {
            let (key, content_type) = (Key::new("a").unwrap(), ContentType::default());
            let write = Write::Put { key, value: "1".into(), content_type, expires, modified: None };
            store.apply(&bucket, Batch::of(vec![write])).await.unwrap();
        }
        let inode = || std::fs::metadata(folder.path().join("default.yaml")).unwrap().ino();
        let before = inode();
        let report = store.upkeep(&bucket, Task::PurgeExpired).await.unwrap();
        assert_eq!((report.entries, report.removed, inode()), (1, 0, before));
        assert!(report.bytes_after > 0 && report.bytes_before == report.bytes_after);
        clock.advance(Duration::from_secs(9));
        let report = store.upkeep(&bucket, Task::PurgeExpired).await.unwrap();
        assert_eq!((report.entries, report.removed), (0, 1));
        assert_ne!(inode(), before);
    }
}
