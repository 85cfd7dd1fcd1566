//! The state of a bucket in memory, which readers see, and how documents change it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Entry, Key, Revision};
use crate::store::{Entries, EntryView, RecentChanges};
use crate::yaml::format::long_document::PackedSnapshot;
use crate::yaml::format::parse_error::ParseError;
use crate::yaml::format::parsed::ParsedLine;
use crate::yaml::format::reader::Document;
use crate::yaml::fs::Stat;

/// How far the clock of the file system may be behind that of kvs.
const FILE_CLOCK_LAG: Duration = Duration::from_secs(1);

/// The state of a bucket. All of it is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct BucketState {
    pub(crate) entries: Entries,
    /// The keys whose entries were written by a person, not by a client.
    pub(crate) by_hand: BTreeSet<Key>,
    /// The greatest revision given to any write.
    pub(crate) revision: Revision,
    /// The changes since this process first read the file, or since its last rewrite.
    pub(crate) recent: RecentChanges,
    /// The file it was read from, if there was one.
    pub(crate) stat: Option<Stat>,
    /// Why the file cannot be read to its end, if so. The state is then the last good one, and writes are
    /// refused.
    pub(crate) damage: Option<Damage>,
}

/// The damage of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    /// In the order of their lines; at least one.
    pub(crate) errors: Vec<ParseError>,
    /// Whether the last good state is not known either, so that reads fail too.
    pub(crate) blind: bool,
}

impl Damage {
    /// The errors, with their places in the file of this name.
    pub(crate) fn of(&self, file: &str) -> String {
        let errors: Vec<String> = self.errors.iter().map(|error| error.of(file)).collect();
        errors.join("; ")
    }
}

/// The changes before an epoch that the data file does not show.
#[derive(Debug)]
pub(crate) struct RememberedChanges {
    /// All changes after `from`, up to `to`, are here or visible in the data file.
    pub(crate) from: Revision,
    pub(crate) to: Revision,
    pub(crate) changes: Vec<(Revision, Key)>,
}

/// What a file and its lock file say about the changes before the file was read.
#[derive(Debug, Default)]
pub(crate) struct FileHistory {
    /// The writes in the log of the file.
    pub(crate) appended: Vec<(Revision, Key)>,
    /// The revision up to which the lock file remembers the changes before this log, if it does.
    pub(crate) remembered_up_to: Option<Revision>,
    /// Those changes; `None` if this process did not know the bucket before.
    pub(crate) remembered: Option<RememberedChanges>,
    /// Whether this process knew the file as its last writer left it, so that only one edit or append can be between
    /// the two states.
    pub(crate) was_current: bool,
    /// Whether the file is as its last copy says, perhaps with later appends.
    pub(crate) is_as_copied: bool,
    /// Whether the file is not the one that the last writer left: a person has put it there.
    pub(crate) is_replaced: bool,
    /// When the file was last changed.
    pub(crate) changed_at: Revision,
}

/// Entries of documents that do not have revisions yet.
#[derive(Debug, Default)]
pub(crate) struct Unstamped {
    pub(crate) keys: Vec<Key>,
    /// Times to live, counted from the revision that the entry will get.
    pub(crate) ttls: Vec<(Key, Duration)>,
}

impl BucketState {
    /// Whether this state can be served while the file cannot be read.
    pub(crate) fn is_good(&self) -> bool {
        match &self.damage {
            Some(damage) => !damage.blind,
            None => self.stat.is_some(),
        }
    }

    /// The revision of an entry, expired or not.
    pub(crate) fn revision_of(&self, key: &Key) -> Option<Revision> {
        self.entries.view(key).map(|view| view.revision)
    }

    /// Continues `old`, the state that this process had before it read the file: the revision does not go back, and
    /// what has changed is remembered.
    pub(crate) fn follow(&mut self, old: &Self, history: &FileHistory) {
        let remembered = history.remembered_up_to;
        self.revision = self.revision.max(old.revision).max(remembered.unwrap_or_default());
        // A person may have undone writes that this process has not seen. Processes that have seen them raise the
        // revision as well. The copy has the revision of a file that nobody has edited.
        let is_known = history.was_current || history.is_as_copied || remembered.is_some();
        let is_edited_unseen = old.is_good() && !is_known;
        if history.is_replaced || is_edited_unseen {
            self.revision = self.revision.max(history.changed_at);
        }
        let covers = |remembered: &&RememberedChanges| (remembered.from..=remembered.to).contains(&old.revision);
        let covering = history.remembered.as_ref().filter(|_| old.is_good()).filter(covers);
        // The comparison takes long for a large bucket.
        let must_compare = self.revision == old.revision || covering.is_none() && history.was_current;
        let differ = if old.is_good() && must_compare { self.keys_that_differ(old) } else { vec![] };
        // A person may have restored an old file; that is a change of the bucket as well. If an entry is missing or only
        // reappears, its expiry may be the reason, and an expiry is not a change. The clock of the file may be behind.
        let is_change = |key: &Key| match (self.entries.view(key), old.entries.view(key)) {
            (None, Some(was)) => was.expires.is_none(),
            (Some(entry), None) => entry.is_live(history.changed_at.time().plus(FILE_CLOCK_LAG)),
            _ => true,
        };
        if self.revision == old.revision && differ.iter().any(is_change) {
            self.revision = old.revision.following();
        }
        if let Some(remembered) = covering {
            self.recent = old.recent.clone();
            self.add_changes(&remembered.changes);
            for view in self.entries.iter().filter(|view| view.revision > old.revision) {
                self.recent.add(view.revision, view.to_key());
            }
        } else if old.is_good() && history.was_current {
            self.recent = old.recent.clone();
            let changes: Vec<_> = differ.into_iter().map(|key| (self.revision, key)).collect();
            self.add_changes(&changes);
        } else {
            // Others may have written, and a person may have undone it.
            self.recent = match remembered.filter(|up_to| *up_to >= old.revision) {
                // The whole history of the bucket is in the log.
                Some(Revision::ZERO) => RecentChanges::of_new_bucket(&history.appended),
                Some(up_to) => RecentChanges::after(up_to),
                None => RecentChanges::after(self.revision),
            };
        }
        self.add_changes(&history.appended);
    }

    fn add_changes(&mut self, changes: &[(Revision, Key)]) {
        for (revision, key) in changes {
            self.recent.add(*revision, key.clone());
        }
    }

    /// The keys whose entries are not those of `old`. Both maps are read once, in the order of their keys.
    fn keys_that_differ(&self, old: &Self) -> Vec<Key> {
        let mut differ = Vec::new();
        let (mut ours, mut theirs) = (self.entries.iter().peekable(), old.entries.iter().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return differ,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) => our.key.cmp(their.key),
            };
            let entry = if order == Ordering::Greater { None } else { ours.next() };
            let was = if order == Ordering::Less { None } else { theirs.next() };
            let state = |view: EntryView<'_>| (view.revision, view.expires);
            if entry.map(state) != was.map(state) {
                differ.extend(entry.or(was).map(|view| view.to_key()));
            }
        }
    }

    /// Applies a document. Lines without a revision get [`Revision::ZERO`] until [`stamp`](Self::stamp).
    pub(crate) fn apply(&mut self, document: Document, unstamped: &mut Unstamped) {
        if let Some(PackedSnapshot { entries, revision }) = document.packed {
            // Only the first document of a file is packed, so the state has no entries yet.
            debug_assert!(self.entries.is_empty());
            (self.entries, self.revision) = (entries, self.revision.max(revision));
            return;
        }
        let lines = document.lines;
        if self.entries.is_empty() && lines.iter().all(|line| line.parsed.is_some()) {
            // A snapshot: built at once, which is much faster for sorted lines than one insertion after another.
            let revision = lines.iter().map(ParsedLine::revision_reached).max().unwrap_or_default();
            self.revision = self.revision.max(revision);
            self.entries = lines.into_iter().filter_map(|line| line.into_entry(unstamped)).collect();
            return;
        }
        for line in lines {
            self.revision = self.revision.max(line.revision_reached());
            let key = line.key.clone();
            self.by_hand.remove(&key);
            match line.into_entry(unstamped) {
                Some((key, entry)) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
    }
}

impl ParsedLine {
    /// The revision of its write, if it is known.
    pub(crate) fn revision_reached(&self) -> Revision {
        let updated = self.parsed.as_ref().and_then(|parsed| parsed.updated).map(Revision::from);
        self.revision.max(updated).unwrap_or_default()
    }

    fn into_entry(self, unstamped: &mut Unstamped) -> Option<(Key, Entry)> {
        let parsed = self.parsed?;
        let revision = parsed.updated.map_or(Revision::ZERO, Revision::from);
        let mut parsed = parsed;
        if revision == Revision::ZERO {
            unstamped.keys.push(self.key.clone());
            unstamped.ttls.extend(parsed.ttl.take().map(|ttl| (self.key.clone(), ttl)));
        }
        Some((self.key, parsed.at(revision)))
    }
}
