//! Editing a bucket by hand, safely: its text for a person, and taking it back.
//!
//! Of a sound bucket only what the person changed is written, if nobody else wrote the same keys meanwhile; then the file
//! gets the comments, the order and the spelling of the person's text. Of a damaged one the file itself is the draft, and is
//! replaced as a whole once it can be read.

use std::collections::BTreeMap;

use super::Given;
use super::bucket::BucketStore;
use super::disk::{Hold, Open, Stat};
use super::file::Written;
use super::rest::{self, Said};
use super::text::read_text;
use crate::model::{Batch, Condition, Entry, Error, Expectation, Key, Kind, Outcome, Result, Write};
use crate::store::Store;

/// A text for a person to edit.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The text.
    pub text: String,
    base: Base,
}

#[derive(Clone, Debug)]
enum Base {
    Sound(BTreeMap<Key, Entry>),
    Damaged(Option<Stat>),
}

/// A key that a person and somebody else have changed since a draft was made.
#[derive(Clone, PartialEq, Debug)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// What somebody else made of it; none: it is deleted.
    pub theirs: Option<Entry>,
}

impl Draft {
    /// The keys that both `text`, which a person made of this draft, and `now`, a later draft, have changed, each otherwise.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read.
    pub fn conflicts(&self, now: &Self, text: &str) -> Result<Vec<Conflict>> {
        let (Base::Sound(base), Base::Sound(now)) = (&self.base, &now.base) else { return Ok(Vec::new()) };
        let changes = Changes::of(base, read_text(text)?);
        let theirs = |key: &Key| (base.get(key) != now.get(key)).then(|| now.get(key).cloned());
        let conflict = |key: &Key, mine: Option<&Given>| {
            let theirs = theirs(key).filter(|theirs| !is_same(theirs.as_ref(), mine))?;
            Some(Conflict { key: key.clone(), theirs })
        };
        let written = changes.written.iter().filter_map(|(key, given)| conflict(key, Some(given)));
        Ok(written.chain(changes.deleted.iter().filter_map(|key| conflict(key, None))).collect())
    }

    /// From now on the person knows what `now` says of the keys that `text` changes, so that what the text says is wanted.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read.
    pub fn resolve(&mut self, now: &Self, text: &str) -> Result<()> {
        let (Base::Sound(base), Base::Sound(now)) = (&mut self.base, &now.base) else { return Ok(()) };
        let Changes { written, deleted } = Changes::of(base, read_text(text)?);
        for key in written.into_iter().map(|(key, _)| key).chain(deleted) {
            match now.get(&key) {
                Some(entry) => base.insert(key, entry.clone()),
                None => base.remove(&key),
            };
        }
        Ok(())
    }
}

/// What a person changed.
struct Changes {
    written: Vec<(Key, Given)>,
    deleted: Vec<Key>,
}

impl Changes {
    fn of(base: &BTreeMap<Key, Entry>, new: Vec<(Key, Given)>) -> Self {
        let kept: std::collections::HashSet<Key> = new.iter().map(|(key, _)| key.clone()).collect();
        let deleted = base.keys().filter(|key| !kept.contains(*key)).cloned().collect();
        let written = new.into_iter().filter(|(key, given)| !is_same(base.get(key), Some(given))).collect();
        Self { written, deleted }
    }
}

/// Whether a text says what the entry is.
fn is_same(entry: Option<&Entry>, given: Option<&Given>) -> bool {
    match (entry, given) {
        (None, None) => true,
        (Some(entry), Some(given)) => {
            entry.value == given.value
                && entry.content_type == given.content_type
                && entry.expires == given.expires
                && given.ttl.is_none()
                && (given.modified.is_none() && given.updated.is_none() || entry.modified == given.modified)
        }
        _ => false,
    }
}

/// What taking a draft back did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replaced {
    /// Entries written.
    pub written: usize,
    /// Entries deleted.
    pub deleted: usize,
}

impl BucketStore {
    pub(super) fn draft(&self) -> Result<Draft> {
        let damaged = match self.current_now() {
            Ok(image) => {
                if let (Some(damage), None) = (&image.damage, image.stat) {
                    return Err(self.damaged(damage));
                }
                if image.damage.is_none() {
                    let now = self.options.clock.now();
                    let live = image.entries.iter().filter(|(_, entry)| entry.is_live(now));
                    let entries: BTreeMap<_, _> = live.map(|(k, e)| (k.clone(), e.clone())).collect();
                    let revision = image.revision;
                    drop(image);
                    let text = self.text(&Said {
                        bucket: &self.place.bucket,
                        entries: &entries,
                        revision,
                        now,
                        has_copy: true,
                    })?;
                    return Ok(Draft { text, base: Base::Sound(entries) });
                }
                image.stat
            }
            Err(error) if error.kind() == Kind::Damaged && self.image.read().stat.is_none() => return Err(error),
            Err(error) if error.kind() == Kind::Damaged => self.image.read().stat,
            Err(error) => return Err(error),
        };
        let failed = |e| self.place.failed("read", e);
        let file = self.options.disk.open(&self.place.data, Open::Read).map_err(failed)?;
        let damaged = match damaged {
            None => Some(file.stat().map_err(failed)?),
            known => known,
        };
        let bytes = file.read(0, damaged.map_or(0, |s| s.len)).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            Error::new(Kind::Damaged, "the file is not UTF-8; mend it with an editor for bytes").because(e)
        })?;
        Ok(Draft { text, base: Base::Damaged(damaged) })
    }

    /// The text of the file at rest, if it says this.
    fn text(&self, said: &Said<'_>) -> Result<String> {
        let failed = |e| self.place.failed("read", e);
        let bytes = match self.options.disk.stat(&self.place.data).map_err(failed)? {
            Some(stat) => {
                let file = self.options.disk.open(&self.place.data, Open::Read).map_err(failed)?;
                let committed = self.file.lock().known.committed;
                file.read(0, stat.len.min(committed)).map_err(failed)?
            }
            None => Vec::new(),
        };
        // A file that is being changed at this moment is shown in the order of its keys.
        let text = if bytes.is_empty() { Err(()) } else { rest::tidied(&bytes, said).map_err(drop) };
        String::from_utf8(text.unwrap_or_else(|()| rest::fresh(said)))
            .map_err(|e| Error::new(Kind::Damaged, "the file is not UTF-8").because(e))
    }

    /// Gives the file the lines of a person's text, as far as it still says what they say.
    fn lay_out(&self, text: &str) -> Result<()> {
        let failed = |e| self.place.failed("write the comments and the order of", e);
        let mut file = self.turn(Hold::Exclusive)?;
        file.catch_up(&self.image)?;
        file.prepare(&self.image, &*self.options.clock)?;
        let (bucket, now) = (&self.place.bucket, self.options.clock.now());
        let laid_out = {
            let image = self.image.read();
            let (revision, has_copy) = (image.revision, file.can_have_copy());
            rest::tidied(text.as_bytes(), &Said { bucket, entries: &image.entries, revision, now, has_copy })
        };
        let text = laid_out.map_err(|fault| Error::new(Kind::Invalid, fault.text))?;
        let path = file.place.beside("new");
        let new = file.write_beside(&path, &text).map_err(failed)?;
        let snapshot = text.len() as u64;
        let written = Written { path: &path, snapshot, mark: rest::mark(&text), is_tidy: true, is_plain: false };
        file.replace(&new, &written, Some(&self.image))?;
        self.image.write().stat = file.known.stat;
        Ok(())
    }

    pub(super) async fn replace(&self, layer: &dyn Store, draft: &Draft, text: &str) -> Result<Replaced> {
        let new = read_text(text)?;
        match &draft.base {
            Base::Sound(base) => {
                let done = self.write_changes(layer, base, new).await?;
                if let Err(error) = super::bucket::blocking(|| self.lay_out(text)) {
                    tracing::warn!("the entries are stored, but not the comments and the order of the text: {error}");
                }
                Ok(done)
            }
            Base::Damaged(stat) => self.write_whole(*stat, text).map(|()| Replaced { written: new.len(), deleted: 0 }),
        }
    }

    async fn write_changes(
        &self,
        layer: &dyn Store,
        base: &BTreeMap<Key, Entry>,
        new: Vec<(Key, Given)>,
    ) -> Result<Replaced> {
        let mut batch = Batch::default();
        let Changes { written, deleted } = Changes::of(base, new);
        let done = Replaced { written: written.len(), deleted: deleted.len() };
        if written.is_empty() && deleted.is_empty() {
            return Ok(done);
        }
        let now = self.options.clock.now();
        for (key, given) in written {
            let old = base.get(&key);
            batch.expectations.push(unchanged(&key, old));
            // Not a client's but ours, of the write before.
            let ours = old.and_then(|old| old.ahead_of(old.updated()));
            batch.writes.push(Write::Put {
                key,
                value: given.value,
                content_type: given.content_type,
                expires: given.ttl.map_or(given.expires, |ttl| Some(now.plus(ttl))),
                modified: given.modified.filter(|modified| ours != Some(*modified)),
            });
        }
        for key in deleted {
            batch.expectations.push(unchanged(&key, base.get(&key)));
            batch.writes.push(Write::Delete { key });
        }
        let keys: Vec<Key> = batch.expectations.iter().map(|e| e.key.clone()).collect();
        match layer.apply(&self.place.bucket, batch).await? {
            Outcome::Committed { .. } => Ok(done),
            Outcome::Refused { index, .. } => {
                let key = keys.get(index).map(ToString::to_string).unwrap_or_default();
                Err(Error::new(Kind::Busy, format!("{key:?} was written by another meanwhile; edit it again")))
            }
        }
    }

    /// Replaces a damaged file, if it is still the one that was drafted.
    fn write_whole(&self, base: Option<Stat>, text: &str) -> Result<()> {
        let failed = |e| self.place.failed("replace", e);
        let mut file = self.turn(Hold::Exclusive)?;
        if self.options.disk.stat(&self.place.data).map_err(failed)? != base {
            return Err(Error::new(Kind::Busy, "the file was changed by another meanwhile; edit it again"));
        }
        // What the person took out may still be wanted.
        let old = self.options.disk.open(&self.place.data, Open::Read).map_err(failed)?;
        file.keep(&*old, 0, self.options.clock.now()).map_err(failed)?;
        let path = file.place.beside("new");
        let new = file.write_beside(&path, text.as_bytes()).map_err(failed)?;
        file.known.stat = base;
        let written = Written { path: &path, snapshot: 0, mark: b"", is_tidy: false, is_plain: false };
        file.replace(&new, &written, None)?;
        drop(file);
        self.current_now().map(drop)
    }
}

fn unchanged(key: &Key, old: Option<&Entry>) -> Expectation {
    let condition = old.map_or(Condition::Absent, |old| Condition::RevisionIn(vec![old.revision]));
    Expectation { key: key.clone(), condition }
}
