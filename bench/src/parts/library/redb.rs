//! redb: a B-tree in one file. Each batch is a transaction that is durable at once; each read is a transaction too.

use std::fs;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase as _, TableDefinition};

use super::{Side, keys};

const TABLE: TableDefinition<'_, &str, &str> = TableDefinition::new("entries");

pub(super) struct Redb {
    database: Database,
    keys: Vec<String>,
}

impl Redb {
    pub(super) fn open(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self { database: Database::create(folder.join("data.redb")).unwrap(), keys: keys() }
    }
}

impl Side for Redb {
    fn put(&self, pairs: &[(usize, String)]) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for (number, value) in pairs {
                table.insert(self.keys[*number].as_str(), value.as_str()).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    fn get(&self, numbers: &[usize]) -> usize {
        let read = |number: &usize| {
            let table = self.database.begin_read().unwrap().open_table(TABLE).unwrap();
            table.get(self.keys[*number].as_str()).unwrap().unwrap().value().len()
        };
        numbers.iter().map(read).sum()
    }

    fn scan(&self, from: usize, entries: usize) -> usize {
        let table = self.database.begin_read().unwrap().open_table(TABLE).unwrap();
        let (mut bytes, mut count) = (0, 0);
        for entry in table.range(self.keys[from].as_str()..).unwrap().take(entries) {
            let (key, value) = entry.unwrap();
            bytes += key.value().len() + value.value().len();
            count += 1;
        }
        assert_eq!(count, entries);
        bytes
    }
}
