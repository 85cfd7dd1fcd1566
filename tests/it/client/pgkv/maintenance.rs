//! The place and the size of the data, and the deletion of all of it.

use std::sync::Arc;

use kvs::blocking::Client;
use kvs::model::Bucket;
use kvs::yaml::{self, YamlStore};

use super::on_each_store;

#[test]
fn test_clear() {
    on_each_store(|client, _| {
        client.set_many(&[("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(client.clear().unwrap(), 2);
        assert_eq!((client.count("").unwrap(), client.clear().unwrap()), (0, 0));
        client.set("a", "again").unwrap();
        assert_eq!(client.count("").unwrap(), 1);
    });
}

#[test]
fn test_stats() {
    on_each_store(|client, _| {
        client.set_many(&[("a", "1234"), ("b", "12345678")]).unwrap();
        let stats = client.stats().unwrap();
        assert_eq!((stats.keys, stats.value_bytes, stats.largest_value), (2, 12, 8));
        assert!((stats.mean_value() - 6.0).abs() < 1e-9);
        assert!(stats.stored_bytes >= 12, "{stats:?}");
    });
}

/// A regular table keeps its data after a crash of the server. With a file, reopening it shows that.
#[test]
fn test_table_type_regular() {
    on_each_store(|client, _| {
        client.set("a", "1").unwrap();
        assert_eq!(client.get("a").unwrap(), Some("1".into()));
    });
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        Client::new(Arc::new(YamlStore::open(folder.path().join("data"), yaml::YamlOptions::default()).unwrap()))
            .unwrap()
    };
    open().set("a", "1").unwrap();
    assert_eq!(open().get("a").unwrap(), Some("1".into()));
}

/// A bucket does here what a schema and a table do there.
#[test]
fn test_custom_schema() {
    on_each_store(|client, _| {
        let mine = client.with_bucket(Bucket::new("mine").unwrap());
        mine.set("a", "1").unwrap();
        assert_eq!(mine.get("a").unwrap(), Some("1".into()));
        assert_eq!(client.get("a").unwrap(), None);
        assert_eq!((mine.clear().unwrap(), client.clear().unwrap()), (1, 0));
    });
}
