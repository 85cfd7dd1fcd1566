//! An edit of a bucket by a person: the text for the editor, and the changes in the edited text.
//!
//! Only what the person changed is written, unless somebody else wrote the same keys meanwhile.

use std::collections::HashSet;

use super::format::at_rest;
use super::format::at_rest::FileContents;
use super::format::import_export::read_text;
use super::format::parsed::ParsedEntry;
use super::fs::Stat;
use crate::model::{
    Batch, BlobRef, Bucket, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Scan, Time, Write,
};
use crate::store::{Entries, Store};

/// The entries of a page.
const PAGE: usize = 1000;
/// How often a bucket of several pages is read again because it has changed meanwhile.
const MAX_ATTEMPTS: usize = 20;

/// An edit of a bucket: the text that was shown, and what the bucket was then.
#[derive(Clone, Debug)]
pub struct EditSession {
    /// The text to edit.
    pub text: String,
    pub(crate) base: EditBase,
    /// The keys whose values are too long to be shown.
    pub(crate) hidden: HashSet<Key>,
}

/// What the bucket was when the text was shown.
#[derive(Clone, Debug)]
pub(crate) enum EditBase {
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
    /// Longer values of other stores are not shown: 64 KiB.
    pub const MAX_VALUE_BYTES: usize = BlobRef::FROM_BYTES;

    /// Begins to edit a bucket of any store. Values of more than [`EditSession::MAX_VALUE_BYTES`] are left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(store: &dyn Store, bucket: &Bucket, now: Time) -> Result<Self> {
        let (mut entries, mut hidden, mut revision) = (Entries::default(), HashSet::new(), None);
        let mut attempts = MAX_ATTEMPTS;
        let mut query = Scan { limit: PAGE, ..Scan::default() };
        loop {
            let page = store.scan(bucket, query.clone()).await?;
            if revision.is_some_and(|revision| revision != page.revision) {
                // What is shown is one moment.
                (entries, hidden, revision) = (Entries::default(), HashSet::new(), None);
                query.after = None;
                attempts -= 1;
                if attempts == 0 {
                    let text = format!("bucket {bucket} changes too often to be read at one moment; try again");
                    return Err(Error::new(ErrorKind::Busy, text));
                }
                continue;
            }
            revision = Some(page.revision);
            for (key, entry) in page.entries {
                let is_short =
                    |entry: &Entry| entry.value.len() <= Self::MAX_VALUE_BYTES && BlobRef::of(entry).is_none();
                match entry {
                    Some(entry) if is_short(&entry) => drop(entries.insert(key, entry)),
                    _ => drop(hidden.insert(key)),
                }
            }
            match page.cursor {
                Some(cursor) => query.after = Some(cursor.to_string()),
                None => break,
            }
        }
        let revision = revision.unwrap_or_default();
        let contents = FileContents { bucket, entries: &entries, revision, now, has_copy: true };
        let text = String::from_utf8(at_rest::fresh(&contents))
            .map_err(|e| Error::new(ErrorKind::Corrupt, "the text is not UTF-8").with_source(e))?;
        Ok(Self { text, base: EditBase::Sound(entries), hidden })
    }

    /// Saves the edited text in a bucket of any store.
    ///
    /// # Errors
    /// `Invalid`, with the line, if the text cannot be read; `Busy` if somebody else has changed the same keys; those of
    /// the store.
    pub async fn save(&self, store: &dyn Store, bucket: &Bucket, text: &str, now: Time) -> Result<EditSummary> {
        let EditBase::Sound(base) = &self.base else {
            return Err(Error::new(ErrorKind::Invalid, "a damaged file must be saved by its own store"));
        };
        let new = read_text(text)?;
        if let Some((key, _)) = new.iter().find(|(key, _)| self.hidden.contains(key)) {
            let text = format!("{key:?} has a value of more than 64 KiB, which cannot be edited here; use kvs set");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        EditedEntries { base, new, now }.write(store, bucket).await
    }

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
        self.hidden.clone_from(&now.hidden);
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
        let new_keys: HashSet<Key> = new.iter().map(|(key, _)| key.clone()).collect();
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

/// The text of a person, parsed.
pub(crate) struct EditedEntries<'a> {
    /// What was shown.
    pub(crate) base: &'a Entries,
    pub(crate) new: Vec<(Key, ParsedEntry)>,
    pub(crate) now: Time,
}

impl EditedEntries<'_> {
    /// Writes what the person changed, unless somebody else wrote the same keys meanwhile.
    pub(crate) async fn write(self, store: &dyn Store, bucket: &Bucket) -> Result<EditSummary> {
        let Self { base, new, now } = self;
        let mut batch = Batch::default();
        let Changes { written, deleted } = Changes::of(base, new);
        let done = EditSummary { written: written.len(), deleted: deleted.len() };
        if written.is_empty() && deleted.is_empty() {
            return Ok(done);
        }
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
        match store.apply(bucket, batch).await? {
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
}
