//! The crate `rusqlite`: a database with a write-ahead log that is synced at each commit, and with prepared statements.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::{Side, keys};

const PUT: &str = "INSERT INTO entries VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(super) struct Sqlite {
    connection: Connection,
    keys: Vec<String>,
}

impl Sqlite {
    pub(super) fn open(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let connection = Connection::open(folder.join("data.sqlite")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        let table = "CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID";
        connection.execute_batch(table).unwrap();
        Self { connection, keys: keys() }
    }
}

impl Side for Sqlite {
    fn put(&self, pairs: &[(usize, String)]) {
        let insert = || {
            let mut put = self.connection.prepare_cached(PUT).unwrap();
            for (number, value) in pairs {
                put.execute((&self.keys[*number], value)).unwrap();
            }
        };
        // A statement alone is a transaction.
        if pairs.len() == 1 {
            insert();
        } else {
            let transaction = self.connection.unchecked_transaction().unwrap();
            insert();
            transaction.commit().unwrap();
        }
    }

    fn get(&self, numbers: &[usize]) -> usize {
        let mut select = self.connection.prepare_cached("SELECT value FROM entries WHERE key = ?1").unwrap();
        let mut read = |number: &usize| {
            select.query_row([&self.keys[*number]], |row| Ok(row.get_ref(0)?.as_str()?.len())).unwrap()
        };
        numbers.iter().map(&mut read).sum()
    }

    fn scan(&self, from: usize, entries: usize) -> usize {
        let range = "SELECT key, value FROM entries WHERE key >= ?1 ORDER BY key LIMIT ?2";
        let mut select = self.connection.prepare_cached(range).unwrap();
        let limit = i64::try_from(entries).unwrap();
        let mut rows = select.query((&self.keys[from], limit)).unwrap();
        let (mut bytes, mut count) = (0, 0);
        while let Some(row) = rows.next().unwrap() {
            bytes += row.get_ref(0).unwrap().as_str().unwrap().len();
            bytes += row.get_ref(1).unwrap().as_str().unwrap().len();
            count += 1;
        }
        assert_eq!(count, entries);
        bytes
    }
}
