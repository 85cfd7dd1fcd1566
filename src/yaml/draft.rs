//! Editing a bucket by hand, safely: a clean text for a person, and taking it back.
//!
//! Of a sound bucket only what the person changed is written, if nobody else wrote the same keys meanwhile. Of a damaged
//! one the file itself is the draft, and is replaced as a whole once it can be read.

use std::collections::BTreeMap;

use super::bucket::BucketStore;
use super::disk::{Hold, Open, Stat};
use super::text::{read_text, write_text};
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
                    drop(image);
                    let text = format!("# kvs bucket: {}\n{}", self.place.bucket, write_text(entries.iter()));
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

    pub(super) async fn replace(&self, layer: &dyn Store, draft: &Draft, text: &str) -> Result<Replaced> {
        let new = read_text(text)?;
        match &draft.base {
            Base::Sound(base) => self.write_changes(layer, base, new).await,
            Base::Damaged(stat) => self.write_whole(*stat, text).map(|()| Replaced { written: new.len(), deleted: 0 }),
        }
    }

    async fn write_changes(
        &self,
        layer: &dyn Store,
        base: &BTreeMap<Key, Entry>,
        new: Vec<(Key, super::Given)>,
    ) -> Result<Replaced> {
        let mut batch = Batch::default();
        let mut done = Replaced::default();
        let mut kept = std::collections::BTreeSet::new();
        for (key, given) in new {
            kept.insert(key.clone());
            let old = base.get(&key);
            let same = |old: &Entry| {
                old.value == given.value
                    && old.content_type == given.content_type
                    && old.expires == given.expires
                    && old.modified == given.modified
            };
            if old.is_some_and(same) {
                continue;
            }
            batch.expectations.push(unchanged(&key, old));
            // Not a client's but ours, of the write before.
            let ours = old.and_then(|old| old.ahead_of(old.updated()));
            batch.writes.push(Write::Put {
                key,
                value: given.value,
                content_type: given.content_type,
                expires: given.expires,
                modified: given.modified.filter(|modified| ours != Some(*modified)),
            });
            done.written += 1;
        }
        for (key, old) in base.iter().filter(|(key, _)| !kept.contains(*key)) {
            batch.expectations.push(unchanged(key, Some(old)));
            batch.writes.push(Write::Delete { key: key.clone() });
            done.deleted += 1;
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
        file.replace(&new, &path, 0)?;
        // It is as a person wrote it: read it so.
        file.known = super::load::Known::default();
        drop(file);
        self.current_now().map(drop)
    }
}

fn unchanged(key: &Key, old: Option<&Entry>) -> Expectation {
    let condition = old.map_or(Condition::Absent, |old| Condition::RevisionIn(vec![old.revision]));
    Expectation { key: key.clone(), condition }
}
