//! What was found in files, so that a file that has not changed is not inspected again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::fs::{FileSystem, Stat};
use crate::model::{Bucket, Result};

/// A problem of a file, and the file.
pub(crate) type Problem = (PathBuf, String);

/// The states of the files of each bucket, and what was wrong with them.
#[derive(Default, Debug)]
pub(crate) struct Inspected(Mutex<HashMap<Bucket, Files>>);

type Files = HashMap<PathBuf, (Stat, Option<String>)>;

impl Inspected {
    /// The problems of these files of a bucket. What is known of other files of the bucket is forgotten.
    ///
    /// # Errors
    /// Those of `inspect`.
    pub(crate) fn problems(
        &self,
        fs: &dyn FileSystem,
        bucket: &Bucket,
        files: impl IntoIterator<Item = PathBuf>,
        mut inspect: impl FnMut(&Path) -> Result<Option<String>>,
    ) -> Result<Vec<Problem>> {
        let mut known = self.0.lock().remove(bucket).unwrap_or_default();
        let (mut seen, mut problems) = (Files::new(), vec![]);
        for path in files {
            let stat = fs.stat(&path).ok().flatten();
            let found = match (known.remove(&path), stat) {
                (Some((then, found)), Some(now)) if then == now => found,
                _ => inspect(&path)?,
            };
            let after = fs.stat(&path).ok().flatten();
            problems.extend(found.clone().filter(|_| after == stat).map(|text| (path.clone(), text)));
            if let Some(stat) = stat.filter(|stat| after == Some(*stat)) {
                seen.insert(path, (stat, found));
            }
        }
        if !seen.is_empty() {
            self.0.lock().insert(bucket.clone(), seen);
        }
        Ok(problems)
    }
}
