//! What followers get after the data file was rewritten, and after restarts.

use std::sync::Arc;
use std::time::Duration;

use kvs::model::{ChangesQuery, Clock as _, Revision, SystemClock, Time, Write};
use kvs::store::{Store as _, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use super::{Folder, Follower, catch_up, seen};
use crate::yaml::fixtures::{bucket, commit, delete, key, put, run, upkeep};

#[test]
fn deletions_are_known_after_any_rewrite_and_restart() {
    let folder = Folder::with(&["a", "b", "c"]);
    let (writer, other) = (folder.process(), folder.process());
    let follower = Follower::list(&writer);
    let of_other = Follower::list(&other);
    commit(&writer, vec![delete("a")]);
    commit(&other, vec![Write::Touch { key: key("c"), expires: Some(Time::from_secs(4_000_000_000)) }]);
    let expected = seen(&[("a", false), ("c", true)]);
    let stores = |case: &str| {
        for store in [&writer, &other, &folder.process()] {
            assert_eq!(catch_up(&follower, store, case), expected, "{case}");
            assert_eq!(catch_up(&of_other, store, case), expected, "{case}");
        }
    };
    stores("in the log");
    upkeep(&other, Task::Compact).unwrap();
    stores("after a compaction");
    for n in 0..3 {
        upkeep(&folder.process(), Task::Compact).unwrap();
        stores(&format!("after {n} more compactions by others"));
    }
    upkeep(&writer, Task::RemoveExpired).unwrap();
    stores("after all expired entries were removed");
}

#[test]
fn last_process_to_end_records_the_deletions() {
    let folder = Folder::with(&["a", "b"]);
    let follower = Follower::list(&folder.process());
    for (n, tidy_after) in [1, 60_000].into_iter().enumerate() {
        // A program that writes and ends, such as `kvs delete` or CGI.
        let clock = Arc::new(SystemClock);
        let tidy_after = Duration::from_millis(tidy_after);
        let options = YamlOptions { clock, tidy_after, ..YamlOptions::default() };
        let store = YamlStore::open(folder.0.path(), options).unwrap();
        commit(&store, vec![delete(["a", "b"][n])]);
        drop(store);
        assert!(!folder.text().contains("---"), "tidied at the end: {}", folder.text());
        let expected = [("a", false), ("b", false)];
        assert_eq!(catch_up(&follower, &folder.process(), "ended"), seen(&expected[..=n]));
    }
}

#[test]
fn key_that_returns_after_its_deletion_is_a_put() {
    let folder = Folder::with(&["a", "b"]);
    let follower = Follower::list(&folder.process());
    let store = folder.process();
    commit(&store, vec![delete("a"), delete("b")]);
    upkeep(&store, Task::Compact).unwrap();
    commit(&folder.process(), vec![put("a", "again")]);
    for store in [&store, &folder.process()] {
        assert_eq!(catch_up(&follower, store, "returned"), seen(&[("b", false), ("a", true)]));
    }
    upkeep(&folder.process(), Task::Compact).unwrap();
    assert_eq!(catch_up(&follower, &folder.process(), "compacted"), seen(&[("b", false), ("a", true)]));
}

#[test]
fn entry_that_expired_and_was_removed_from_the_file_is_a_deletion() {
    // A small file has a copy of the last good state, which still has the entry.
    for tidy_up_to in [1 << 20, 0] {
        let folder = Folder::with(&["a", "b"]);
        let process = || folder.process_with(tidy_up_to);
        let follower = Follower::list(&process());
        let store = process();
        let expires = Some(SystemClock.now().plus(Duration::from_millis(30)));
        let Write::Put { key, value, content_type, modified, .. } = put("a", "2") else { unreachable!() };
        commit(&store, vec![Write::Put { key, value, content_type, modified, expires }]);
        std::thread::sleep(Duration::from_millis(50));
        for task in [Task::RemoveExpired, Task::Compact, Task::Compact] {
            upkeep(&store, task).unwrap();
            for store in [&store, &process()] {
                let mut follower = follower.clone();
                let seen = follower.catch_up(store, 10);
                assert!(seen.is_some() && !follower.entries.contains_key("a"), "{task:?}, {tidy_up_to}: {seen:?}");
            }
        }
    }
}

#[test]
fn ten_thousand_deletions_are_known_after_a_restart() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let store = folder.process();
    let names: Vec<String> = (0..10_050).map(|n| format!("k{n:05}")).collect();
    commit(&store, names.iter().map(|name| put(name, "1")).chain([put("stays", "1")]).collect());
    upkeep(&store, Task::Compact).unwrap();
    let all = Follower::list(&store);
    commit(&store, names[..50].iter().map(|name| delete(name)).collect());
    let most = Follower::list(&store);
    commit(&store, names[50..].iter().map(|name| delete(name)).collect());
    for round in 0..3 {
        let fresh = folder.process();
        let case = format!("after {round} compactions");
        assert_eq!(catch_up(&most, &fresh, &case).map(|seen| seen.len()), Some(10_000), "{case}");
        assert!(catch_up(&all, &fresh, &case).is_none_or(|seen| seen.len() == 10_050), "{case}");
        upkeep(&fresh, Task::Compact).unwrap();
    }
}

#[test]
fn revision_zero_and_future_revisions_after_a_restart() {
    let folder = Folder::with(&["a", "b"]);
    commit(&folder.process(), vec![delete("a")]);
    let fresh = folder.process();
    let page = |since| run(fresh.changes().unwrap().changes_since(&bucket(), ChangesQuery::since(since))).unwrap();
    let first = page(Revision::ZERO).unwrap();
    let live: Vec<&str> = first.changes.iter().filter(|c| c.entry.is_some()).map(|c| c.key.as_str()).collect();
    assert_eq!((live, first.has_more), (vec!["b"], false));
    assert_eq!(page(first.next).unwrap().changes, []);
    assert_eq!(page(first.next.following()), None);
    assert_eq!(page(Revision::new(u64::MAX)), None);
}

#[test]
fn key_that_came_and_went_unseen_is_a_deletion() {
    let folder = Folder::with(&["a"]);
    let (one, other) = (folder.process(), folder.process());
    Follower::list(&other);
    commit(&one, vec![put("k", "1")]);
    let follower = Follower::list(&one);
    commit(&one, vec![delete("k")]);
    upkeep(&one, Task::Compact).unwrap();
    // The other process never had the key.
    for store in [&other, &one, &folder.process()] {
        assert_eq!(catch_up(&follower, store, "came and went"), seen(&[("k", false)]));
    }
}

#[test]
fn touch_after_the_write_that_a_process_missed_is_a_change() {
    let folder = Folder::with(&["a"]);
    let (one, other) = (folder.process(), folder.process());
    Follower::list(&other);
    commit(&one, vec![put("k", "1")]);
    let follower = Follower::list(&one);
    commit(&one, vec![Write::Touch { key: key("k"), expires: Some(Time::from_secs(4_000_000_000)) }]);
    upkeep(&one, Task::Compact).unwrap();
    for store in [&other, &one, &folder.process()] {
        assert_eq!(catch_up(&follower, store, "touched"), seen(&[("k", true)]));
    }
}

#[test]
fn removal_of_expired_entries_does_not_move_the_position() {
    let folder = Folder::with(&["a"]);
    let (one, other) = (folder.process(), folder.process());
    let expires = Some(SystemClock.now().plus(Duration::from_millis(30)));
    commit(&one, vec![put("b", "1"), Write::Touch { key: key("b"), expires }]);
    Follower::list(&other);
    std::thread::sleep(Duration::from_millis(50));
    upkeep(&one, Task::RemoveExpired).unwrap();
    let follower = Follower::list(&other);
    assert_eq!(follower.since, Follower::list(&one).since);
    for store in [&other, &one, &folder.process()] {
        assert_eq!(catch_up(&follower, store, "nothing was written"), seen(&[]));
    }
}
