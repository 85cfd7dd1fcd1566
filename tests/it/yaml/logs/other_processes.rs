//! What a process sees of the appends of another one, and when.

use std::time::Duration;

use kvs::model::{ErrorKind, LogAppend, NewLogEntry, Retention};
use kvs::store::Logs as _;
use kvs::yaml::{YamlOptions, YamlStore};

use super::{Deed, NAME, append, keeping, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::{Call, Freezing, FreezingFs, Which};
use crate::yaml::fixtures::{FOLDER, bucket, key, open, options};
use crate::yaml::processes::real;

/// The maximum time until a process notices what another one has done. A busy machine may need long.
const SOON: Duration = Duration::from_secs(20);

/// The next index that another process reads while this call of a deed has come but is not done; `None` if it is asked to
/// try again.
fn seen_within(deed: Deed, which: Which, is_known: bool) -> Option<u64> {
    let disk = CrashFs::default();
    let frozen = FreezingFs::new(disk.clone(), Freezing::default());
    let (writer, reader) = (open(frozen.clone()), open(disk.clone()));
    append(&writer, &["one", "two"]).unwrap();
    if is_known {
        view(&reader).unwrap();
    }
    let gate = frozen.probe.freeze(which);
    let writing = std::thread::spawn(move || deed.run(&writer).unwrap());
    gate.reached();
    let seen = match view(&reader) {
        Ok(seen) => Some(seen.unwrap().next),
        Err(error) if error.kind() == ErrorKind::Busy => None,
        Err(error) => panic!("{error}"),
    };
    gate.open();
    writing.join().unwrap();
    let last = view(&reader).unwrap().unwrap();
    assert_eq!(last.next, 3, "it is seen at once when it is done");
    seen
}

#[test]
fn entry_is_not_seen_before_it_is_durable() {
    for is_known in [true, false] {
        for (deed, which) in [
            (values(&["three"]), Which(Call::Sync, ".log")),
            (keeping(values(&["three"]), Some(2)), Which(Call::Sync, ".new")),
            (keeping(values(&["three"]), Some(2)), Which(Call::SyncFolder, ".logs")),
        ] {
            let case = format!("{deed:?}, {which:?}, {is_known}");
            if let Some(seen) = seen_within(deed, which, is_known) {
                assert_eq!(seen, 2, "{case}");
            }
        }
    }
}

#[test]
fn a_log_that_is_not_replaced_yet_can_be_read() {
    let seen = seen_within(keeping(values(&["three"]), Some(2)), Which(Call::Sync, ".new"), true);
    assert_eq!(seen, Some(2));
}

#[test]
fn first_appends_of_two_processes_wait_for_each_other() {
    let disk = CrashFs::default();
    let frozen = FreezingFs::new(disk.clone(), Freezing::default());
    let gate = frozen.probe.freeze(Which(Call::Sync, ".new"));
    let appending = |store: YamlStore| std::thread::spawn(move || append(&store, &["a value"]));
    let first = appending(open(frozen.clone()));
    gate.reached();
    let patient = YamlOptions { lock_timeout: SOON, ..options(disk) };
    let second = appending(YamlStore::open(FOLDER, patient).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!second.is_finished(), "it must wait");
    gate.open();
    assert_eq!((first.join().unwrap().unwrap(), second.join().unwrap().unwrap()), (0, 1));
}

async fn changed(store: &YamlStore, next: u64) -> u64 {
    let (bucket, key) = (bucket(), key(NAME));
    let changed = store.log_changed(&bucket, &key, next);
    tokio::time::timeout(SOON, changed).await.unwrap_or_else(|_| panic!("not woken at {next}")).unwrap()
}

fn ring(number: u64) -> LogAppend {
    let retention = Some(Retention { max_entries: Some(1), max_age: None });
    LogAppend { entries: vec![NewLogEntry::new(number.to_string())], index: Some(number), retention }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_wake_for_what_another_process_does() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, waiter) = (real(folder.path()), real(folder.path()));
    let waiting = |next| {
        let waiter = waiter.clone();
        tokio::spawn(async move { changed(&waiter, next).await })
    };
    // The file is replaced now and then.
    for number in 0..70 {
        let woken = if number % 10 < 2 { Some(waiting(number)) } else { None };
        tokio::task::yield_now().await;
        writer.append(&bucket(), &key(NAME), ring(number)).await.unwrap();
        if let Some(woken) = woken {
            assert_eq!(woken.await.unwrap(), number + 1);
        }
    }
    let woken = waiting(70);
    assert_eq!(writer.remove_log(&bucket(), &key(NAME), Some(70)).await.unwrap(), Some(1));
    writer.append(&bucket(), &key(NAME), ring(70)).await.unwrap();
    assert_eq!(woken.await.unwrap(), 71);
    let woken = waiting(71);
    assert_eq!(writer.remove_log(&bucket(), &key(NAME), None).await.unwrap(), Some(1));
    assert_eq!(woken.await.unwrap(), 0);
    let woken = waiting(0);
    writer.append(&bucket(), &key(NAME), ring(0)).await.unwrap();
    assert_eq!(woken.await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_of_one_process_is_seen_by_the_next_read_of_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let stores: Vec<_> = (0..3).map(|_| real(folder.path())).collect();
    for number in 0..300 {
        let writer = &stores[usize::try_from(number % 3).unwrap()];
        writer.append(&bucket(), &key(NAME), ring(number)).await.unwrap();
        for store in &stores {
            let page = store.read_log(&bucket(), &key(NAME), kvs::model::LogQuery::default()).await.unwrap().unwrap();
            assert_eq!((page.first, page.next, page.entries.len()), (number, number + 1, 1));
            assert_eq!(page.entries[0].value, number.to_string());
        }
    }
}
