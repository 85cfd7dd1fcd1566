//! Editing a bucket by hand: the text for the editor, and saving the edited text.
//!
//! If the file can be read, only what the person changed is written, unless somebody else wrote the same keys
//! meanwhile. Then the file gets the comments, the order and the spelling of the person's text. If the file is corrupt,
//! the person edits the file itself, and it is replaced as a whole once it can be read.

use super::bucket_store::BucketStore;
use crate::model::{Batch, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Write};
use crate::store::{Entries, Store};
use crate::yaml::blocking::blocking;
use crate::yaml::file::rewrite::Replacement;
use crate::yaml::format::at_rest;
use crate::yaml::format::at_rest::FileContents;
use crate::yaml::format::import_export::read_text;
use crate::yaml::format::parsed::ParsedEntry;
use crate::yaml::fs::{FileBytes, LockMode, OpenMode, Stat};

/// An edit of a bucket: the text that was shown, and what the bucket was then.
#[derive(Clone, Debug)]
pub struct EditSession {
    /// The text to edit.
    pub text: String,
    base: EditBase,
}

#[derive(Clone, Debug)]
enum EditBase {
    Sound(Entries),
    Damaged(Option<Stat>),
}

/// A key that both the person and somebody else changed during an edit.
#[derive(Clone, PartialEq, Debug)]
pub struct EditConflict {
    /// The key that both changed.
    pub key: Key,
    /// The entry that somebody else wrote; `None` if they deleted it.
    pub theirs: Option<Entry>,
}

impl EditSession {
    /// The keys that were changed differently in `text`, the edited text of this session, and in `now`, a later
    /// session.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read.
    pub fn conflicts(&self, now: &Self, text: &str) -> Result<Vec<EditConflict>> {
        let (EditBase::Sound(base), EditBase::Sound(now)) = (&self.base, &now.base) else { return Ok(Vec::new()) };
        let changes = Changes::of(base, read_text(text)?);
        let theirs = |key: &Key| (base.view(key) != now.view(key)).then(|| now.get(key));
        let conflict = |key: &Key, mine: Option<&ParsedEntry>| {
            let theirs = theirs(key).filter(|theirs| !is_same(theirs.as_ref(), mine))?;
            Some(EditConflict { key: key.clone(), theirs })
        };
        let written = changes.written.iter().filter_map(|(key, parsed)| conflict(key, Some(parsed)));
        Ok(written.chain(changes.deleted.iter().filter_map(|key| conflict(key, None))).collect())
    }

    /// Accepts what `now` shows for the keys that `text` changes: saving `text` then overwrites them.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read.
    pub fn resolve(&mut self, now: &Self, text: &str) -> Result<()> {
        let (EditBase::Sound(base), EditBase::Sound(now)) = (&mut self.base, &now.base) else { return Ok(()) };
        let Changes { written, deleted } = Changes::of(base, read_text(text)?);
        for key in written.into_iter().map(|(key, _)| key).chain(deleted) {
            match now.get(&key) {
                Some(entry) => base.insert(key, entry),
                None => base.remove(&key),
            };
        }
        Ok(())
    }
}

/// The changes of the person.
struct Changes {
    written: Vec<(Key, ParsedEntry)>,
    deleted: Vec<Key>,
}

impl Changes {
    fn of(base: &Entries, new: Vec<(Key, ParsedEntry)>) -> Self {
        let new_keys: std::collections::HashSet<Key> = new.iter().map(|(key, _)| key.clone()).collect();
        let deleted = base.iter().filter(|view| !new_keys.contains(view.key)).map(|view| view.to_key()).collect();
        let written = new.into_iter().filter(|(key, parsed)| !is_same(base.get(key).as_ref(), Some(parsed))).collect();
        Self { written, deleted }
    }
}

/// Whether the text gives the same entry.
fn is_same(entry: Option<&Entry>, parsed: Option<&ParsedEntry>) -> bool {
    match (entry, parsed) {
        (None, None) => true,
        (Some(entry), Some(parsed)) => {
            entry.value == parsed.value
                && entry.content_type == parsed.content_type
                && entry.expires == parsed.expires
                && parsed.ttl.is_none()
                && (parsed.modified.is_none() && parsed.updated.is_none() || entry.modified == parsed.modified)
        }
        _ => false,
    }
}

/// The number of changes that saving an edit made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EditSummary {
    /// The number of written entries.
    pub written: usize,
    /// The number of deleted entries.
    pub deleted: usize,
}

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
                    return Ok(EditSession { text, base: EditBase::Sound(entries) });
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
        Ok(EditSession { text, base: EditBase::Damaged(stat) })
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
                let done = self.write_changes(layer, base, new).await?;
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

    async fn write_changes(
        &self,
        layer: &dyn Store,
        base: &Entries,
        new: Vec<(Key, ParsedEntry)>,
    ) -> Result<EditSummary> {
        let mut batch = Batch::default();
        let Changes { written, deleted } = Changes::of(base, new);
        let done = EditSummary { written: written.len(), deleted: deleted.len() };
        if written.is_empty() && deleted.is_empty() {
            return Ok(done);
        }
        let now = self.options.clock.now();
        for (key, parsed) in written {
            let old = base.get(&key);
            batch.expectations.push(Expectation::unchanged(key.clone(), old.as_ref()));
            // kvs itself set such a time, not a client, to guard the write before.
            let own_time = old.and_then(|old| old.ahead_of(old.updated()));
            batch.writes.push(Write::Put {
                key,
                value: parsed.value,
                content_type: parsed.content_type,
                expires: parsed.ttl.map_or(parsed.expires, |ttl| Some(now.plus(ttl))),
                modified: parsed.modified.filter(|modified| own_time != Some(*modified)),
            });
        }
        for key in deleted {
            batch.expectations.push(Expectation::unchanged(key.clone(), base.get(&key).as_ref()));
            batch.writes.push(Write::Delete { key });
        }
        let keys: Vec<Key> = batch.expectations.iter().map(|e| e.key.clone()).collect();
        match layer.apply(&self.paths.bucket, batch).await? {
            Outcome::Committed { .. } => Ok(done),
            Outcome::PreconditionFailed { index, .. } => {
                let key = keys.get(index).map(ToString::to_string).unwrap_or_default();
                Err(Error::new(
                    ErrorKind::Busy,
                    format!("{key:?} was changed by somebody else while you were editing; edit it again"),
                ))
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
