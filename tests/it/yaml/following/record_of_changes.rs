//! The record of changes in the lock file: lost, damaged, of another epoch, or written by a process that was killed.

use kvs::store::Task;
use kvs::yaml::{RealFileSystem, YamlStore};

use super::{Folder, Follower, catch_up, seen, write};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::support::disks::{Call, Failing, FailingFs, Fault, Which};
use crate::yaml::fixtures::{apply, commit, delete, open, options, put, upkeep};

type Damage = fn(&Folder);

#[test]
fn lost_or_damaged_record_makes_changes_unknown_but_never_wrong() {
    let damages: [(&str, Damage); 5] = [
        ("removed", |folder| std::fs::remove_file(folder.lock()).unwrap()),
        ("emptied", |folder| write(&folder.lock(), "")),
        ("cut", |folder| {
            let bytes = std::fs::read(folder.lock()).unwrap();
            write(&folder.lock(), &bytes[..bytes.len() - 2]);
        }),
        ("garbage", |folder| {
            let bytes = std::fs::read(folder.lock()).unwrap();
            write(&folder.lock(), [&bytes[..450], b"changes \xff\xfe garbage\n\n\n"].concat());
        }),
        ("another key", |folder| {
            let text = std::fs::read_to_string(folder.lock()).unwrap();
            let (start, _) = text.trim_end().rsplit_once(' ').unwrap();
            write(&folder.lock(), format!("{start} z\n"));
        }),
    ];
    for (damage, act) in damages {
        let folder = Folder::with(&["a", "b"]);
        let store = folder.process();
        let follower = Follower::list(&store);
        commit(&store, vec![delete("a")]);
        upkeep(&store, Task::Compact).unwrap();
        assert_eq!(catch_up(&follower, &folder.process(), damage), seen(&[("a", false)]));
        act(&folder);
        assert_eq!(catch_up(&follower, &store, damage), seen(&[("a", false)]), "{damage}");
        assert_eq!(catch_up(&follower, &folder.process(), damage), None, "{damage}");
        // It is known from the next rewrite by a process that knows it.
        commit(&store, vec![put("c", "1")]);
        upkeep(&store, Task::Compact).unwrap();
        assert_eq!(catch_up(&follower, &folder.process(), damage), seen(&[("a", false), ("c", true)]), "{damage}");
    }
}

#[test]
fn record_of_another_epoch_is_ignored() {
    let folder = Folder::with(&["a", "b", "c"]);
    let store = folder.process();
    commit(&store, vec![delete("a")]);
    upkeep(&store, Task::Compact).unwrap();
    let old_record = std::fs::read(folder.lock()).unwrap()[450..].to_vec();
    let follower = Follower::list(&store);
    commit(&store, vec![delete("b")]);
    upkeep(&store, Task::Compact).unwrap();
    let bytes = std::fs::read(folder.lock()).unwrap();
    write(&folder.lock(), [&bytes[..450], &old_record].concat());
    assert_eq!(catch_up(&follower, &folder.process(), "an old record"), None);
    assert_eq!(catch_up(&follower, &store, "an old record"), seen(&[("b", false)]));
}

#[test]
fn record_that_cannot_be_written_makes_changes_unknown() {
    let folder = Folder::with(&["a", "b"]);
    let disk = FailingFs::new(RealFileSystem, Failing::default());
    let store = YamlStore::open(folder.0.path(), options(disk.clone())).unwrap();
    let follower = Follower::list(&store);
    commit(&store, vec![delete("a")]);
    // The announcement and the record of the file are written, and then the record of the changes fails in the middle.
    for after in 0..6 {
        disk.probe.fail([Fault {
            which: Which(Call::Write, ".lock"),
            after,
            times: 1,
            kind: std::io::ErrorKind::Other,
            part: 300,
        }]);
        let _ = upkeep(&store, Task::Compact);
        disk.probe.fail([]);
        let case = format!("after {after} writes of the lock file");
        for store in [&store, &folder.process()] {
            assert!(catch_up(&follower, store, &case).is_none_or(|seen| seen == [("a".to_owned(), false)]), "{case}");
        }
        assert_eq!(catch_up(&follower, &store, &case), seen(&[("a", false)]), "{case}");
    }
}

#[test]
fn kill_at_any_point_loses_no_change() {
    let start = CrashFs::default();
    let store = open(start.clone());
    commit(&store, vec![put("a", "1"), put("b", "1"), put("c", "1")]);
    upkeep(&store, Task::Compact).unwrap();
    let follower = Follower::list(&store);
    drop(store);
    for point in 0.. {
        let disk = start.killed(&mut Seed::new(point));
        disk.stop_before(point);
        let store = open(disk.clone());
        let steps = [
            apply(&store, vec![delete("a")]).is_ok(),
            upkeep(&store, Task::Compact).is_ok(),
            apply(&store, vec![delete("b"), put("d", "1")]).is_ok(),
            upkeep(&store, Task::Compact).is_ok(),
        ];
        for after in [disk.killed(&mut Seed::new(point)), disk.crashed(&mut Seed::new(point))] {
            let next = open(after.clone());
            catch_up(&follower, &next, &format!("stopped before change {point}"));
            commit(&next, vec![delete("c")]);
            catch_up(&follower, &next, &format!("stopped before change {point}, and written"));
            let last = open(after);
            catch_up(&follower, &last, &format!("stopped before change {point}, written, and opened again"));
        }
        if steps == [true; 4] {
            assert!(point > 15, "only {point} points");
            return;
        }
    }
}
