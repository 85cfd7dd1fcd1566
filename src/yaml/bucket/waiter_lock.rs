//! A lock among processes that admits one waiter for each bucket: for web servers that give each waiting request a
//! process of its own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::Bucket;
use crate::yaml::fs::RealFileSystem;
use crate::yaml::fs::{File, FileSystem, LockMode, OpenMode};

/// The name of the one lock for all buckets that have no file yet, so that random names do not fill the folder.
const NO_FILE_YET: &str = "_kvs";

/// Admits one waiter at a time, by a lock of the file `<bucket>.wait`.
#[derive(Clone)]
pub struct WaiterLock {
    folder: PathBuf,
    /// The locks that this process holds.
    locked: Arc<Mutex<HashSet<String>>>,
}

/// Permission to wait, until dropped.
pub struct WaiterGuard {
    name: String,
    locked: Arc<Mutex<HashSet<String>>>,
    _file: Box<dyn File>,
}

impl WaiterLock {
    /// The locks for the buckets of a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), locked: Arc::default() }
    }

    /// Permission to wait for a bucket; `None` if another waiter has it, or the lock file cannot be used.
    #[must_use]
    pub fn try_lock(&self, bucket: &Bucket) -> Option<WaiterGuard> {
        let has_file = RealFileSystem.stat(&self.folder.join(format!("{bucket}.yaml"))).ok()?.is_some();
        let name = if has_file { bucket.to_string() } else { NO_FILE_YET.to_owned() };
        let mut locked = self.locked.lock();
        if locked.contains(&name) {
            return None;
        }
        let file = RealFileSystem.open(&self.folder.join(format!("{name}.wait")), OpenMode::Create).ok()?;
        if !file.try_lock(LockMode::Exclusive).ok()? {
            return None;
        }
        locked.insert(name.clone());
        Some(WaiterGuard { name, locked: Arc::clone(&self.locked), _file: file })
    }
}

impl Drop for WaiterGuard {
    fn drop(&mut self) {
        self.locked.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waiter_is_admitted_among_all_processes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["default", "other"] {
            RealFileSystem.open(&folder.path().join(format!("{name}.yaml")), OpenMode::Create).unwrap();
        }
        let bucket = Bucket::default();
        let gates = [WaiterLock::new(folder.path()), WaiterLock::new(folder.path())];
        let pass = gates[0].try_lock(&bucket);
        assert!(pass.is_some() && gates[0].try_lock(&bucket).is_none() && gates[1].try_lock(&bucket).is_none());
        assert!(gates[1].try_lock(&Bucket::new("other").unwrap()).is_some());
        drop(pass);
        assert!(gates[1].try_lock(&bucket).is_some());
    }

    #[test]
    fn missing_buckets_share_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        let gate = WaiterLock::new(folder.path());
        let pass = gate.try_lock(&Bucket::new("a").unwrap());
        assert!(pass.is_some() && gate.try_lock(&Bucket::new("b").unwrap()).is_none());
        drop(pass);
        assert!(gate.try_lock(&Bucket::new("b").unwrap()).is_some());
        assert_eq!(RealFileSystem.list(folder.path()).unwrap(), ["_kvs.wait"]);
    }
}
