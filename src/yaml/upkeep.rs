//! Upkeep besides compaction: looking a bucket over, and removing what interrupted work left behind.

use std::path::{Path, PathBuf};

use super::bucket::BucketStore;
use super::disk::{Hold, Open};
use super::mistakes::mistakes;
use super::status::OVERWRITTEN;
use super::{reader, stream};
use crate::model::Result;
use crate::store::{Finding, Report};

impl BucketStore {
    /// Reads the whole file and reports every document that cannot be read, a torn tail, and files left beside.
    pub(super) fn check(&self) -> Result<Report> {
        let failed = |e| self.place.failed("check", e);
        let mut report = Report::default();
        if self.options.disk.stat(&self.place.data).map_err(failed)?.is_some() {
            let held = self.turn(Hold::Shared)?;
            let data = self.options.disk.open(&self.place.data, Open::Read).map_err(failed)?;
            let stat = data.stat().map_err(failed)?;
            let bytes = data.read(0, stat.len).map_err(failed)?;
            let durable = held.durable(&stat, &bytes)?;
            drop(held);
            report.bytes_before = stat.len;
            report.bytes_after = stat.len;
            self.look_over(&bytes, durable, &mut report);
        }
        let mut left = self.left_behind()?;
        left.sort();
        for path in left {
            let torn = is_torn(&path);
            let text = if is_overwritten(&path) {
                OVERWRITTEN
            } else if torn {
                "a torn tail that was set aside; remove it when you have looked at it"
            } else {
                "left behind by interrupted work; `kvs sweep` removes it"
            };
            report.findings.push(Finding { file: Some(path), line: None, text: text.into(), harmless: true });
        }
        drop(self.current_now());
        let damage = self.image.read().damage.clone();
        for fault in damage.into_iter().flat_map(|damage| damage.faults).filter(|fault| fault.line == 0) {
            let file = Some(self.place.data.clone());
            report.findings.push(Finding { file, line: None, text: fault.text, harmless: false });
        }
        match self.current_now() {
            Ok(image) => {
                let now = self.options.clock.now();
                report.entries = image.entries.values().filter(|entry| entry.is_live(now)).count() as u64;
            }
            // What is wrong has been found above, or is told instead of what was found.
            Err(error) if report.findings.iter().all(|finding| finding.harmless) => return Err(error),
            Err(_) => {}
        }
        Ok(report)
    }

    fn look_over(&self, bytes: &[u8], durable: u64, report: &mut Report) {
        let cut = stream::cut(bytes, true);
        let mut found = |line: u64, text: String, harmless: bool| {
            let file = Some(self.place.data.clone());
            report.findings.push(Finding { file, line: Some(line), text, harmless });
        };
        for (n, piece) in cut.pieces.iter().enumerate() {
            if let Err(fault) = reader::read(piece) {
                for fault in mistakes(piece, fault) {
                    found(fault.line, fault.text, false);
                }
            }
            // In what is appended this is how kvs deletes.
            for (line, key) in if n == 0 { reader::deletions(piece) } else { Vec::new() } {
                let text =
                    format!("{key:?} has the value ~ or null, which deletes the key; for the empty text write \"\"");
                found(line, text, true);
            }
        }
        if let Some(fault) = stream::lost(bytes, &cut, durable) {
            found(fault.line, fault.text, false);
        } else if let Some(torn) = cut.torn {
            let line = 1 + stream::newlines(bytes.get(..torn).unwrap_or_default());
            let text = "an interrupted write, never acknowledged; the next write sets it aside";
            found(line, text.into(), true);
        }
    }

    /// The files beside the data file that belong to it.
    fn left_behind(&self) -> Result<Vec<PathBuf>> {
        let place = self.place.resolved(&*self.options.disk).map_err(|e| self.place.failed("look beside", e))?;
        let names = self.options.disk.list(&place.folder).map_err(|e| place.failed("look beside", e))?;
        let prefix = format!("{}.", place.data.file_name().unwrap_or_default().to_string_lossy());
        let ours = |name: &String| {
            name.strip_prefix(&prefix).is_some_and(|ending| {
                ending == "new"
                    || ending == "compact"
                    || ending == "last.new"
                    || ["torn-", "overwritten-"]
                        .iter()
                        .any(|kept| ending.strip_prefix(kept).is_some_and(|n| n.parse::<i64>().is_ok()))
            })
        };
        Ok(names.into_iter().filter(ours).map(|name| place.folder.join(name)).collect())
    }

    /// Removes unfinished files. Torn tails stay: they are for a person to look at.
    pub(super) fn sweep(&self) -> Result<Report> {
        let failed = |e| self.place.failed("sweep beside", e);
        let mut report = Report::default();
        let left = self.left_behind()?;
        if left.is_empty() {
            return Ok(report);
        }
        let _turn = self.turn(Hold::Exclusive)?;
        for path in left {
            // A compaction at work holds the lock of its file; under ours nobody writes the other one.
            let idle = || self.options.disk.open(&path, Open::Read)?.try_lock(Hold::Exclusive);
            if !is_torn(&path) && !is_overwritten(&path) && idle().map_err(failed)? {
                self.options.disk.remove(&path).map_err(failed)?;
                report.removed += 1;
            }
        }
        Ok(report)
    }
}

/// Whether it holds entries that somebody overwrote.
fn is_overwritten(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.to_string_lossy().starts_with("overwritten-"))
}

/// Whether it holds a torn tail: that is for a person to look at.
fn is_torn(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.to_string_lossy().starts_with("torn-"))
}
