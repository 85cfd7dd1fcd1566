//! Long polls on thousands of buckets cost little: the total number of checks is constant, and no file stays open.

use std::sync::Arc;
use std::time::Duration;

use kvs::model::Bucket;
use kvs::store::Store;
use kvs::yaml::{RealFileSystem, YamlOptions, YamlStore};

use crate::support::disks::{Call, Counting, CountingFs};
use crate::yaml::fixtures::{batch, put};

const BUCKETS: usize = 2_000;

fn bucket(n: usize) -> Bucket {
    Bucket::new(&format!("b{n}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_watched_buckets_are_checked_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let other = YamlStore::open(folder.path(), YamlOptions::default()).unwrap();
    for n in 0..BUCKETS {
        let file = folder.path().join(format!("b{n}.yaml"));
        std::io::Write::write_all(&mut std::fs::File::create(file).unwrap(), b"a: 1\n...\n").unwrap();
    }
    let disk = CountingFs::new(RealFileSystem, Counting::default());
    let store = YamlStore::open(
        folder.path(),
        YamlOptions {
            file_system: Arc::new(disk.clone()),
            tidy_after: std::time::Duration::ZERO,
            ..YamlOptions::default()
        },
    )
    .unwrap();
    let mut since = vec![];
    for n in 0..BUCKETS {
        since.push(store.get(&bucket(n), &[]).await.unwrap().revision);
    }
    let waiting: Vec<_> = (0..BUCKETS)
        .map(|n| {
            let (store, since) = (store.clone(), since[n]);
            tokio::spawn(async move { store.changed(&bucket(n), since).await.unwrap() })
        })
        .collect();
    // All wait, and each has been checked once as if it were the only one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    disk.probe.take();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = disk.probe.take();
    let checks: u64 = counts.iter().filter(|((call, _), _)| *call == Call::Stat).map(|(_, (count, _))| *count).sum();
    assert!(checks > 500 && checks < 8_000, "{checks} checks in a second");
    assert_eq!(counts.keys().filter(|(call, _)| *call != Call::Stat).count(), 0, "{counts:?}");
    other.apply(&bucket(7), batch(vec![put("a", "2")])).await.unwrap();
    let [mut woken] = <[_; 1]>::try_from(waiting.into_iter().skip(7).take(1).collect::<Vec<_>>()).unwrap();
    let revision = tokio::time::timeout(Duration::from_secs(5), &mut woken).await.expect("it wakes").unwrap();
    assert!(revision > since[7]);
}
