//! What the suite of all stores does not see of a folder of buckets.

use super::*;

#[test]
fn unused_bucket_names_do_not_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
    let waiting = store.bucket(&Bucket::new("waiting").unwrap());
    for n in 0..1000 {
        store.bucket(&Bucket::new(&format!("b{n}")).unwrap());
    }
    assert!(store.buckets.used.read().len() < 30);
    assert!(Arc::ptr_eq(&waiting, &store.bucket(&Bucket::new("waiting").unwrap())));
}

#[tokio::test]
async fn removing_expired_entries_keeps_the_file_if_none_has_expired() {
    use std::os::unix::fs::MetadataExt;

    use crate::model::{Clock as _, ContentType, Write};
    use crate::store::suite::TestClock;

    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let store = YamlStore::open(folder.path(), YamlOptions { clock: clock.clone(), ..YamlOptions::default() }).unwrap();
    let bucket = Bucket::default();
    for expires in [None, Some(clock.now().plus(Duration::from_secs(9)))] {
        let (key, content_type) = (Key::new("a").unwrap(), ContentType::default());
        let write = Write::Put { key, value: "1".into(), content_type, expires, modified: None };
        store.apply(&bucket, Batch::new(vec![write])).await.unwrap();
    }
    let inode = || std::fs::metadata(folder.path().join("default.yaml")).unwrap().ino();
    let before = inode();
    let report = store.maintain(&bucket, Task::RemoveExpired).await.unwrap();
    assert_eq!((report.entries, report.removed, inode()), (1, 0, before));
    assert!(report.bytes_after > 0 && report.bytes_before == report.bytes_after);
    clock.advance(Duration::from_secs(9));
    let report = store.maintain(&bucket, Task::RemoveExpired).await.unwrap();
    assert_eq!((report.entries, report.removed), (0, 1));
    assert_ne!(inode(), before);
}
