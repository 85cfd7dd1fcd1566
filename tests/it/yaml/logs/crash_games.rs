//! Random games: several processes append to a log, trim it and remove it, until the power is cut or one is killed.
//!
//! What always holds: every process reads what a store in memory has after the same deeds; after a stop, the deed that
//! was stopped is done or not.

use kvs::model::{LogAppend, NewLogEntry, Retention};
use kvs::yaml::YamlStore;

use super::{Deed, View, append, modelled, text, view};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::open;

const GAMES: u64 = 300;
const ROUNDS: usize = 6;
const PROCESSES: usize = 3;

struct Game {
    number: u64,
    seed: Seed,
    disk: CrashFs,
    stores: Vec<YamlStore>,
    done: Vec<Deed>,
    /// Whether the whole log is removed now and then, and begins again.
    has_removals: bool,
}

impl Game {
    fn new(number: u64, has_removals: bool) -> Self {
        let disk = CrashFs::default();
        // The folder exists; other tests stop a process that makes it.
        append(&open(disk.clone()), &["begin"]).unwrap();
        let begin = super::values(&["begin"]);
        let mut game = Self { number, seed: Seed::new(number), disk, stores: vec![], done: vec![begin], has_removals };
        game.start();
        game
    }

    fn start(&mut self) {
        self.stores = (0..PROCESSES).map(|_| open(self.disk.clone())).collect();
    }

    fn deed(&mut self) -> Deed {
        let seed = &mut self.seed;
        let retention = match seed.below(10) {
            0 => Some(Retention { max_entries: Some(seed.below(6) as u64), max_age: None }),
            1 => Some(Retention::default()),
            _ => None,
        };
        let many = if seed.below(6) == 0 { 80 } else { 1 + seed.below(4) };
        let text = |seed: &mut Seed| format!("{} {}", seed.next() % 1_000, "x".repeat(seed.below(120)));
        let entries: Vec<NewLogEntry> = (0..many).map(|_| NewLogEntry::new(text(seed))).collect();
        match seed.below(12) {
            0 if self.has_removals => Deed::Remove(None),
            1 => Deed::Remove(Some(seed.next() % 40)),
            _ => Deed::Append(LogAppend { entries, index: None, retention }),
        }
    }

    fn case(&self) -> String {
        format!("game {}: {:?}\n{}", self.number, self.done, text(&self.disk))
    }

    fn expect(&mut self, expected: &[Option<View>]) -> usize {
        let process = self.seed.below(PROCESSES);
        let found = view(&self.stores[process]).unwrap_or_else(|e| panic!("{e}: {}", self.case()));
        let at = expected.iter().position(|expected| *expected == found);
        at.unwrap_or_else(|| panic!("found {found:?}, not one of {expected:?}: {}", self.case()))
    }

    /// Plays until everything stops, and then goes on with what is left.
    fn round(&mut self) {
        self.disk.stop_before(self.seed.next() % 40);
        let stopped = loop {
            let deed = self.deed();
            let process = self.seed.below(PROCESSES);
            if deed.run(&self.stores[process]).is_err() {
                break deed;
            }
            self.done.push(deed);
        };
        let allowed = [modelled(&self.done), modelled(self.done.iter().chain([&stopped]))];
        let is_power_cut = self.seed.below(2) == 0;
        self.disk = if is_power_cut { self.disk.crashed(&mut self.seed) } else { self.disk.killed(&mut self.seed) };
        self.start();
        if self.expect(&allowed) == 1 {
            self.done.push(stopped);
        }
        // A removal is durable when the next process has appended.
        let next = super::values(&["next"]);
        next.run(&self.stores[0]).unwrap_or_else(|e| panic!("{e}: {}", self.case()));
        self.done.push(next);
        let expected = [modelled(&self.done)];
        for _ in 0..3 {
            self.expect(&expected);
        }
    }
}

fn play(has_removals: bool) {
    for number in 0..GAMES {
        let mut game = Game::new(number, has_removals);
        for _ in 0..ROUNDS {
            game.round();
        }
    }
}

#[test]
fn processes_on_a_disk_that_loses_power_lose_nothing_that_was_acknowledged() {
    play(false);
}

#[test]
fn processes_that_remove_logs_on_a_disk_that_loses_power_lose_nothing_that_was_acknowledged() {
    play(true);
}
