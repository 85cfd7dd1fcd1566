//! A limit of open files: only the most recently used buckets have theirs open, and the others close theirs. So any
//! number of buckets can be used with few file descriptors.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::data_file::DataFile;

/// The files of a bucket. A thread that works on them locks the mutex.
pub(crate) type SharedFiles = Arc<Mutex<DataFile>>;

/// The buckets of a store whose files may be open.
pub(crate) struct OpenFiles {
    max_open: usize,
    /// The least recently used bucket is first.
    used: Mutex<VecDeque<Weak<Mutex<DataFile>>>>,
    compacting: AtomicUsize,
    /// The number of threads that wait for a bucket that others hold.
    pub(crate) waiting: AtomicUsize,
}

impl OpenFiles {
    /// At most `max_open` buckets have their files open.
    pub(crate) fn new(max_open: usize) -> Self {
        Self {
            max_open: max_open.max(1),
            used: Mutex::default(),
            compacting: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The number of buckets that the limit of the process allows: each has two open files, sometimes more.
    pub(crate) fn limit() -> usize {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        files.map_or(64, |files| usize::try_from(files / 16).unwrap_or(64).clamp(4, 64))
    }

    /// Admits this bucket, whose lock the caller holds, as the most recently used one, and closes the files of another
    /// bucket if needed. Returns false if all others are being worked on.
    pub(crate) fn admit(&self, files: &SharedFiles) -> bool {
        let mut used = self.used.lock();
        used.retain(|other| other.strong_count() > 0 && !is(other, files));
        while used.len() >= self.max_open {
            let Some(idle) = used.iter().position(close) else { return false };
            used.remove(idle);
        }
        used.push_back(Arc::downgrade(files));
        true
    }

    /// Makes this bucket the first to close its files, because it is blocked at present.
    pub(crate) fn demote(&self, files: &SharedFiles) {
        let mut used = self.used.lock();
        if let Some(at) = used.iter().position(|other| is(other, files))
            && let Some(found) = used.remove(at)
        {
            used.push_front(found);
        }
    }

    /// A permit to compact in the background, which needs more open files. `None` if several buckets are compacted
    /// already.
    pub(crate) fn compaction_permit(self: &Arc<Self>) -> Option<CompactionPermit> {
        let max_compactions = self.max_open.div_ceil(8);
        let next = |n| (n < max_compactions).then_some(n + 1);
        let started = self.compacting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        started.ok().map(|_| CompactionPermit(Arc::clone(self)))
    }
}

fn is(other: &Weak<Mutex<DataFile>>, files: &SharedFiles) -> bool {
    std::ptr::eq(other.as_ptr(), Arc::as_ptr(files))
}

/// Closes the files unless somebody works on them. Returns whether they are closed.
fn close(files: &Weak<Mutex<DataFile>>) -> bool {
    let Some(files) = files.upgrade() else { return true };
    files.try_lock().map(|mut files| files.close()).is_some()
}

/// A permit to compact, until dropped.
pub(crate) struct CompactionPermit(Arc<OpenFiles>);

impl Drop for CompactionPermit {
    fn drop(&mut self) {
        self.0.compacting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bucket;
    use crate::yaml::file::paths::BucketPaths;
    use crate::yaml::fs::RealFileSystem;

    fn files() -> SharedFiles {
        let paths = BucketPaths::new(std::path::Path::new("/nowhere"), &Bucket::default());
        Arc::new(Mutex::new(DataFile::new(paths, Arc::new(RealFileSystem), 0, Arc::default())))
    }

    #[test]
    fn recently_used_files_stay_open_and_busy_ones_are_not_closed() {
        let open_files = OpenFiles::new(2);
        let [first, second, third] = [files(), files(), files()];
        assert!(open_files.admit(&first) && open_files.admit(&second) && open_files.admit(&first));
        let listed = |files: &SharedFiles| open_files.used.lock().iter().any(|other| is(other, files));
        assert!(open_files.admit(&third));
        assert!(listed(&first) && !listed(&second) && listed(&third));
        let at_work = (first.lock(), third.lock());
        assert!(!open_files.admit(&second));
        drop(at_work);
        open_files.demote(&third);
        assert!(open_files.admit(&second));
        assert!(listed(&first) && listed(&second) && !listed(&third));
        drop(second);
        assert!(open_files.admit(&third) && listed(&first));
    }

    #[test]
    fn few_buckets_compact_at_once() {
        let open_files = Arc::new(OpenFiles::new(16));
        let first = open_files.compaction_permit();
        assert!(first.is_some());
        let second = open_files.compaction_permit();
        assert!(second.is_some() && open_files.compaction_permit().is_none());
        drop(first);
        assert!(open_files.compaction_permit().is_some());
    }
}
