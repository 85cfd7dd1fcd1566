//! Two concurrent processes: each case stops a call of one process at the worst moment, while the other continues.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kvs::model::ErrorKind;
use kvs::store::{Store, Task};

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Freezing, FreezingFs, Meddling, MeddlingFs, Which};
use crate::yaml::fixtures::{
    Values, all, apply, bucket, commit, data, delete, model, open, pair, put, run, upkeep, values,
};

fn freezing(disk: &CrashFs) -> FreezingFs {
    FreezingFs::new(disk.clone(), Freezing::default())
}

fn prepared() -> (CrashFs, Values) {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    let mut known = Values::new();
    for n in 0..20 {
        commit(&store, pair(n % 7, &format!("{n}")));
        model(&mut known, &pair(n % 7, &format!("{n}")));
    }
    (disk, known)
}

#[test]
fn overlapping_compactions_do_not_touch_the_new_file() {
    // The second is about to open or lock the new file while the first is about to rename it.
    for call in [Call::Open, Call::Lock] {
        let (disk, known) = prepared();
        let (first, second) = (freezing(&disk), freezing(&disk));
        let late = second.probe.freeze(Which(call, ".compact"));
        let second_store = open(second.clone());
        let second_thread = thread::spawn(move || upkeep(&second_store, Task::Compact).map(drop));
        late.reached();
        let renaming = first.probe.freeze(Which(Call::Rename, ".compact"));
        let first_store = open(first.clone());
        let first_thread = thread::spawn(move || upkeep(&first_store, Task::Compact).map(drop));
        renaming.reached();
        // The second may write its snapshot; then the first finishes.
        let writing = second.probe.freeze(Which(Call::Write, ".compact"));
        late.open();
        thread::sleep(Duration::from_millis(50));
        renaming.open();
        let first_answer = first_thread.join().unwrap();
        let found = all(&open(disk.clone()));
        writing.open();
        let second_answer = second_thread.join().unwrap();
        let case = format!("the second was held at {call:?}; {first_answer:?}, {second_answer:?}");
        assert!(first_answer.is_ok() || second_answer.is_ok(), "{case}");
        assert_eq!(found.map(|(_, entries)| entries.len()).ok(), Some(known.len()), "{case}");
        assert_eq!(values(&open(disk.clone())), known, "{case}");
        assert_eq!(values(&open(disk.crashed(&mut Seed::new(3)))), known, "{case}");
    }
}

#[test]
fn writes_during_a_large_compaction_are_kept() {
    // The snapshot is written in parts of some thousand entries; writes of all kinds come between two parts.
    let disk = CrashFs::default();
    let compacting = MeddlingFs::new(disk.clone(), Meddling::default());
    let store = open(compacting.clone());
    let mut known = Values::new();
    let many: Vec<_> = (0..5000).map(|n| put(&format!("key {n:05}"), "value")).collect();
    commit(&store, many.clone());
    model(&mut known, &many);
    let writes = vec![
        put("key 00001", "changed after it was copied"),
        delete("key 00002"),
        put("key 04990", "changed before it was copied"),
        delete("key 04991"),
        put("a first", "new"),
        put("z last", "new"),
    ];
    model(&mut known, &writes);
    for (call, ending) in [(Call::Resemble, ".compact"), (Call::Write, ".compact"), (Call::Sync, ".compact")] {
        for own in [true, false] {
            let other = if own { store.clone() } else { open(disk.clone()) };
            let writes = writes.clone();
            compacting.probe.next(Which(call, ending), move || {
                // First the opposite, so that it shows if the last write is not the last.
                commit(&other, vec![delete("key 00001"), put("key 00002", "x"), delete("a first")]);
                commit(&other, writes);
            });
            upkeep(&store, Task::Compact).unwrap();
            let case = format!("{call:?}, by this process: {own}");
            assert_eq!(values(&store), known, "{case}");
            assert_eq!(all(&open(disk.clone())).unwrap(), all(&store).unwrap(), "{case}");
            assert_eq!(values(&open(disk.crashed(&mut Seed::new(5)))), known, "{case}");
        }
    }
}

#[test]
fn an_edit_by_hand_during_compaction_is_kept() {
    for (call, ending) in [(Call::Resemble, ".compact"), (Call::Write, ".compact"), (Call::Sync, ".compact")] {
        for rewritten in [false, true] {
            let (disk, mut known) = prepared();
            let compacting = MeddlingFs::new(disk.clone(), Meddling::default());
            let other = disk.clone();
            compacting.probe.next(Which(call, ending), move || {
                let text = [&other.bytes(&data()).unwrap(), &b"hand: edited\n"[..]].concat();
                other.put(&data(), &text);
                if rewritten {
                    // Another process rewrites the file, appends, and records it.
                    let store = open(other);
                    commit(&store, pair(0, "meanwhile"));
                    commit(&store, vec![delete("a1"), delete("b1")]);
                }
            });
            model(&mut known, &[put("hand", "edited")]);
            if rewritten {
                model(&mut known, &pair(0, "meanwhile"));
                model(&mut known, &[delete("a1"), delete("b1")]);
            }
            let store = open(compacting);
            let answer = upkeep(&store, Task::Compact);
            let case = format!("{call:?}, rewritten: {rewritten}: {answer:?}");
            assert!(answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::Busy), "{case}");
            assert_eq!(values(&store), known, "{case}");
            assert_eq!(values(&open(disk.clone())), known, "{case}");
            upkeep(&store, Task::Compact).unwrap();
            assert_eq!(values(&open(disk.clone())), known, "{case}, compacted again");
            assert!(disk.names().iter().all(|name| !name.to_string_lossy().ends_with(".compact")));
        }
    }
}

#[test]
fn compaction_gives_up_if_another_one_finished_meanwhile() {
    let (disk, mut known) = prepared();
    let compacting = MeddlingFs::new(disk.clone(), Meddling::default());
    let other = disk.clone();
    // The other process appends so much to its snapshot that the file is as long as before, or longer.
    compacting.probe.next(Which(Call::Open, ".compact"), move || {
        let store = open(other);
        upkeep(&store, Task::Compact).unwrap();
        for n in 0..60 {
            commit(&store, pair(n % 7, &format!("meanwhile {n}")));
        }
    });
    for n in 0..60 {
        model(&mut known, &pair(n % 7, &format!("meanwhile {n}")));
    }
    let store = open(compacting);
    let answer = upkeep(&store, Task::Compact);
    assert!(answer.is_err_and(|e| e.kind() == ErrorKind::Busy));
    assert_eq!(values(&store), known);
    assert_eq!(values(&open(disk)), known);
}

#[test]
fn readers_neither_wait_for_a_sync_nor_see_unsynced_data() {
    let (disk, known) = prepared();
    let frozen = freezing(&disk);
    let store = open(frozen.clone());
    commit(&store, pair(0, "before"));
    let mut known = known;
    model(&mut known, &pair(0, "before"));
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let writer = store.clone();
    let writing = thread::spawn(move || apply(&writer, pair(0, "after")).is_ok());
    gate.reached();
    let start = Instant::now();
    assert_eq!(values(&store), known, "of this process");
    assert!(start.elapsed() < Duration::from_millis(300));
    // Another process may wait or get Busy, but must not see what is not durable.
    let other = all(&open(disk.clone()));
    assert!(other.is_err_and(|e| e.kind() == ErrorKind::Busy));
    gate.open();
    assert!(writing.join().unwrap());
    assert_eq!(values(&store)["b0"], "after");
    assert_eq!(values(&open(disk))["b0"], "after");
}

#[test]
fn many_readers_of_a_locked_bucket_time_out_together() {
    let (disk, _) = prepared();
    let frozen = freezing(&disk);
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let holder = open(frozen);
    let writing = thread::spawn(move || apply(&holder, pair(0, "held")).is_ok());
    gate.reached();
    let reader = open(disk);
    let start = Instant::now();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let reader = reader.clone();
            thread::spawn(move || all(&reader).is_err_and(|e| e.kind() == ErrorKind::Busy))
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    let took = start.elapsed();
    gate.open();
    assert!(writing.join().unwrap());
    assert!(took < Duration::from_millis(1800), "8 readers, with a timeout of 300 ms, got an answer after {took:?}");
}

#[test]
fn writer_of_a_locked_bucket_gets_busy_and_writes_nothing() {
    let (disk, _) = prepared();
    let frozen = freezing(&disk);
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let holder = open(frozen);
    let writing = thread::spawn(move || apply(&holder, pair(0, "held")).is_ok());
    gate.reached();
    let bytes = disk.bytes(&data());
    let other = open(disk.clone());
    assert_eq!(apply(&other, pair(0, "other")).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(disk.bytes(&data()), bytes);
    gate.open();
    assert!(writing.join().unwrap());
    commit(&other, pair(0, "other"));
}

#[test]
fn cancelled_writer_leaves_the_store_intact() {
    // The future is dropped while its batch waits for another one. The batch is then stored or not, and nothing hangs.
    let (disk, _) = prepared();
    let frozen = freezing(&disk);
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let store = open(frozen);
    let writer = store.clone();
    let writing = thread::spawn(move || apply(&writer, pair(0, "first")).is_ok());
    gate.reached();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let bucket = bucket();
    let mut waiting = Box::pin(store.apply(&bucket, crate::yaml::fixtures::batch(pair(1, "dropped"))));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(waiting);
    gate.open();
    assert!(writing.join().unwrap());
    commit(&store, pair(2, "later"));
    let found = values(&open(disk));
    assert_eq!(found["a1"], found["b1"]);
    assert_eq!(found["b2"], "later");
}

#[test]
fn removing_all_files_of_an_open_store_leaves_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = FreezingFs::new(kvs::yaml::RealFileSystem, Freezing::default());
    let options = |disk: Arc<dyn kvs::yaml::FileSystem>| kvs::yaml::YamlOptions {
        lock_timeout: Duration::from_millis(300),
        file_system: disk,
        ..kvs::yaml::YamlOptions::default()
    };
    let old = kvs::yaml::YamlStore::open(folder.path(), options(Arc::new(kvs::yaml::RealFileSystem))).unwrap();
    commit(&old, pair(0, "x"));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(values(&old).len(), 2, "the last good state is served");
    let new = kvs::yaml::YamlStore::open(folder.path(), options(Arc::new(frozen.clone()))).unwrap();
    commit(&new, pair(1, "new"));
    let gate = frozen.probe.freeze(Which(Call::Sync, ".yaml"));
    let writer = new.clone();
    let writing = thread::spawn(move || apply(&writer, pair(2, "new")).is_ok());
    gate.reached();
    let answer = apply(&old, pair(3, "old"));
    gate.open();
    assert!(writing.join().unwrap());
    assert!(answer.is_err_and(|e| e.kind() == ErrorKind::Busy), "two wrote at once");
    commit(&old, pair(3, "old"));
    let found = values(&new);
    assert_eq!((found["b1"].as_str(), found["b2"].as_str(), found["b3"].as_str()), ("new", "new", "old"));
    run(new.buckets()).unwrap();
}

#[test]
fn requests_are_answered_while_another_runtime_is_blocked() {
    // A runtime with one thread does nothing between two calls of its owner, as in a blocking client.
    let (disk, _) = prepared();
    let meddling = MeddlingFs::new(disk, Meddling::default());
    let store = open(meddling.clone());
    let (first, second) = (store.clone(), store.clone());
    let (sender, answer) = std::sync::mpsc::channel();
    meddling.probe.next(Which(Call::Write, ".yaml"), move || {
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let outcome = runtime.block_on(second.apply(&bucket(), crate::yaml::fixtures::batch(pair(1, "second"))));
            let _ = sender.send(outcome.is_ok());
        });
        // Long enough for it to wait for the first.
        thread::sleep(Duration::from_millis(50));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(first.apply(&bucket(), crate::yaml::fixtures::batch(pair(0, "first")))).unwrap();
    assert_eq!(answer.recv_timeout(Duration::from_secs(3)), Ok(true), "the second waits forever");
    drop(runtime);
}

#[test]
fn reading_a_missing_bucket_creates_no_files() {
    let disk = CrashFs::default();
    let store = open(disk.clone());
    assert!(values(&store).is_empty());
    run(store.get(&bucket(), &[crate::yaml::fixtures::key("a")])).unwrap();
    for task in [Task::Compact, Task::RemoveExpired, Task::RemoveLeftovers, Task::Check] {
        assert_eq!(upkeep(&store, task).unwrap(), kvs::store::Report::default());
    }
    assert_eq!(run(store.buckets()).unwrap(), []);
    store.begin_edit(&bucket()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bucket = bucket();
        let waiting = store.changed(&bucket, kvs::model::Revision::ZERO);
        assert!(tokio::time::timeout(Duration::from_millis(120), waiting).await.is_err());
    });
    assert_eq!(disk.names(), Vec::<std::path::PathBuf>::new());
}
