//! kvs as a library: a file store on a runtime with one thread.

use std::path::Path;

use kvs::model::{Batch, Bucket, Key, Outcome, Scan, Write};
use kvs::store::Store as _;
use kvs::yaml::{YamlOptions, YamlStore};
use tokio::runtime::{Builder, Runtime};

use super::{Side, keys};

pub(super) struct Kvs {
    store: YamlStore,
    runtime: Runtime,
    bucket: Bucket,
    keys: Vec<Key>,
}

impl Kvs {
    pub(super) fn open(folder: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let store = YamlStore::open(folder, YamlOptions::default()).unwrap();
        let keys = keys().iter().map(|key| Key::new(key).unwrap()).collect();
        Self { store, runtime, bucket: Bucket::default(), keys }
    }
}

/// A batch of puts.
pub(super) fn batch(pairs: impl IntoIterator<Item = (Key, String)>) -> Batch {
    Batch::new(pairs.into_iter().map(|(key, value)| Write::put(key, value)).collect())
}

impl Side for Kvs {
    fn put(&self, pairs: &[(usize, String)]) {
        let batch = batch(pairs.iter().map(|(number, value)| (self.keys[*number].clone(), value.clone())));
        let outcome = self.runtime.block_on(self.store.apply(&self.bucket, batch)).unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. }));
    }

    fn get(&self, numbers: &[usize]) -> usize {
        self.runtime.block_on(async {
            let mut bytes = 0;
            for number in numbers {
                let found = self.store.get(&self.bucket, std::slice::from_ref(&self.keys[*number])).await.unwrap();
                bytes += found.entries[0].as_ref().unwrap().value.len();
            }
            bytes
        })
    }

    fn scan(&self, from: usize, entries: usize) -> usize {
        let start = Some(self.keys[from].as_str().to_owned());
        let scan = Scan { start, limit: entries, ..Scan::default() };
        let page = self.runtime.block_on(self.store.scan(&self.bucket, scan)).unwrap();
        assert_eq!(page.entries.len(), entries);
        page.entries.iter().map(|(key, entry)| key.as_str().len() + entry.as_ref().unwrap().value.len()).sum()
    }
}
