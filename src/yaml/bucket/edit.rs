//! Editing the file of a bucket by hand. After the changes are written, the file gets the comments, the order and the
//! spelling of the person's text. If the file is corrupt, the person edits the file itself, and it is replaced as a
//! whole once it can be read.

use std::collections::HashSet;

use super::bucket_store::BucketStore;
use crate::model::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::yaml::blocking::blocking;
use crate::yaml::edit_session::{EditBase, EditSession, EditSummary, EditedEntries};
use crate::yaml::file::rewrite::Replacement;
use crate::yaml::format::at_rest;
use crate::yaml::format::at_rest::FileContents;
use crate::yaml::format::import_export::read_text;
use crate::yaml::fs::{FileBytes, LockMode, OpenMode, Stat};

impl BucketStore {
    pub(crate) fn begin_edit(&self) -> Result<EditSession> {
        let known_stat = match self.current_now() {
            Ok(state) => {
                if let (Some(damage), None) = (&state.damage, state.stat) {
                    return Err(self.corrupt_error(damage));
                }
                if state.damage.is_none() {
                    let now = self.options.clock.now();
                    let mut entries = state.entries.clone();
                    let revision = state.revision;
                    drop(state);
                    entries.retain(|view| view.is_live(now));
                    let text = self.text(&FileContents {
                        bucket: &self.paths.bucket,
                        entries: &entries,
                        revision,
                        now,
                        has_copy: true,
                    })?;
                    return Ok(EditSession { text, base: EditBase::Sound(entries), hidden: HashSet::new() });
                }
                state.stat
            }
            Err(error) if error.kind() == ErrorKind::Corrupt && self.state.read().stat.is_none() => return Err(error),
            Err(error) if error.kind() == ErrorKind::Corrupt => self.state.read().stat,
            Err(error) => return Err(error),
        };
        let failed = |e| self.paths.failed("read", e);
        let file = self.options.file_system.open(&self.paths.data, OpenMode::Read).map_err(failed)?;
        let stat = match known_stat {
            None => Some(file.stat().map_err(failed)?),
            known => known,
        };
        let bytes = file.read(0, stat.map_or(0, |s| s.len)).map_err(failed)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let text = format!("{} is not UTF-8; fix it with a hex editor", self.paths.data.display());
            Error::new(ErrorKind::Corrupt, text).with_source(e)
        })?;
        let text = text.to_owned();
        Ok(EditSession { text, base: EditBase::Damaged(stat), hidden: HashSet::new() })
    }

    /// The text that the file would have at rest with these contents.
    fn text(&self, contents: &FileContents<'_>) -> Result<String> {
        let failed = |e| self.paths.failed("read", e);
        let bytes = match self.options.file_system.stat(&self.paths.data).map_err(failed)? {
            Some(stat) => {
                let file = self.options.file_system.open(&self.paths.data, OpenMode::Read).map_err(failed)?;
                let committed = self.files.lock().known.committed;
                file.read(0, stat.len.min(committed)).map_err(failed)?
            }
            None => FileBytes::default(),
        };
        // A file that is being changed at this moment is shown in the order of its keys.
        let text = if bytes.is_empty() { Err(()) } else { at_rest::tidied(&bytes, contents).map_err(drop) };
        String::from_utf8(text.unwrap_or_else(|()| at_rest::fresh(contents)))
            .map_err(|e| Error::new(ErrorKind::Corrupt, "the file is not UTF-8").with_source(e))
    }

    /// Gives the file the lines of the person's text, where they still match its entries.
    fn write_layout(&self, text: &str) -> Result<()> {
        let failed = |e| self.paths.failed("write the comments and the order of", e);
        let mut file = self.lock_files(LockMode::Exclusive)?;
        file.refresh(&self.state)?;
        file.prepare(&self.state, &*self.options.clock)?;
        let (bucket, now) = (&self.paths.bucket, self.options.clock.now());
        let laid_out = {
            let state = self.state.read();
            let (revision, has_copy) = (state.revision, file.can_have_copy());
            at_rest::tidied(text.as_bytes(), &FileContents { bucket, entries: &state.entries, revision, now, has_copy })
        };
        let text = laid_out.map_err(|error| Error::new(ErrorKind::Invalid, error.text))?;
        let path = file.paths.side_path("new");
        let new = file.write_side_file(&path, &text).map_err(failed)?;
        let snapshot = text.len() as u64;
        let written = Replacement { path: &path, snapshot, mark: at_rest::mark(&text), is_tidy: true, is_plain: false };
        file.replace(&new, &written, Some(&self.state))?;
        self.state.write().stat = file.known.stat;
        Ok(())
    }

    pub(crate) async fn save_edit(&self, layer: &dyn Store, session: &EditSession, text: &str) -> Result<EditSummary> {
        let new = read_text(text)?;
        match &session.base {
            EditBase::Sound(base) => {
                let edited = EditedEntries { base, new, now: self.options.clock.now() };
                let done = edited.write(layer, &self.paths.bucket).await?;
                if let Err(error) = blocking(|| self.write_layout(text)) {
                    tracing::warn!(
                        "bucket {}: the entries are stored, but not the comments and the order of the text: {error}",
                        self.paths.bucket
                    );
                }
                Ok(done)
            }
            EditBase::Damaged(stat) => {
                self.write_whole(*stat, text).map(|()| EditSummary { written: new.len(), deleted: 0 })
            }
        }
    }

    /// Replaces a corrupt file, if it is still the one that was shown.
    fn write_whole(&self, base: Option<Stat>, text: &str) -> Result<()> {
        let failed = |e| self.paths.failed("replace", e);
        let mut file = self.lock_files(LockMode::Exclusive)?;
        if self.options.file_system.stat(&self.paths.data).map_err(failed)? != base {
            return Err(self.busy("its file was changed by somebody else while you were editing; edit it again"));
        }
        // The person may still want what they removed.
        let old = self.options.file_system.open(&self.paths.data, OpenMode::Read).map_err(failed)?;
        file.keep_from(&*old, 0, self.options.clock.now()).map_err(failed)?;
        let path = file.paths.side_path("new");
        let new = file.write_side_file(&path, text.as_bytes()).map_err(failed)?;
        file.known.stat = base;
        let written = Replacement { path: &path, snapshot: 0, mark: b"", is_tidy: false, is_plain: false };
        file.replace(&new, &written, None)?;
        drop(file);
        self.current_now().map(drop)
    }
}
