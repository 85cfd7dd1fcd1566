//! Sweeping: deletes entries that nobody has written for a long time.

use std::time::Duration;

use super::client::Client;
use crate::model::{Batch, Entry, Expectation, Key, Outcome, Result, Returning, Scan, Time, Write};

/// How many entries are read, and deleted, in one step.
const PAGE_ENTRIES: usize = 100;

/// Which entries a sweep deletes: those that were last written before a moment, unless they are on the list of keys to
/// keep.
///
/// ```
/// use kvs::client::Sweep;
/// use kvs::model::Time;
///
/// let sweep = Sweep::before(Time::from_secs(1_800_000_000)).keep("config/*").keep("door");
/// assert!(sweep.keeps("config/wifi") && sweep.keeps("door"));
/// assert!(!sweep.keeps("door/bell") && !sweep.keeps("config"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    cutoff: Time,
    /// Keys, and with `*` at their end prefixes of keys.
    keep: Vec<String>,
}

impl Sweep {
    /// Entries that were last written before this moment.
    #[must_use]
    pub fn before(cutoff: Time) -> Self {
        Self { cutoff, keep: vec![] }
    }

    /// Also keeps this key or, with `*` at its end, all keys with this prefix.
    #[must_use]
    pub fn keep(mut self, pattern: &str) -> Self {
        self.keep.push(pattern.to_owned());
        self
    }

    /// Whether the key is on the list of keys to keep.
    #[must_use]
    pub fn keeps(&self, key: &str) -> bool {
        self.keep.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    }

    fn selects(&self, key: &Key, entry: &Entry) -> bool {
        entry.updated() < self.cutoff && !self.keeps(key.as_str())
    }
}

impl Client {
    /// The sweep for entries that were last written longer ago than this, by the clock of the client.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// use std::time::Duration;
    ///
    /// client.set_many(&[("log/1", "a"), ("config/wifi", "b")]).await?;
    /// tokio::time::sleep(Duration::from_millis(5)).await;
    ///
    /// let sweep = client.older_than(Duration::from_millis(1)).keep("config/*");
    /// assert_eq!(client.find_swept(&sweep).await?.len(), 1); // a dry run
    /// assert_eq!(client.sweep(&sweep).await?.len(), 1);
    /// assert_eq!(client.keys("").await?.len(), 1);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn older_than(&self, age: Duration) -> Sweep {
        Sweep::before(self.clock.now().minus(age))
    }

    /// The keys that [`sweep`](Self::sweep) would delete now. Nothing is deleted.
    pub async fn find_swept(&self, sweep: &Sweep) -> Result<Vec<Key>> {
        self.each_swept(sweep, async |found| Ok(found.into_iter().map(|(key, _)| key).collect())).await
    }

    /// Deletes the entries that `sweep` selects, and returns their keys in order.
    ///
    /// It goes through the bucket page by page. An entry that somebody writes meanwhile is kept, because it is new then.
    /// If it fails, the entries of earlier pages are deleted; call it again.
    pub async fn sweep(&self, sweep: &Sweep) -> Result<Vec<Key>> {
        self.each_swept(sweep, async |found| self.delete_unchanged(found).await).await
    }

    async fn each_swept(
        &self,
        sweep: &Sweep,
        mut work: impl AsyncFnMut(Vec<(Key, Entry)>) -> Result<Vec<Key>>,
    ) -> Result<Vec<Key>> {
        let mut keys = vec![];
        let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
        loop {
            let page = self.scan(query.clone()).await?;
            let entries = page.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?)));
            let found: Vec<_> = entries.filter(|(key, entry)| sweep.selects(key, entry)).collect();
            if !found.is_empty() {
                keys.extend(work(found).await?);
            }
            let Some(cursor) = page.cursor else { return Ok(keys) };
            query.after = Some(cursor.as_str().to_owned());
        }
    }

    /// Deletes those of these entries that are still the same, in one step, and returns their keys.
    async fn delete_unchanged(&self, mut found: Vec<(Key, Entry)>) -> Result<Vec<Key>> {
        while !found.is_empty() {
            let expect = |(key, entry): &(Key, Entry)| Expectation::unchanged(key.clone(), Some(entry));
            let writes = found.iter().map(|(key, _)| Write::Delete { key: key.clone() }).collect();
            let batch = Batch::new(writes).with_expectations(found.iter().map(expect).collect());
            match self.store.apply(&self.bucket, batch.returning(Returning::Nothing)).await? {
                Outcome::Committed { .. } => return Ok(found.into_iter().map(|(key, _)| key).collect()),
                // This one is newer now, so it stays. Each round has one entry less.
                Outcome::PreconditionFailed { index, .. } => drop(found.remove(index)),
            }
        }
        Ok(vec![])
    }
}
