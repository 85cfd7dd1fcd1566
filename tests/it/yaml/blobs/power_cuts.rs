//! The power is cut, or the process is killed, before each call that changes something, while large values are stored,
//! replaced, shared and deleted.
//!
//! What always holds: each acknowledged write is there with all its bytes; the write after it is there as a whole or not
//! at all; a sweep leaves exactly the blobs that are needed; and writing can go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use kvs::client::Client;
use kvs::layers::LargeValues;
use kvs::model::Result;
use kvs::store::{Limits, Severity, Task};
use tokio::runtime::{Builder, Runtime};

use super::{content, name};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{FOLDER, bucket, open};

/// Crashes per point, and as many kills.
const SEEDS: u64 = 40;

/// Longer values are blobs.
const BLOBS_FROM_BYTES: usize = 100;

/// Two pages of the disk, and a part of a third one.
const LENGTH: usize = 9_000;

type Values = BTreeMap<&'static str, Vec<u8>>;

/// A write: the key, and its new value unless it is deleted.
type Deed = (&'static str, Option<Vec<u8>>);

fn deeds() -> Vec<Deed> {
    let (one, two, three) = (content(1, LENGTH), content(2, LENGTH), content(3, LENGTH));
    vec![
        ("a", Some(one.clone())),
        ("a", Some(two.clone())),
        ("b", Some(two)),
        ("a", None),
        ("b", Some(b"short".to_vec())),
        // It was removed before.
        ("c", Some(one)),
        ("b", Some(three)),
    ]
}

/// The values after this many writes.
fn values_after(count: usize) -> Values {
    let mut values = Values::new();
    for (key, value) in deeds().into_iter().take(count) {
        match value {
            Some(value) => values.insert(key, value),
            None => values.remove(key),
        };
    }
    values
}

fn client(disk: &CrashFs) -> Client {
    let store = LargeValues::new(Arc::new(open(disk.clone())), Limits::default()).unwrap();
    Client::new(Arc::new(store.with_blobs_from(BLOBS_FROM_BYTES)))
}

async fn carry_out(client: &Client, (key, value): Deed) -> Result<()> {
    match value {
        Some(value) => client.set(key, value).await.map(drop),
        None => client.delete(key).await.map(drop),
    }
}

async fn found(client: &Client) -> Values {
    let mut values = Values::new();
    for key in ["a", "b", "c"] {
        if let Some(value) = client.get(key).await.unwrap_or_else(|e| panic!("{key}: {e}")) {
            values.insert(key, value.to_vec());
        }
    }
    values
}

/// The files in the folder of the blobs, without the lock.
fn blobs(disk: &CrashFs) -> BTreeSet<String> {
    let folder = Path::new(FOLDER).join("blobs/default");
    let names = disk.names().into_iter().filter(|path| path.parent() == Some(&folder));
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name != "lock").collect()
}

/// Checks the state after a stop, of which `done` writes were acknowledged.
async fn examine(disk: &CrashFs, done: usize, seed: &mut Seed) {
    let store = client(disk);
    let values = found(&store).await;
    assert!(values == values_after(done) || values == values_after(done + 1), "{done} writes were acknowledged");
    store.store().maintain(&bucket(), Task::RemoveLeftovers).await.unwrap();
    let report = store.store().maintain(&bucket(), Task::Check).await.unwrap();
    let damage: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
    assert!(damage.is_empty(), "{damage:?}");
    let large = values.values().filter(|value| value.len() > BLOBS_FROM_BYTES);
    let needed: BTreeSet<String> = large.map(|value| name(value)).collect();
    assert_eq!(blobs(disk), needed, "after a sweep");

    // What was served once, and what is written now, survives the next crash.
    let next = content(4, LENGTH);
    carry_out(&store, ("b", Some(next.clone()))).await.unwrap();
    let mut expected = values;
    expected.insert("b", next);
    assert!(found(&client(&disk.crashed(seed))).await == expected, "after the next crash");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn large_values_are_whole_or_absent_when_the_power_is_cut() {
    let runtime = runtime();
    for point in 0..400 {
        let disk = CrashFs::default();
        disk.stop_before(point);
        let done = runtime.block_on(async {
            let client = client(&disk);
            let mut done = 0;
            for deed in deeds() {
                if carry_out(&client, deed).await.is_err() {
                    break;
                }
                done += 1;
            }
            done
        });
        for number in 0..SEEDS {
            let seed = &mut Seed::new(number + point * 1000);
            for (state, how) in [(disk.crashed(seed), "power lost"), (disk.killed(seed), "killed")] {
                let case = format!("stopped before change {point}, seed {number}, {how}");
                let examined = std::panic::AssertUnwindSafe(|| runtime.block_on(examine(&state, done, seed)));
                assert!(std::panic::catch_unwind(examined).is_ok(), "{case}");
            }
        }
        if done == deeds().len() {
            assert!(point >= 30, "only {point} points");
            return;
        }
    }
    panic!("it never ends");
}
