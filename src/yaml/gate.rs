//! One waiter a bucket among all processes, for web servers that give each waiting request a process of its own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, File, Hold, Open, RealDisk};
use crate::model::Bucket;

/// Lets one in at a time, by the lock of the file `<bucket>.wait`.
#[derive(Clone)]
pub struct WaitGate {
    folder: PathBuf,
    /// The buckets that this process is in already.
    inside: Arc<Mutex<HashSet<Bucket>>>,
}

/// Leave to wait, until dropped.
pub struct Pass {
    bucket: Bucket,
    inside: Arc<Mutex<HashSet<Bucket>>>,
    _file: Box<dyn File>,
}

impl WaitGate {
    /// A gate for the buckets of a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), inside: Arc::default() }
    }

    /// Leave to wait for a bucket; none if another waits, or no lock can be had.
    #[must_use]
    pub fn enter(&self, bucket: &Bucket) -> Option<Pass> {
        let mut inside = self.inside.lock();
        if inside.contains(bucket) {
            return None;
        }
        let file = RealDisk.open(&self.folder.join(format!("{bucket}.wait")), Open::Create).ok()?;
        if !file.try_lock(Hold::Exclusive).ok()? {
            return None;
        }
        inside.insert(bucket.clone());
        Some(Pass { bucket: bucket.clone(), inside: Arc::clone(&self.inside), _file: file })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.inside.lock().remove(&self.bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_at_a_time_in_all_processes() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::default();
        let gates = [WaitGate::new(folder.path()), WaitGate::new(folder.path())];
        let pass = gates[0].enter(&bucket);
        assert!(pass.is_some() && gates[0].enter(&bucket).is_none() && gates[1].enter(&bucket).is_none());
        assert!(gates[1].enter(&Bucket::new("other").unwrap()).is_some());
        drop(pass);
        assert!(gates[1].enter(&bucket).is_some());
    }
}
