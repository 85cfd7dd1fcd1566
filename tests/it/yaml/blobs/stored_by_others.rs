//! Several real processes store and remove the same large values, while another one sweeps.

use std::path::Path;

use kvs::store::{Severity, Store, Task};

use super::{content, files, names, open};
use crate::yaml::fixtures::bucket;
use crate::yaml::processes::{part, start};

const TEST: &str = "yaml::blobs::stored_by_others::processes_that_store_equal_values_never_lose_one";
const PROCESSES: usize = 3;
const TURNS: usize = 60;

/// All processes store these values, so each removes files that others are just storing.
fn value(number: usize) -> Vec<u8> {
    content(number as u64, 150_000)
}

/// Stores and removes values under keys of its own. What it has stored must be there until it removes it.
async fn store_and_remove(folder: &Path, process: usize) {
    let (_, client) = open(folder);
    for turn in 0..TURNS {
        let (key, number) = (format!("{process}/{}", turn % 2), (turn * 7 + process) % 3);
        client.set(&key, value(number)).await.unwrap();
        let found = client.get(&key).await.unwrap_or_else(|e| panic!("turn {turn}: {e}"));
        assert!(found.is_some_and(|found| found == value(number)), "turn {turn}: {key} has other bytes");
        if turn % 5 == 4 {
            client.delete(&key).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_store_equal_values_never_lose_one() {
    if let Some((folder, number)) = part() {
        return store_and_remove(Path::new(&folder), number).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (store, client) = open(folder.path());
    let mut children: Vec<_> = (0..PROCESSES).map(|number| start(TEST, folder.path(), number)).collect();
    let mut sweeps = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        for task in [Task::RemoveLeftovers, Task::Compact, Task::RemoveExpired] {
            store.maintain(&bucket(), task).await.unwrap();
            sweeps += 1;
        }
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let mut needed = vec![];
    for process in 0..PROCESSES {
        for slot in 0..2 {
            // The last turn of each key that was not followed by a deletion.
            let Some(found) = client.get(&format!("{process}/{slot}")).await.unwrap() else { continue };
            assert!((0..3).any(|number| found == value(number)), "{process}/{slot} has other bytes");
            needed.push(found);
        }
    }
    assert!(!needed.is_empty() && sweeps > 3, "{sweeps} sweeps");
    store.maintain(&bucket(), Task::RemoveLeftovers).await.unwrap();
    let needed: Vec<&[u8]> = needed.iter().map(|bytes| &bytes[..]).collect();
    assert_eq!(files(folder.path()), names(&needed));
    let findings = store.maintain(&bucket(), Task::Check).await.unwrap().findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
}
