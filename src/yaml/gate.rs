//! One waiter a bucket among all processes, for web servers that give each waiting request a process of its own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, File, Hold, Open, RealDisk};
use crate::model::Bucket;

/// The gate of all buckets that have no file yet: names at random must not fill the folder.
const NOT_YET: &str = "_kvs";

/// Lets one in at a time, by the lock of the file `<bucket>.wait`.
#[derive(Clone)]
pub struct WaitGate {
    folder: PathBuf,
    /// The gates that this process is in already.
    inside: Arc<Mutex<HashSet<String>>>,
}

/// Leave to wait, until dropped.
pub struct Pass {
    name: String,
    inside: Arc<Mutex<HashSet<String>>>,
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
        let there = RealDisk.stat(&self.folder.join(format!("{bucket}.yaml"))).ok()?.is_some();
        let name = if there { bucket.to_string() } else { NOT_YET.to_owned() };
        let mut inside = self.inside.lock();
        if inside.contains(&name) {
            return None;
        }
        let file = RealDisk.open(&self.folder.join(format!("{name}.wait")), Open::Create).ok()?;
        if !file.try_lock(Hold::Exclusive).ok()? {
            return None;
        }
        inside.insert(name.clone());
        Some(Pass { name, inside: Arc::clone(&self.inside), _file: file })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.inside.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_at_a_time_in_all_processes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["default", "other"] {
            RealDisk.open(&folder.path().join(format!("{name}.yaml")), Open::Create).unwrap();
        }
        let bucket = Bucket::default();
        let gates = [WaitGate::new(folder.path()), WaitGate::new(folder.path())];
        let pass = gates[0].enter(&bucket);
        assert!(pass.is_some() && gates[0].enter(&bucket).is_none() && gates[1].enter(&bucket).is_none());
        assert!(gates[1].enter(&Bucket::new("other").unwrap()).is_some());
        drop(pass);
        assert!(gates[1].enter(&bucket).is_some());
    }

    #[test]
    fn buckets_that_are_not_there_share_one_gate() {
        let folder = tempfile::tempdir().unwrap();
        let gate = WaitGate::new(folder.path());
        let pass = gate.enter(&Bucket::new("a").unwrap());
        assert!(pass.is_some() && gate.enter(&Bucket::new("b").unwrap()).is_none());
        drop(pass);
        assert!(gate.enter(&Bucket::new("b").unwrap()).is_some());
        assert_eq!(RealDisk.list(folder.path()).unwrap(), ["_kvs.wait"]);
    }
}
