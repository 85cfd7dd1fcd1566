//! Following a bucket across processes: several stores on one folder are several processes.

mod edited;
mod games;
mod record_of_changes;
mod rewritten;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvs::model::{ChangesQuery, Entry, Revision, SystemClock, Time};
use kvs::store::{Store as _, Task};
use kvs::yaml::{FileSystem as _, RealFileSystem, YamlOptions, YamlStore};
use tempfile::TempDir;

use crate::yaml::fixtures::{all, bucket, commit, options, put, run, upkeep};

/// A key with its value, type, revision and expiry.
type Live<'a> = (&'a str, &'a [u8], &'a str, Revision, Option<Time>);

/// A client that has read the bucket once.
#[derive(Clone, Debug)]
struct Follower {
    since: Revision,
    entries: BTreeMap<String, Entry>,
}

impl Follower {
    /// Reads the whole bucket.
    fn list(store: &YamlStore) -> Self {
        let (since, entries) = all(store).unwrap();
        Self { since, entries }
    }

    /// Applies the changes since the last time, in pages of this many. Returns the keys with whether they were put, or
    /// `None` if the changes are not all known.
    #[track_caller]
    fn catch_up(&mut self, store: &YamlStore, limit: usize) -> Option<Vec<(String, bool)>> {
        let mut seen = Vec::new();
        loop {
            let query = ChangesQuery { limit, ..ChangesQuery::since(self.since) };
            let page = run(store.changes().unwrap().changes_since(&bucket(), query)).unwrap()?;
            let mut last = self.since;
            for change in page.changes {
                assert!(change.revision > self.since, "{} is not after {}", change.revision, self.since);
                assert!(change.revision >= last, "{} is after {last}", change.revision);
                last = change.revision;
                let name = change.key.to_string();
                seen.push((name.clone(), change.entry.is_some()));
                match change.entry {
                    Some(entry) => self.entries.insert(name, entry),
                    None => self.entries.remove(&name),
                };
            }
            assert!(page.next >= last, "{} is before the last change {last}", page.next);
            assert!(page.next > self.since || !page.has_more, "it never ends");
            self.since = page.next;
            if !page.has_more {
                return Some(seen);
            }
        }
    }

    /// Leaves out the revisions of the entries.
    fn forget_revisions(&mut self) {
        for entry in self.entries.values_mut() {
            entry.revision = Revision::ZERO;
        }
    }

    /// The live entries, without the times that no change reports.
    fn live(&self, now: Time) -> Vec<Live<'_>> {
        let live = self.entries.iter().filter(|(_, entry)| entry.is_live(now));
        live.map(|(name, entry)| {
            (name.as_str(), &entry.value[..], entry.content_type.as_str(), entry.revision, entry.expires)
        })
        .collect()
    }
}

/// A folder with the bucket.
struct Folder(TempDir);

impl Folder {
    /// A bucket with these keys, in its form at rest.
    fn with(names: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let store = folder.process();
        for name in names {
            commit(&store, vec![put(name, "1")]);
        }
        upkeep(&store, Task::Compact).unwrap();
        folder
    }

    /// A new process.
    fn process(&self) -> YamlStore {
        self.process_with(1 << 20)
    }

    /// A new process that keeps a copy of files up to this length.
    fn process_with(&self, tidy_up_to: u64) -> YamlStore {
        let options = YamlOptions { clock: Arc::new(SystemClock), tidy_up_to, ..options(RealFileSystem) };
        YamlStore::open(self.0.path(), options).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("default.yaml")
    }

    fn lock(&self) -> PathBuf {
        self.0.path().join("default.lock")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.data()).unwrap()
    }

    /// Like an editor that writes in place.
    fn edit(&self, text: &str) {
        write(&self.data(), text);
    }

    /// Like an editor that writes another file and renames it.
    fn replace(&self, text: &str) {
        let new = self.0.path().join("new");
        write(&new, text);
        RealFileSystem.rename(&new, &self.data()).unwrap();
    }

    fn without(&self, name: &str) -> String {
        let text = self.text();
        let line = format!("{name}: ");
        assert_eq!(text.lines().filter(|l| l.starts_with(&line)).count(), 1, "{text}");
        text.lines().filter(|l| !l.starts_with(&line)).flat_map(|l| [l, "\n"]).collect()
    }
}

/// Writes a file in place.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::File::create(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

type Seen = Option<Vec<(String, bool)>>;

#[expect(clippy::unnecessary_wraps, reason = "for comparisons with `catch_up`")]
fn seen(keys: &[(&str, bool)]) -> Seen {
    Some(keys.iter().map(|(name, put)| ((*name).to_owned(), *put)).collect())
}

/// Catches up with a store. The changes must be right if they are known.
#[track_caller]
fn catch_up(follower: &Follower, store: &YamlStore, case: &str) -> Seen {
    let mut follower = follower.clone();
    let seen = follower.catch_up(store, 1_000);
    if seen.is_some() {
        let now = Time::from_secs(0);
        assert_eq!(follower.live(now), Follower::list(store).live(now), "{case}: {seen:?}");
    }
    seen
}
