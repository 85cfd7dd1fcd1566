//! A run: processes on one disk, what is known of their data, and the steps that are done.
//!
//! All is done on one thread, or on a thread that another one waits for. A step of another process within a call is done
//! within this call. So a run has the same result each time.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use kvs::model::{Batch, Bucket, Clock, Entry, Key, Revision, Time};
use kvs::store::StoredBlob;
use kvs::yaml::{YamlOptions, YamlStore};
use parking_lot::Mutex;

use super::faulty_disk::Disk;
use super::known_bucket::KnownBucket;
use super::known_log::{KnownLog, LogDeed};
use super::steps::{BUCKETS, Edit, FOLLOWERS, Fault, HELD_BLOBS, LOGS, Op, Step, What};
use crate::support::disks::crash_disk::CrashFs;
use crate::yaml::fixtures::{FOLDER, options};

/// Another process that needs a lock waits this long. Few do.
const LOCK_TIMEOUT: Duration = Duration::from_millis(20);

/// The time between two steps.
const MILLISECOND: i64 = 1_000_000;

/// How much the clock is ahead of that of the disk when a step begins.
const AHEAD: i64 = 100 * MILLISECOND;

/// The runtime whose threads do the maintenance.
pub(super) static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// A clock that the run moves. It stands still during a step.
pub(super) struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// What a process is doing, while another one may do something.
pub(super) enum Current {
    Batch(usize, Batch),
    Read(usize),
    Log(usize, Option<LogDeed>),
}

/// A client that has read a bucket once.
#[derive(Clone, Default)]
pub(super) struct Follower {
    pub(super) since: Revision,
    pub(super) entries: BTreeMap<Key, Entry>,
}

/// A blob without a reference.
pub(super) struct HeldBlob {
    pub(super) process: usize,
    pub(super) bucket: usize,
    pub(super) key: usize,
    pub(super) stored: StoredBlob,
}

/// A line that a person added while a process did something, and the number of renames before.
pub(super) struct AddedLine {
    pub(super) bucket: usize,
    pub(super) key: Key,
    pub(super) value: String,
    pub(super) renames: usize,
}

pub(super) struct Game {
    pub(super) disk: Mutex<Disk>,
    clock: Arc<Moved>,
    stores: Mutex<Vec<YamlStore>>,
    pub(super) buckets: Mutex<Vec<KnownBucket>>,
    pub(super) logs: Mutex<Vec<KnownLog>>,
    pub(super) followers: Mutex<Vec<Follower>>,
    pub(super) held: Mutex<Vec<Option<HeldBlob>>>,
    pub(super) current: Mutex<Option<Current>>,
    pub(super) added: Mutex<Option<AddedLine>>,
    failure: Mutex<Option<String>>,
    /// The steps of other processes within an operation, since the beginning.
    pub(super) meanwhile: AtomicUsize,
    pub(super) acknowledged: AtomicUsize,
    /// Whether the disk was full once, which starts compactions on threads of their own.
    pub(super) had_limit: AtomicBool,
    me: Weak<Game>,
}

pub(super) fn bucket(number: usize) -> Bucket {
    Bucket::new(["default", "second"][number]).unwrap()
}

pub(super) fn data(number: usize) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.yaml", bucket(number)))
}

pub(super) fn key(number: usize) -> Key {
    let names = ["k0", "k1", "yes", "a: b", "ключ", "k5", "by hand"];
    Key::new(names[number]).unwrap()
}

pub(super) fn log_key(number: usize) -> Key {
    Key::new(["events", "a/b: c"][number]).unwrap()
}

impl Game {
    pub(super) fn new(processes: usize) -> Arc<Self> {
        let inner = CrashFs::default();
        let clock = Arc::new(Moved(AtomicI64::new(inner.time() + AHEAD)));
        let disk = Disk::new(inner, processes);
        let stores = (0..processes).map(|process| open(&disk, process, &clock)).collect();
        let game = Arc::new_cyclic(|me| Self {
            disk: Mutex::new(disk),
            clock,
            stores: Mutex::new(stores),
            buckets: Mutex::new((0..BUCKETS).map(|_| KnownBucket::default()).collect()),
            logs: Mutex::new((0..BUCKETS * LOGS).map(|_| KnownLog::default()).collect()),
            followers: Mutex::new(vec![Follower::default(); FOLLOWERS]),
            held: Mutex::new((0..HELD_BLOBS).map(|_| None).collect()),
            current: Mutex::default(),
            added: Mutex::default(),
            failure: Mutex::default(),
            meanwhile: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            had_limit: AtomicBool::new(false),
            me: Weak::clone(me),
        });
        game.attach();
        game
    }

    /// Lets the disk call this game within calls.
    fn attach(&self) {
        let me = Weak::clone(&self.me);
        self.disk().do_meanwhile(Some(Arc::new(move |process, step, waits| {
            if let Some(game) = me.upgrade() {
                game.within_call(process, step, waits);
            }
        })));
    }

    pub(super) fn disk(&self) -> Disk {
        self.disk.lock().clone()
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(super) fn processes(&self) -> usize {
        self.stores.lock().len()
    }

    pub(super) fn store(&self, process: usize) -> YamlStore {
        self.stores.lock()[process].clone()
    }

    pub(super) fn fail(&self, text: String) {
        self.failure.lock().get_or_insert(text);
    }

    pub(super) fn must(&self, result: Result<(), String>) {
        if let Err(text) = result {
            self.fail(text);
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// The disk has a coarse clock of its own, which advances with each change. It is always a little behind.
    pub(super) fn pass(&self, milliseconds: u64) {
        let disk = self.disk().inner;
        disk.pass(milliseconds);
        self.clock.0.fetch_add(i64::try_from(milliseconds).unwrap() * MILLISECOND, Ordering::SeqCst);
        self.clock.0.fetch_max(disk.time() + AHEAD, Ordering::SeqCst);
    }

    /// Does a step. Returns whether the run goes on.
    pub(super) fn step(&self, step: &Step) -> bool {
        self.pass(1);
        let hits = self.disk().hits();
        self.do_step(step, false);
        if !self.settle_added_line(hits) {
            return false;
        }
        if let Some(seed) = self.disk().cut() {
            return self.restart_all(seed);
        }
        self.failure().is_none()
    }

    pub(super) fn do_step(&self, step: &Step, is_within: bool) {
        let process_of = |process: usize| process % self.processes();
        match step {
            Step::Do { process, op, faults } => {
                let process = process_of(*process);
                let (disk, life) = (self.disk(), self.disk().life(process));
                disk.arm(process, faults);
                let (hits, seen) = (disk.hits(), self.last_seen());
                let is_full = |fault: &Fault| matches!(fault.what, What::Fail { error: ErrorKind::StorageFull, .. });
                self.had_limit.fetch_or(faults.iter().any(is_full), Ordering::SeqCst);
                let was_full = self.perform(process, op, is_within);
                disk.arm(process, &[]);
                if disk.hits() != hits || was_full {
                    self.note_interruption(seen);
                }
                if disk.hits() != hits && matches!(op, Op::Maintain { .. }) {
                    // It may have failed to sync which file it was about to put in place, or the revisions of what a
                    // person wrote. After a power cut, pages of the old and of the new line may be mixed.
                    self.buckets.lock().iter_mut().for_each(|known| known.may_be_mistaken = true);
                }
                if disk.life(process) != life {
                    self.buckets.lock().iter_mut().for_each(|known| known.may_be_mistaken = true);
                    self.restart(process);
                } else if self.had_room_limit() {
                    // This waits for the compaction that it may have started. While one is in progress, other writes are
                    // refused.
                    self.drop_held(process);
                    self.reopen(process);
                }
            }
            Step::Reopen { process } => {
                self.drop_held(process_of(*process));
                self.reopen(process_of(*process));
            }
            Step::Kill { process } => {
                self.note_interruption(self.last_seen());
                self.disk().kill(process_of(*process));
                self.restart(process_of(*process));
            }
            Step::PowerCut { seed } => {
                self.note_interruption(self.last_seen());
                self.disk().cut_power(*seed);
            }
            Step::Edit { bucket, edit, by_rename, failed_syncs } if !is_within => {
                self.edit(*bucket, edit, *by_rename, *failed_syncs);
            }
            Step::Edit { bucket, edit: Edit::AddLine { value, .. }, .. } => self.add_line(*bucket, value),
            Step::Edit { .. } => {}
            Step::Pass { milliseconds } => self.pass(*milliseconds),
            Step::Room { bytes } => {
                self.had_limit.fetch_or(bytes.is_some(), Ordering::SeqCst);
                self.disk().limit_room(*bytes);
                if bytes.is_some() {
                    self.buckets.lock().iter_mut().for_each(|known| known.has_no_room(self.processes()));
                }
            }
        }
    }

    /// Does a step of another process, or of a person, within a call of this one.
    fn within_call(&self, process: usize, step: &Step, waits: bool) {
        let mut step = step.clone();
        let concerned = match &mut step {
            Step::Do { process: other, op, .. } => {
                if self.processes() == 1 {
                    return;
                }
                if *other % self.processes() == process {
                    *other = process + 1;
                }
                op.bucket()
            }
            Step::Edit { .. } | Step::PowerCut { .. } => None,
            _ => return,
        };
        let is_held = |number: usize| {
            let name = bucket(number);
            [format!("/{name}."), format!("/{name}/")].iter().any(|text| self.disk().holds_lock(process, text))
        };
        let is_blocked = (0..BUCKETS).any(|number| concerned.is_none_or(|only| only == number) && is_held(number));
        if is_blocked && !waits && matches!(step, Step::Do { .. }) {
            return;
        }
        self.meanwhile.fetch_add(1, Ordering::SeqCst);
        self.fork();
        let current = self.current.lock().take();
        self.buckets.lock().iter_mut().for_each(KnownBucket::begin_inner);
        self.logs.lock().iter_mut().for_each(KnownLog::begin_inner);
        self.do_step(&step, true);
        self.buckets.lock().iter_mut().for_each(KnownBucket::end_inner);
        self.logs.lock().iter_mut().for_each(KnownLog::end_inner);
        *self.current.lock() = current;
    }

    fn fork(&self) {
        let now = self.now();
        match &*self.current.lock() {
            Some(Current::Batch(number, batch)) => self.buckets.lock()[*number].fork_for_batch(batch, now),
            Some(Current::Read(number)) => self.buckets.lock()[*number].fork_for_read(),
            Some(Current::Log(number, deed)) => self.logs.lock()[*number].fork(deed.as_ref()),
            None => {}
        }
    }

    /// The greatest revision of each bucket that was returned so far.
    fn last_seen(&self) -> Vec<Revision> {
        self.buckets.lock().iter().map(|known| known.last_seen).collect()
    }

    /// Work was interrupted. Before it these revisions had been returned.
    fn note_interruption(&self, seen: Vec<Revision>) {
        let processes = self.processes();
        let mut buckets = self.buckets.lock();
        buckets.iter_mut().zip(seen).for_each(|(known, seen)| known.was_interrupted(processes, seen));
    }

    /// Whether the disk has been full, or may have been.
    pub(super) fn had_room_limit(&self) -> bool {
        self.had_limit.load(Ordering::SeqCst)
    }

    fn drop_held(&self, process: usize) {
        for held in self.held.lock().iter_mut() {
            if held.as_ref().is_some_and(|held| held.process == process) {
                *held = None;
            }
        }
    }

    pub(super) fn reopen(&self, process: usize) {
        self.buckets.lock().iter_mut().for_each(|known| known.forget_process(process));
        // The old one ends first: it holds locks and has unfinished work.
        let closed = Game::closed(&self.disk(), &self.clock);
        let old = std::mem::replace(&mut self.stores.lock()[process], closed);
        drop(old);
        let new = open(&self.disk(), process, &self.clock);
        self.stores.lock()[process] = new;
    }

    /// A store in place of one that is being opened again.
    fn closed(disk: &Disk, clock: &Arc<Moved>) -> YamlStore {
        open(disk, 0, clock)
    }

    /// Starts a killed process again, unless the power has failed.
    fn restart(&self, process: usize) {
        if self.disk().cut().is_some() {
            return;
        }
        self.drop_held(process);
        self.reopen(process);
    }

    /// Starts the machine again. Returns whether the run goes on: after a lie of the disk nothing is certain.
    fn restart_all(&self, seed: u64) -> bool {
        for process in 0..self.processes() {
            self.drop_held(process);
        }
        self.buckets.lock().iter_mut().for_each(KnownBucket::has_lost_power);
        let next = self.disk().after_power_cut(seed);
        *self.disk.lock() = next;
        self.attach();
        for process in 0..self.processes() {
            self.reopen(process);
        }
        if self.disk().has_lied() {
            self.examine_after_lies();
            return false;
        }
        self.failure().is_none()
    }
}

impl Drop for Game {
    fn drop(&mut self) {
        self.disk().do_meanwhile(None);
    }
}

fn open(disk: &Disk, process: usize, clock: &Arc<Moved>) -> YamlStore {
    let clock: Arc<dyn Clock> = Arc::<Moved>::clone(clock);
    let options = YamlOptions { clock, lock_timeout: LOCK_TIMEOUT, ..options(disk.of(process)) };
    YamlStore::open(FOLDER, options).unwrap()
}
