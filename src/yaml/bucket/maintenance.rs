//! Maintenance other than compaction: checking a bucket, and removing the leftovers of interrupted work.

use std::io;
use std::path::{Path, PathBuf};

use super::bucket_store::BucketStore;
use super::status::OVERWRITTEN;
use crate::model::Result;
use crate::store::{Finding, Report, Severity};
use crate::yaml::format::whole_file::{documents, torn_stored_data};
use crate::yaml::format::{reader, stream};
use crate::yaml::fs::{LockMode, OpenMode};

impl BucketStore {
    /// Checks the whole file. Reports each mistake in it, a torn tail, and leftover files next to it.
    pub(crate) fn check(&self) -> Result<Report> {
        let failed = |e| self.paths.failed("check", e);
        let mut report = Report::default();
        if self.options.file_system.stat(&self.paths.data).map_err(failed)?.is_some() {
            let mut locked = self.lock_files(LockMode::Shared)?;
            // An error is returned below, unless damage is found.
            let loaded = locked.refresh_reading(&self.state).unwrap_or_default();
            let (stat, bytes) = if let (Some(bytes), Some(stat)) = (loaded, locked.known.stat) {
                (stat, bytes)
            } else {
                let data = self.options.file_system.open(&self.paths.data, OpenMode::Read).map_err(failed)?;
                let stat = data.stat().map_err(failed)?;
                (stat, data.read(0, stat.len).map_err(failed)?)
            };
            let durable = locked.durable(&stat, &bytes)?;
            drop(locked);
            report.bytes_before = stat.len;
            report.bytes_after = stat.len;
            self.check_text(&bytes, durable, &mut report);
        }
        let mut leftovers = self.leftovers()?;
        leftovers.sort();
        for path in leftovers {
            let torn = is_torn(&path);
            let text = if is_overwritten(&path) {
                OVERWRITTEN
            } else if torn {
                "a torn tail that was set aside; look at it, then remove it"
            } else {
                "a leftover of interrupted work; `kvs sweep` removes it"
            };
            report.findings.push(Finding { file: Some(path), line: None, text: text.into(), severity: Severity::Note });
        }
        drop(self.current_now());
        let damage = self.state.read().damage.clone();
        for error in damage.into_iter().flat_map(|damage| damage.errors).filter(|error| error.line == 0) {
            let file = Some(self.paths.data.clone());
            report.findings.push(Finding { file, line: None, text: error.text, severity: Severity::Damage });
        }
        match self.current_now() {
            Ok(state) => {
                let now = self.options.clock.now();
                report.entries = state.entries.iter().filter(|view| view.is_live(now)).count() as u64;
            }
            // If there was damage, it has been reported above.
            Err(error) if report.findings.iter().all(|finding| finding.severity == Severity::Note) => {
                return Err(error);
            }
            Err(_) => {}
        }
        Ok(report)
    }

    fn check_text(&self, bytes: &[u8], durable: u64, report: &mut Report) {
        let stream = stream::split(bytes);
        let mut found = |line: u64, text: String, severity: Severity| {
            let file = Some(self.paths.data.clone());
            report.findings.push(Finding { file, line: Some(line), text, severity });
        };
        // In appended documents this is how kvs deletes.
        for (line, key) in stream.documents.first().map(reader::deletions).unwrap_or_default() {
            let text = format!("{key:?} has the value ~ or null, which deletes the key; for an empty text write \"\"");
            found(line, text, Severity::Note);
        }
        for error in documents(&stream).1 {
            found(error.line, error.text, Severity::Damage);
        }
        if let Some(error) = torn_stored_data(bytes, &stream, durable) {
            found(error.line, error.text, Severity::Damage);
        } else if let Some(torn) = stream.torn {
            let line = 1 + stream::newlines(bytes.get(..torn).unwrap_or_default());
            let text = "an interrupted write, which was never acknowledged; the next write sets it aside";
            found(line, text.into(), Severity::Note);
        }
    }

    /// The leftover files next to the data file.
    fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let paths = self
            .paths
            .resolved(&*self.options.file_system)
            .map_err(|e| self.paths.failed("list the files next to", e))?;
        let names =
            self.options.file_system.list(&paths.folder).map_err(|e| paths.failed("list the files next to", e))?;
        let prefix = format!("{}.", paths.data.file_name().unwrap_or_default().to_string_lossy());
        let is_leftover = |name: &String| {
            name.strip_prefix(&prefix).is_some_and(|ending| {
                ending == "new"
                    || ending == "compact"
                    || ending == "last.new"
                    || ["torn-", "overwritten-"]
                        .iter()
                        .any(|kept| ending.strip_prefix(kept).is_some_and(|n| n.parse::<i64>().is_ok()))
            })
        };
        Ok(names.into_iter().filter(is_leftover).map(|name| paths.folder.join(name)).collect())
    }

    /// Removes unfinished files. Torn tails and overwritten entries stay for a person to look at.
    pub(crate) fn remove_leftovers(&self) -> Result<Report> {
        let failed = |e| self.paths.failed("remove leftovers next to", e);
        let mut report = Report::default();
        let leftovers = self.leftovers()?;
        if leftovers.is_empty() {
            return Ok(report);
        }
        let _turn = self.lock_files(LockMode::Exclusive)?;
        for path in leftovers {
            if is_torn(&path) || is_overwritten(&path) {
                continue;
            }
            match self.remove_unless_locked(&path) {
                Ok(is_removed) => report.removed += u64::from(is_removed),
                // Its owner has finished meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(report)
    }

    /// Removes an unfinished file, and returns whether it did. A running compaction holds the lock of its file; the lock
    /// of the bucket, which the caller has, excludes all other writers of such files.
    fn remove_unless_locked(&self, path: &Path) -> io::Result<bool> {
        let file_system = &self.options.file_system;
        if !file_system.open(path, OpenMode::Read)?.try_lock(LockMode::Exclusive)? {
            return Ok(false);
        }
        file_system.remove(path)?;
        Ok(true)
    }
}

/// Whether the file has entries that somebody overwrote.
fn is_overwritten(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.to_string_lossy().starts_with("overwritten-"))
}

/// Whether the file has a torn tail.
fn is_torn(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.to_string_lossy().starts_with("torn-"))
}
