//! What a bucket holds, as its file tells it: the state in memory that readers see, and how documents change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::disk::Stat;
use super::hand::Fault;
use super::line::Line;
use crate::model::{Entry, Key, Revision};

/// The state of a bucket. All of it is durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// The keys whose entries a person wrote, not a client.
    pub(super) by_hand: BTreeSet<Key>,
    /// The greatest revision given to any write.
    pub(super) revision: Revision,
    /// The state of the file it was read from; none if there was none.
    pub(super) stat: Option<Stat>,
    /// Why the file cannot be read to its end, if so: the image is then the last good state and no write is done.
    pub(super) damage: Option<Damage>,
}

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    /// In the order of their lines; at least one.
    pub(super) faults: Vec<Fault>,
    /// Whether nothing of the file is known, so that nothing can be read either.
    pub(super) blind: bool,
}

impl Damage {
    /// What is wrong, with the places in the file of this name.
    pub(super) fn of(&self, file: &str) -> String {
        let faults: Vec<String> = self.faults.iter().map(|fault| fault.of(file)).collect();
        faults.join("; ")
    }
}

/// What documents say that does not yet have revisions of its own.
#[derive(Debug, Default)]
pub(super) struct Unstamped {
    pub(super) keys: Vec<Key>,
    /// The entries that are to stay for so long from their revision on.
    pub(super) ttls: Vec<(Key, Duration)>,
}

impl Image {
    /// Whether it is a state to go on serving while the file cannot be read.
    pub(super) fn is_good(&self) -> bool {
        match &self.damage {
            Some(damage) => !damage.blind,
            None => self.stat.is_some(),
        }
    }

    /// Takes a document in. Lines that tell no revision get [`Revision::ZERO`] until [`stamp`](Self::stamp).
    pub(super) fn take(&mut self, lines: Vec<Line>, unstamped: &mut Unstamped) {
        if self.entries.is_empty() && lines.iter().all(|line| line.given.is_some()) {
            // A snapshot: built at once, which for sorted lines is much faster than one by one.
            let revision = lines.iter().map(Line::moves_to).max().unwrap_or_default();
            self.revision = self.revision.max(revision);
            self.entries = lines.into_iter().filter_map(|line| line.entry(unstamped)).collect();
            return;
        }
        for line in lines {
            self.revision = self.revision.max(line.moves_to());
            let key = line.key.clone();
            self.by_hand.remove(&key);
            match line.entry(unstamped) {
                Some((key, entry)) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
    }
}

impl Line {
    /// The revision its write took, as far as it tells.
    fn moves_to(&self) -> Revision {
        let updated = self.given.as_ref().and_then(|given| given.updated).map(Revision::from);
        self.revision.max(updated).unwrap_or_default()
    }

    fn entry(self, unstamped: &mut Unstamped) -> Option<(Key, Entry)> {
        let given = self.given?;
        let revision = given.updated.map_or(Revision::ZERO, Revision::from);
        let mut given = given;
        if revision == Revision::ZERO {
            unstamped.keys.push(self.key.clone());
            unstamped.ttls.extend(given.ttl.take().map(|ttl| (self.key.clone(), ttl)));
        }
        Some((self.key, given.at(revision)))
    }
}
