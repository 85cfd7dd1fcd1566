//! Random operations on the file store and on a map must have the same result: batches of two processes, reopening,
//! maintenance, passing time, and a person who edits the file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kvs::model::{
    Batch, Clock, Condition, ContentType, End, ErrorKind, Expectation, Outcome, Projection, Revision, Scan, Time, Write,
};
use kvs::store::suite::hostile_strings;
use kvs::store::{Store, Task};
use kvs::yaml::{FileSystem, YamlOptions, YamlStore};

use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{FOLDER, all, bucket, data, key, options, run, upkeep};

const SECOND: i64 = 1_000_000_000;

/// A clock that the test moves.
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The expected entry of a key: value, content type and expiry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Held {
    value: Vec<u8>,
    kind: ContentType,
    expires: Option<Time>,
}

struct Game {
    seed: Seed,
    disk: CrashFs,
    clock: Arc<Moved>,
    /// Two processes, and the last revision that each has seen.
    stores: [(YamlStore, Revision); 2],
    /// The value that each process has seen for a key and a revision. It must never change.
    seen: [BTreeMap<(String, Revision), Vec<u8>>; 2],
    model: BTreeMap<String, Held>,
    strings: Vec<Vec<u8>>,
    log: Vec<String>,
}

impl Game {
    fn new(number: u64) -> Self {
        let (disk, clock) = (CrashFs::default(), Arc::new(Moved(AtomicI64::new(1_800_000_000 * SECOND))));
        let store = || (Self::store(&disk, &clock), Revision::ZERO);
        let strings = hostile_strings().into_iter().filter(|s| s.len() < 2000).map(|s| s.to_vec()).collect();
        let stores = [store(), store()];
        let (seed, seen) = (Seed::new(number), Default::default());
        Self { seed, stores, disk, clock, seen, model: BTreeMap::new(), strings, log: vec![] }
    }

    fn store(disk: &CrashFs, clock: &Arc<Moved>) -> YamlStore {
        let clock: Arc<dyn Clock> = Arc::<Moved>::clone(clock);
        YamlStore::open(FOLDER, YamlOptions { clock, ..options(disk.clone()) }).unwrap()
    }

    fn pick(&mut self, end: usize) -> usize {
        self.seed.below(end)
    }

    fn name(&mut self) -> String {
        let n = self.pick(14);
        if n < 10 { format!("k{n}") } else { ["yes", "1.5", "a: b", "ключ"][n - 10].to_owned() }
    }

    fn value(&mut self) -> Vec<u8> {
        if self.pick(3) == 0 {
            return self.pick(100).to_string().into_bytes();
        }
        let n = self.pick(self.strings.len());
        self.strings[n].clone()
    }

    fn end(&mut self) -> Option<Time> {
        match self.pick(6) {
            0 => Some(self.clock.now().plus(std::time::Duration::from_secs(1 + self.seed.next() % 30))),
            1 => Some(Time::from_nanos(i64::MAX)),
            _ => None,
        }
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        self.model.retain(|_, held| held.expires.is_none_or(|end| now < end));
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.pick(2) {
            let name = self.name();
            let condition = match self.pick(3) {
                0 => Condition::Absent,
                1 => Condition::Present,
                _ => Condition::ValueIs(self.model.get(&name).cloned().unwrap_or_default().value.into()),
            };
            batch.expectations.push(Expectation { key: key(&name), condition });
        }
        for _ in 0..self.pick(5) {
            let key = key(&self.name());
            batch.writes.push(match self.pick(10) {
                0 | 1 => Write::Delete { key },
                2 => Write::Touch { key, expires: self.end() },
                3 => Write::Increment { key, by: 7 },
                4 => Write::Append { key, value: self.value().into(), end: End::Prepend },
                _ => Write::Put {
                    key,
                    value: self.value().into(),
                    content_type: ContentType::new(["text/html", ContentType::TEXT][self.pick(2)]).unwrap(),
                    expires: self.end(),
                    modified: None,
                },
            });
        }
        batch
    }

    /// The map after the batch; `Err(true)`: an expectation failed, `Err(false)`: invalid.
    fn evaluate(&self, batch: &Batch) -> Result<BTreeMap<String, Held>, bool> {
        for Expectation { key, condition } in &batch.expectations {
            let held = self.model.get(key.as_str());
            let holds = match condition {
                Condition::Absent => held.is_none(),
                Condition::Present => held.is_some(),
                Condition::ValueIs(value) => held.is_some_and(|held| held.value == **value),
                other => unreachable!("{other:?}"),
            };
            if !holds {
                return Err(true);
            }
        }
        let mut model = self.model.clone();
        for write in &batch.writes {
            let name = write.key().to_string();
            match write {
                Write::Put { value, content_type, expires, .. } => {
                    model.insert(name, Held { value: value.to_vec(), kind: content_type.clone(), expires: *expires });
                }
                Write::Delete { .. } => drop(model.remove(&name)),
                Write::Read { .. } => {}
                Write::Touch { expires, .. } => {
                    if let Some(held) = model.get_mut(&name) {
                        held.expires = *expires;
                    }
                }
                Write::Increment { by, .. } => {
                    let text = model.get(&name).map_or("0".into(), |h| String::from_utf8_lossy(&h.value).into_owned());
                    let number = text.trim().parse::<i64>().ok().and_then(|n| n.checked_add(*by)).ok_or(false)?;
                    model.entry(name).or_default().value = number.to_string().into_bytes();
                }
                Write::Append { value, .. } => {
                    let held = model.entry(name).or_default();
                    held.value = [&value[..], &held.value].concat();
                }
                Write::Restore { .. } => unreachable!("no entry is restored here"),
            }
        }
        Ok(model)
    }

    fn apply(&mut self) {
        let (batch, n) = (self.batch(), self.pick(2));
        let wanted = self.evaluate(&batch);
        self.log.push(format!("store {n}: {batch:?}"));
        match (run(self.stores[n].0.apply(&bucket(), batch)), wanted) {
            (Ok(Outcome::Committed { revision, .. }), Ok(model)) => {
                assert!(revision >= self.stores[n].1, "{:#?}", self.log);
                assert!(model == self.model || revision > self.stores[n].1, "{:#?}", self.log);
                self.model = model;
            }
            (Ok(Outcome::PreconditionFailed { .. }), Err(true)) => {}
            (Err(e), Err(false)) if e.kind() == ErrorKind::Invalid => {}
            (found, wanted) => panic!("{found:?}, wanted {wanted:?} after {:#?}", self.log),
        }
    }

    /// Checks that both processes, and sometimes a new one, read the content of the map.
    fn check(&mut self) {
        self.expire();
        for n in 0..2 {
            let (store, last) = &self.stores[n];
            let (revision, entries) = all(store).unwrap_or_else(|e| panic!("{e} after {:#?}", self.log));
            let text = String::from_utf8_lossy(&self.disk.bytes(&data()).unwrap_or_default()).into_owned();
            let held =
                |e: kvs::model::Entry| Held { value: e.value.to_vec(), kind: e.content_type, expires: e.expires };
            assert!(revision >= *last, "store {n}: {revision:?} after {last:?}: {:#?}\n{text}", self.log);
            assert!(entries.values().all(|entry| entry.revision <= revision), "{:#?}\n{text}", self.log);
            for (key, entry) in &entries {
                let before = self.seen[n].insert((key.clone(), entry.revision), entry.value.to_vec());
                assert!(
                    before.as_ref().is_none_or(|value| *value == entry.value),
                    "store {n}: {key} at {:?} was {before:?} and is {:?}: {:#?}\n{text}",
                    entry.revision,
                    entry.value,
                    self.log
                );
            }
            let found: BTreeMap<_, _> = entries.into_iter().map(|(key, entry)| (key, held(entry))).collect();
            assert_eq!(found, self.model, "store {n} after {:#?}\n{text}", self.log);
            let count = Scan { projection: Projection::Count, prefix: "k".into(), ..Scan::default() };
            let wanted = self.model.keys().filter(|key| key.starts_with('k')).count() as u64;
            assert_eq!(run(store.scan(&bucket(), count)).unwrap().count, Some(wanted));
            self.stores[n].1 = revision;
        }
    }

    fn file(&self) -> Option<String> {
        self.disk.bytes(&data()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn save(&mut self, text: &str) {
        if self.pick(2) == 0 && self.file().is_some() {
            self.disk.edit(&data(), text.as_bytes());
        } else {
            self.disk.put(&data(), text.as_bytes());
        }
    }

    /// A person edits the file.
    fn edit(&mut self) {
        // The person's clock is that of the machine.
        let what = self.pick(6);
        let text = self.file().unwrap_or_default();
        let name = format!("k{}", self.pick(10));
        self.log.push(format!("edit {what} of {name}"));
        let plain = |value: &str| Held { value: value.as_bytes().to_vec(), ..Held::default() };
        match what {
            0 => {
                let bare = !text.contains("...");
                if bare && text.contains(&format!("\n{name}:")) || !bare && !text.ends_with("...\n") {
                    return;
                }
                self.save(&format!("{text}{name}: added at the end\n"));
                self.model.insert(name, plain("added at the end"));
            }
            1 => {
                // After our last line for the key, whatever its value.
                let value = format!("in place {}", self.pick(1000));
                let lines: Vec<&str> = text.lines().collect();
                let last = lines.iter().rposition(|line| line.starts_with(&format!("{name}: ")));
                let (Some(at), Some(held)) = (last, self.model.get_mut(&name)) else { return };
                let line = lines[at];
                if !line.starts_with(&format!("{name}: {{value: ")) || !line.contains(", updated: ") {
                    return;
                }
                let rest = line.rsplit_once(", updated: ").unwrap().1;
                let kind = if held.kind.is_default() { "" } else { ", type: text/html" };
                let new = format!("{name}: {{value: {value}{kind}, updated: {rest}");
                held.value = value.into_bytes();
                let lines: Vec<&str> = lines.iter().enumerate().map(|(n, l)| if n == at { &new } else { *l }).collect();
                let end = if text.ends_with('\n') { "\n" } else { "" };
                self.save(&(lines.join("\n") + end));
            }
            2 => {
                self.model.clear();
                let mut new = String::from("# rewritten by hand\n");
                for n in 0..self.pick(6) {
                    new += &format!("k{n}: bare {n}\n");
                    self.model.insert(format!("k{n}"), plain(&format!("bare {n}")));
                }
                self.disk.put(&data(), new.as_bytes());
            }
            3 => {
                if self.file().is_some() {
                    self.disk.put(&data(), b"# emptied by hand\n---\n");
                    self.model.clear();
                }
            }
            4 => {
                let tails = ["-", "--", "---\n", "---\nk1: {value: tor", "---\nk1: torn\n", "---\nk1: ~\n.."];
                let tail = tails[self.pick(tails.len())];
                // Rewritten, so that the lock file records how much of it is durable.
                if upkeep(&self.stores[0].0, Task::Compact).unwrap().entries > 0 {
                    // A file at rest has no mark; an append starts with one.
                    let text = self.file().unwrap();
                    self.save(&format!("{text}...\n{tail}"));
                }
            }
            _ => self.damage(&text),
        }
    }

    /// Damages the file, reads it, and repairs it; nothing changes.
    fn damage(&mut self, good: &str) {
        if !good.ends_with("...\n") {
            return;
        }
        self.check();
        let bad = if self.pick(2) == 0 { format!("{good}---\nk1: [\n...\n") } else { format!("k1: [\n{good}") };
        self.save(&bad);
        for n in 0..2 {
            let refused =
                run(self.stores[n].0.apply(&bucket(), Batch::new(vec![crate::yaml::fixtures::put("k1", "x")])));
            assert!(refused.is_err_and(|e| e.kind() == ErrorKind::Corrupt), "{:#?}", self.log);
        }
        self.check();
        assert_eq!(self.file().unwrap(), bad, "changed while damaged");
        if self.pick(2) == 0 {
            self.disk.put(&data(), good.as_bytes());
        } else {
            let draft = self.stores[0].0.begin_edit(&bucket()).unwrap();
            run(self.stores[0].0.save_edit(&bucket(), &draft, good)).unwrap();
        }
    }

    fn step(&mut self) {
        self.clock.0.fetch_add([0, 1, 1000, 3 * SECOND][self.seed.below(4)], Ordering::SeqCst);
        self.expire();
        match self.pick(20) {
            0 => {
                let n = self.pick(2);
                self.log.push(format!("store {n} opens again"));
                self.seen[n].clear();
                self.stores[n] = (Self::store(&self.disk, &self.clock), Revision::ZERO);
            }
            n @ 1..=3 => {
                let task = [Task::Compact, Task::RemoveLeftovers, Task::Check][n - 1];
                let n = self.pick(2);
                self.log.push(format!("store {n}: {task:?}"));
                upkeep(&self.stores[n].0, task).unwrap_or_else(|e| panic!("{e} after {:#?}", self.log));
            }
            4..=6 => self.edit(),
            _ => self.apply(),
        }
        if self.pick(3) > 0 {
            self.check();
        }
    }
}

#[test]
fn any_sequence_of_operations_gives_the_result_of_a_map() {
    for number in 0..400 {
        let mut game = Game::new(number);
        game.log.push(format!("seed {number}"));
        for _ in 0..60 {
            game.step();
        }
        game.check();
        // The same after a power failure, except for files that a person wrote without a sync.
        game.disk.sync_folder(std::path::Path::new(FOLDER)).unwrap();
        let disk = game.disk.crashed(&mut Seed::new(number));
        let store = Game::store(&disk, &game.clock);
        let found = all(&store).unwrap().1;
        assert_eq!(found.len(), game.model.len(), "{:#?}", game.log);
    }
}
