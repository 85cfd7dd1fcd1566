//! Which buckets have their files open: those used last. All others close theirs, so that any number of buckets can be used
//! with few descriptors.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::file::DataFile;

/// The files of a bucket: locked by whoever works on them.
pub(super) type Files = Arc<Mutex<DataFile>>;

/// The buckets of a store whose files may be open.
pub(super) struct Opened {
    most: usize,
    /// Whoever is to close first comes first.
    used: Mutex<VecDeque<Weak<Mutex<DataFile>>>>,
    compacting: AtomicUsize,
    /// How many wait for a bucket that others hold.
    pub(super) waiting: AtomicUsize,
}

impl Opened {
    /// At most so many buckets have their files open.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            used: Mutex::default(),
            compacting: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// So many buckets as the limit of the process allows: each has two files open, and some more now and then.
    pub(super) fn limit() -> usize {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        files.map_or(64, |files| usize::try_from(files / 16).unwrap_or(64).clamp(4, 64))
    }

    /// Lets the files of this bucket be open, whose lock the caller holds, as those used last, and closes those of another
    /// bucket for it. False: all the others are at work.
    pub(super) fn admit(&self, files: &Files) -> bool {
        let mut used = self.used.lock();
        used.retain(|other| other.strong_count() > 0 && !is(other, files));
        while used.len() >= self.most {
            let Some(idle) = used.iter().position(close) else { return false };
            used.remove(idle);
        }
        used.push_back(Arc::downgrade(files));
        true
    }

    /// Has this bucket close its files before all others: it does not get on at present.
    pub(super) fn demote(&self, files: &Files) {
        let mut used = self.used.lock();
        if let Some(at) = used.iter().position(|other| is(other, files))
            && let Some(found) = used.remove(at)
        {
            used.push_front(found);
        }
    }

    /// Leave to compact in the background, which needs more open files; none if several buckets do so.
    pub(super) fn compact(self: &Arc<Self>) -> Option<Compacting> {
        let most = self.most.div_ceil(8);
        let begun = self.compacting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < most).then_some(n + 1));
        begun.ok().map(|_| Compacting(Arc::clone(self)))
    }
}

fn is(other: &Weak<Mutex<DataFile>>, files: &Files) -> bool {
    std::ptr::eq(other.as_ptr(), Arc::as_ptr(files))
}

/// Closes the files if nobody works on them; whether they are closed.
fn close(files: &Weak<Mutex<DataFile>>) -> bool {
    let Some(files) = files.upgrade() else { return true };
    files.try_lock().map(|mut files| files.close()).is_some()
}

/// Leave to compact, until dropped.
pub(super) struct Compacting(Arc<Opened>);

impl Drop for Compacting {
    fn drop(&mut self) {
        self.0.compacting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Bucket;
    use crate::yaml::disk::RealDisk;
    use crate::yaml::place::Place;

    fn files() -> Files {
        let place = Place::new(std::path::Path::new("/nowhere"), &Bucket::default());
        Arc::new(Mutex::new(DataFile::new(place, Arc::new(RealDisk), 0)))
    }

    #[test]
    fn those_used_last_stay_open_and_those_at_work_are_left_alone() {
        let opened = Opened::new(2);
        let [first, second, third] = [files(), files(), files()];
        assert!(opened.admit(&first) && opened.admit(&second) && opened.admit(&first));
        let listed = |files: &Files| opened.used.lock().iter().any(|other| is(other, files));
        assert!(opened.admit(&third));
        assert!(listed(&first) && !listed(&second) && listed(&third));
        let at_work = (first.lock(), third.lock());
        assert!(!opened.admit(&second));
        drop(at_work);
        opened.demote(&third);
        assert!(opened.admit(&second));
        assert!(listed(&first) && listed(&second) && !listed(&third));
        drop(second);
        assert!(opened.admit(&third) && listed(&first));
    }

    #[test]
    fn few_compact_at_once() {
        let opened = Arc::new(Opened::new(16));
        let first = opened.compact();
        assert!(first.is_some());
        let second = opened.compact();
        assert!(second.is_some() && opened.compact().is_none());
        drop(first);
        assert!(opened.compact().is_some());
    }
}
