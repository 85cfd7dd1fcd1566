//! The status of a bucket with its logs and blobs.

use super::file::refresh::had_data;
use super::store::YamlStore;
use crate::model::{Bucket, Result};
use crate::store::{Finding, Report, Severity};

impl YamlStore {
    /// The problems of a bucket, its logs and its blobs that a person must fix.
    pub(super) fn status_of(&self, bucket: &Bucket) -> Result<Report> {
        let had_data = self.buckets.used.read().values().any(|bucket| had_data(&bucket.state.read(), None));
        self.shared.folder.check(had_data)?;
        let known = self.known(bucket);
        let known = known.as_deref();
        let mut report = Report::default();
        let full = self.status.status(bucket, known, &mut report)?;
        let full = full.or(self.logs.status(bucket, &mut report)?);
        let folder = self.used_blobs(bucket).folder;
        let full = full.or(self.blob_status.status(&folder, known, &mut report)?);
        let Some(full) = full else { return Ok(report) };
        if report.findings.iter().all(|finding| finding.severity == Severity::Note) {
            return Err(full);
        }
        report.findings.push(Finding::new(Severity::Damage, full.to_string()));
        Ok(report)
    }
}
