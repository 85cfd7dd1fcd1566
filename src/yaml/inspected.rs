//! What was found in files, so that a file that has not changed is not inspected again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::fs::{FileSystem, Stat};
use crate::model::{Bucket, Result};

/// A file, and what was found in it.
pub(crate) struct InspectedFile<T> {
    pub(crate) path: PathBuf,
    /// `None` if it is missing.
    pub(crate) stat: Option<Stat>,
    /// Whether it did not change meanwhile.
    pub(crate) is_settled: bool,
    pub(crate) found: T,
}

/// The states of the files of each bucket, and what was found in them.
pub(crate) struct Inspected<T>(Mutex<HashMap<Bucket, Files<T>>>);

type Files<T> = HashMap<PathBuf, (Stat, T)>;

impl<T> Default for Inspected<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Inspected<T> {
    /// Inspects these files of a bucket. What is known of other files of the bucket is forgotten.
    ///
    /// # Errors
    /// Those of `inspect`.
    pub(crate) fn inspect(
        &self,
        fs: &dyn FileSystem,
        bucket: &Bucket,
        files: impl IntoIterator<Item = PathBuf>,
        mut inspect: impl FnMut(&Path) -> Result<T>,
    ) -> Result<Vec<InspectedFile<T>>> {
        let mut known = self.0.lock().remove(bucket).unwrap_or_default();
        let (mut seen, mut inspected) = (Files::new(), vec![]);
        for path in files {
            let stat = fs.stat(&path).ok().flatten();
            let found = match (known.remove(&path), stat) {
                (Some((then, found)), Some(now)) if then == now => found,
                _ => inspect(&path)?,
            };
            let is_settled = fs.stat(&path).ok().flatten() == stat;
            if let Some(stat) = stat.filter(|_| is_settled) {
                seen.insert(path.clone(), (stat, found.clone()));
            }
            inspected.push(InspectedFile { path, stat, is_settled, found });
        }
        if !seen.is_empty() {
            self.0.lock().insert(bucket.clone(), seen);
        }
        Ok(inspected)
    }
}
