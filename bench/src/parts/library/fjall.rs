//! fjall: a log-structured merge tree. Each batch is committed as a whole and then synced.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Side, keys};

pub(super) struct Fjall {
    database: Database,
    entries: Keyspace,
    keys: Vec<String>,
}

impl Fjall {
    pub(super) fn open(folder: &Path) -> Self {
        let database = Database::builder(folder).open().unwrap();
        let entries = database.keyspace("entries", KeyspaceCreateOptions::default).unwrap();
        Self { database, entries, keys: keys() }
    }
}

impl Side for Fjall {
    fn put(&self, pairs: &[(usize, String)]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (number, value) in pairs {
            batch.insert(&self.entries, self.keys[*number].as_str(), value.as_str());
        }
        batch.commit().unwrap();
    }

    fn get(&self, numbers: &[usize]) -> usize {
        numbers.iter().map(|number| self.entries.get(&self.keys[*number]).unwrap().unwrap().len()).sum()
    }

    fn scan(&self, from: usize, entries: usize) -> usize {
        let (mut bytes, mut count) = (0, 0);
        for entry in self.entries.range(self.keys[from].as_str()..).take(entries) {
            let (key, value) = entry.into_inner().unwrap();
            bytes += key.len() + value.len();
            count += 1;
        }
        assert_eq!(count, entries);
        bytes
    }
}
