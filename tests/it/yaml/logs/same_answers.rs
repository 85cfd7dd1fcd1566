//! Every process gives the same answers about a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kvs::memory::MemoryStore;
use kvs::model::{Clock, LogAppend, NewLogEntry, Retention, Time};
use kvs::store::Limits;
use kvs::yaml::{YamlOptions, YamlStore};

use super::{Deed, View, append, file, is_listed, keeping, values, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{FOLDER, open, options};

/// A clock that is set.
#[derive(Clone, Default)]
struct SetClock(Arc<AtomicI64>);

impl SetClock {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(i64::try_from(seconds).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Time {
        Time::from_secs(1_800_000_000 + self.0.load(Ordering::SeqCst))
    }
}

fn process(disk: &CrashFs, clock: &SetClock) -> YamlStore {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    YamlStore::open(FOLDER, YamlOptions { clock, ..options(disk.clone()) }).unwrap()
}

fn seconds(seconds: u64) -> Retention {
    Retention { max_entries: None, max_age: Some(Duration::from_secs(seconds)) }
}

#[test]
fn old_entry_of_a_new_append_is_kept_by_no_process() {
    let (disk, clock) = (CrashFs::default(), SetClock::default());
    let store = process(&disk, &clock);
    Deed::Append(LogAppend { retention: Some(seconds(60)), ..LogAppend::default() }).run(&store).unwrap();
    let old = NewLogEntry { updated: Some(Time::from_secs(1_700_000_000)), ..NewLogEntry::new("old") };
    let entries = vec![old, NewLogEntry::new("new")];
    Deed::Append(LogAppend { entries, ..LogAppend::default() }).run(&store).unwrap();
    let here = view(&store).unwrap().unwrap();
    assert_eq!(view(&process(&disk, &clock)).unwrap().as_ref(), Some(&here), "another process");
    assert_eq!(here.entries, [(1, "new".to_owned())]);
}

#[test]
fn first_index_is_not_after_the_oldest_entry_when_there_are_gaps() {
    let store = open(CrashFs::default());
    keeping(values(&["zero"]), Some(3)).run(&store).unwrap();
    let Deed::Append(last) = values(&["ten", "eleven"]) else { unreachable!() };
    Deed::Append(LogAppend { index: Some(10), ..last }).run(&store).unwrap();
    let found = view(&store).unwrap().unwrap();
    assert_eq!((found.entries[0].0, found.entries.len()), (10, 2), "{found:?}");
    assert!((9..=10).contains(&found.first), "{found:?}");
}

#[test]
fn empty_file_is_no_log_and_is_not_listed() {
    let disk = CrashFs::default();
    append(&open(disk.clone()), &["x"]).unwrap();
    disk.put(&file(), b"");
    let store = open(disk.clone());
    assert_eq!((view(&store).unwrap(), is_listed(&store)), (None, false));
    assert_eq!(append(&store, &["y"]).unwrap(), 0);
    assert!(is_listed(&open(disk)));
}

/// Something that a process does, at random.
fn deed(seed: &mut Seed, next: u64) -> Deed {
    let retention = match seed.below(8) {
        0 => Some(Retention { max_entries: Some(seed.below(5) as u64), max_age: None }),
        1 => Some(Retention { max_entries: None, max_age: Some(Duration::from_secs(1 + seed.below(40) as u64)) }),
        2 => Some(Retention::default()),
        _ => None,
    };
    let count = seed.below(4);
    let entries = (0..count).map(|n| NewLogEntry::new(format!("{n} {}", seed.next() % 1_000))).collect();
    let index = (seed.below(6) == 0).then(|| next + seed.below(4) as u64);
    match seed.below(10) {
        0 => Deed::Remove(Some(seed.next() % (next + 2))),
        1 => Deed::Remove(None),
        _ => Deed::Append(LogAppend { entries, index, retention }),
    }
}

/// Another test checks the first index.
fn without_first(view: Option<View>) -> Option<View> {
    view.map(|view| View { first: 0, ..view })
}

#[test]
fn random_deeds_of_several_processes_have_the_results_of_a_store_in_memory() {
    for number in 0..400 {
        let seed = &mut Seed::new(number);
        let (disk, clock) = (CrashFs::default(), SetClock::default());
        let stores: Vec<YamlStore> = (0..3).map(|_| process(&disk, &clock)).collect();
        let model = MemoryStore::new(Arc::new(clock.clone()), Limits::default());
        let mut done = vec![];
        for _ in 0..40 {
            let next = view(&model).unwrap().map_or(0, |view| view.next);
            let deed = deed(seed, next);
            done.push(deed.clone());
            let outcome = deed.run(&stores[seed.below(3)]).unwrap_or_else(|e| panic!("game {number}: {e}: {done:#?}"));
            assert_eq!(outcome, deed.run(&model).unwrap(), "game {number}: {done:#?}");
            if seed.below(3) == 0 {
                clock.pass(seed.next() % 30);
            }
            let expected = without_first(view(&model).unwrap());
            for store in &stores[..=seed.below(3)] {
                assert_eq!(
                    without_first(view(store).unwrap()),
                    expected,
                    "game {number}: {done:#?}\n{}",
                    super::text(&disk)
                );
            }
        }
    }
}
