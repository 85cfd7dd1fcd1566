//! What the metrics say about a store of files.

use async_trait::async_trait;

use super::file::paths::BucketPaths;
use super::store::{YamlStore, run_blocking};
use crate::model::{Bucket, Result};
use crate::store::{Measured, Measurements, Severity, Sizes};

#[async_trait]
impl Measured for YamlStore {
    fn measurements(&self) -> &Measurements {
        &self.shared.measurements
    }

    async fn sizes(&self) -> Result<Sizes> {
        let store = self.clone();
        run_blocking(move || store.sizes_now()).await
    }
}

impl YamlStore {
    fn sizes_now(&self) -> Result<Sizes> {
        let mut sizes = Sizes::default();
        let buckets = self.list()?;
        for bucket in buckets.iter().filter(|bucket| !bucket.is_reserved()) {
            sizes.buckets += 1;
            self.add_bucket(bucket, &mut sizes);
        }
        match self.logs.buckets() {
            Ok(with_logs) => {
                self.logs.add_sizes(&with_logs, &mut sizes);
                // Those that have nothing else.
                let others = with_logs.iter().filter(|bucket| buckets.binary_search(bucket).is_err());
                sizes.damaged_files += others.map(|bucket| self.problems_of(bucket)).sum::<u64>();
            }
            // The status of the bucket has this problem, too.
            Err(_) => sizes.damaged_files = sizes.damaged_files.max(1),
        }
        Ok(sizes)
    }

    fn add_bucket(&self, bucket: &Bucket, sizes: &mut Sizes) {
        if let Some(known) = self.known(bucket) {
            sizes.keys += known.state.read().entries.len() as u64;
        }
        let data = BucketPaths::new(&self.folder, bucket).data;
        // A file that cannot be inspected is one of the problems.
        sizes.data_bytes += self.options.file_system.stat(&data).ok().flatten().map_or(0, |stat| stat.len);
        self.used_blobs(bucket).folder.add_sizes(sizes);
        sizes.damaged_files += self.problems_of(bucket);
    }

    /// How many problems of a bucket, its logs and its blobs a person must fix.
    fn problems_of(&self, bucket: &Bucket) -> u64 {
        match self.status_of(bucket) {
            Ok(report) => report.findings.iter().filter(|finding| finding.severity == Severity::Damage).count() as u64,
            Err(_) => 1,
        }
    }
}
