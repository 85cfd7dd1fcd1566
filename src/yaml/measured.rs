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
        for bucket in self.logs.buckets()? {
            self.logs.add_sizes(&bucket, &mut sizes)?;
            if buckets.binary_search(&bucket).is_err() {
                // Its problems are not counted yet.
                sizes.damaged_files += self.problems_of(&bucket);
            }
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
            Ok(report) => {
                let is_damage = |severity| severity == Severity::Damage;
                report.findings.iter().filter(|finding| is_damage(finding.severity)).count() as u64
            }
            Err(_) => 1,
        }
    }
}
