//! What followers get after a person has edited the data file, in processes that had read it before and in fresh ones.

use std::collections::BTreeMap;

use kvs::model::Revision;
use kvs::store::Task;

use super::{Folder, Follower, catch_up, seen};
use crate::yaml::fixtures::{commit, delete, put, upkeep};

type Save = fn(&Folder, &str);

/// How a person saves the file.
const WAYS: [(&str, Save); 2] = [("in place", Folder::edit), ("by rename", Folder::replace)];

#[test]
fn process_reports_exactly_what_a_person_changed() {
    for (way, save) in WAYS {
        let folder = Folder::with(&["a", "b", "c", "d"]);
        let store = folder.process();
        let follower = Follower::list(&store);
        save(&folder, &folder.without("b"));
        assert_eq!(catch_up(&follower, &store, way), seen(&[("b", false)]), "{way}");
        save(&folder, &format!("{}c: edited\nnew: added\n", folder.without("c")));
        let mut changed = catch_up(&follower, &store, way).unwrap();
        changed.sort();
        assert_eq!(Some(changed), seen(&[("b", false), ("c", true), ("new", true)]), "{way}");
        // Nothing else is reported later, and a client that is up to date gets nothing.
        commit(&store, vec![put("d", "2")]);
        assert_eq!(catch_up(&Follower::list(&store), &store, way), seen(&[]), "{way}");
        assert_eq!(catch_up(&follower, &store, way).unwrap().len(), 4, "{way}");
    }
}

#[test]
fn line_that_a_person_deleted_is_never_missed() {
    for (way, save) in WAYS {
        for last in ["a", "b", "c"] {
            let folder = Folder::with(&["a", "b", "c"]);
            let old = folder.process();
            let follower = Follower::list(&old);
            save(&folder, &folder.without(last));
            let case = format!("{way}, {last}");
            // A process may not know, but must not say that nothing was deleted.
            let (early, fresh) = (folder.process(), folder.process());
            for store in [&early, &old] {
                let seen = catch_up(&follower, store, &case);
                assert!(seen.is_none_or(|seen| seen == [(last.to_owned(), false)]), "{case}");
            }
            for then in ["read by the other", "written", "compacted"] {
                match then {
                    "written" => drop(commit(&fresh, vec![put("later", "1")])),
                    "compacted" => drop(upkeep(&early, Task::Compact).unwrap()),
                    _ => {}
                }
                for store in [&old, &early, &fresh, &folder.process()] {
                    catch_up(&follower, store, &format!("{case}, {then}"));
                }
            }
        }
    }
}

#[test]
fn second_edit_is_seen_by_the_followers_of_a_process_that_missed_the_first() {
    let folder = Folder::with(&["a", "b", "c"]);
    let (one, other) = (folder.process(), folder.process());
    let mut follower = Follower::list(&one);
    Follower::list(&other);
    folder.edit(&folder.without("a"));
    assert_eq!(follower.catch_up(&one, 10), seen(&[("a", false)]));
    folder.edit(&folder.without("b"));
    catch_up(&follower, &other, "at the process that saw both edits at once");
    catch_up(&follower, &one, "at the process that saw them one by one");
    catch_up(&follower, &folder.process(), "at a fresh process");
}

#[test]
fn old_file_that_is_restored_is_never_mistaken_for_the_present_one() {
    for (way, save) in WAYS {
        let folder = Folder::with(&["a", "b"]);
        let old_text = folder.text();
        let store = folder.process();
        commit(&store, vec![put("c", "1"), delete("a"), put("b", "2")]);
        upkeep(&store, Task::Compact).unwrap();
        let follower = Follower::list(&store);
        save(&folder, &old_text);
        let mut changed = catch_up(&follower, &store, way).unwrap();
        changed.sort();
        assert_eq!(Some(changed), seen(&[("a", true), ("b", true), ("c", false)]), "{way}");
        for store in [&folder.process(), &store] {
            catch_up(&follower, store, way);
        }
    }
}

#[test]
fn revision_zero_returns_all_entries_of_an_edited_file() {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder.edit(&(0..25).map(|n| format!("k{n}: 1\n")).collect::<String>());
    let store = folder.process();
    let nothing = Follower { since: Revision::ZERO, entries: BTreeMap::new() };
    assert_eq!(catch_up(&nothing, &store, "in one page").map(|seen| seen.len()), Some(25));
    // A second page may be unknown, but no entry is left out silently.
    let mut follower = nothing.clone();
    assert!(follower.catch_up(&store, 10).is_none_or(|seen| seen.len() == 25));
    assert!(follower.entries.len() >= 10);
}

#[test]
fn write_that_a_person_undid_before_a_process_saw_it_is_not_missed() {
    for tidy_up_to in [1 << 20, 0] {
        for (way, save) in WAYS {
            let case = format!("{way}, a copy of {tidy_up_to} bytes");
            let folder = Folder::with(&["a"]);
            let (one, other) = (folder.process_with(tidy_up_to), folder.process_with(tidy_up_to));
            Follower::list(&other);
            let before = folder.text();
            commit(&one, vec![put("k", "1")]);
            let follower = Follower::list(&one);
            // The clock of the file system ticks every 4 ms.
            std::thread::sleep(std::time::Duration::from_millis(10));
            save(&folder, &before);
            for store in [&other, &one, &folder.process_with(tidy_up_to)] {
                catch_up(&follower, store, &case);
            }
            commit(&one, vec![put("b", "1")]);
            for store in [&other, &one, &folder.process_with(tidy_up_to)] {
                catch_up(&follower, store, &case);
            }
        }
    }
}
