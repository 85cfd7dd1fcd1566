//! A disk that several processes use, with faults at chosen calls.
//!
//! Below it is a [`CrashFs`]. Each process has a [`ProcessFs`] for each of its lives; after its end all its calls fail.
//! The faults of an operation are [armed](Disk::arm) before it, and count its calls. A kill ends one process, a power cut
//! all of them; then [`Disk::cut`] says so, and [`Disk::after_power_cut`] is the disk that the machine finds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvs::yaml::fs::{File, FileSystem, LockMode, OpenMode, Stat};
use parking_lot::Mutex;

use super::faulty_file::OpenFile;
use super::steps::{Fault, Filter, Moment, Step, What};
use crate::support::disks::Call;
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;

/// Does a step of another process within a call. It gets the process that makes the call, the step, and whether it may
/// wait for locks.
pub(super) type Meanwhile = Arc<dyn Fn(usize, &Step, bool) + Send + Sync>;

#[derive(Default)]
struct State {
    /// How often each process has started. Calls of earlier lives fail.
    lives: Vec<u64>,
    /// The faults of the operation that each process does.
    armed: Vec<Vec<Fault>>,
    /// The number of faults that have come.
    hits: usize,
    /// The seed of the power cut.
    cut: Option<u64>,
    has_lied: bool,
    capacity: Option<u64>,
    /// The bytes that are reserved for deletions.
    reserved: u64,
    /// The locks that are held: process, handle, file, mode.
    locks: Vec<(usize, u64, PathBuf, LockMode)>,
    handles: u64,
    renames: usize,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) inner: CrashFs,
    state: Arc<Mutex<State>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// What happens to a call.
pub(super) enum Verdict {
    Go,
    /// It fails after this many percent of a write.
    Fail(io::Error, usize),
    Lie,
    /// It is done, and then the process is killed or the power fails.
    Last(Option<u64>),
}

fn dead() -> io::Error {
    io::Error::other("the process has ended")
}

impl Filter {
    fn is(self, call: Call) -> bool {
        match self {
            Self::Any => true,
            Self::Changing => matches!(
                call,
                Call::Rename
                    | Call::Remove
                    | Call::MakeFolder
                    | Call::SyncFolder
                    | Call::Write
                    | Call::Truncate
                    | Call::Sync
            ),
            Self::Only(only) => call == only,
        }
    }
}

impl State {
    fn end_all(&mut self, seed: u64) {
        self.cut = Some(seed);
        self.lives.iter_mut().for_each(|life| *life += 1);
    }

    fn end(&mut self, process: usize, cut: Option<u64>) {
        match cut {
            Some(seed) => self.end_all(seed),
            None => self.lives[process] += 1,
        }
    }

    /// The fault that hits this call.
    fn fault(&mut self, process: usize, call: Call) -> Option<What> {
        let mut found = None;
        for (at, fault) in self.armed[process].iter_mut().enumerate() {
            if !fault.on.is(call) || matches!(fault.what, What::Lie { .. }) && call != Call::Sync {
                continue;
            }
            if fault.nth > 0 {
                fault.nth -= 1;
            } else if found.is_none() {
                found = Some(at);
            }
        }
        let at = found?;
        self.hits += 1;
        if let What::Fail { times, .. } | What::Lie { times } = &mut self.armed[process][at].what
            && *times > 1
        {
            *times -= 1;
            return Some(self.armed[process][at].what.clone());
        }
        Some(self.armed[process].remove(at).what)
    }
}

impl Disk {
    pub(super) fn new(inner: CrashFs, processes: usize) -> Self {
        let state = State { lives: vec![0; processes], armed: vec![vec![]; processes], ..State::default() };
        Self { inner, state: Arc::new(Mutex::new(state)), meanwhile: Arc::default() }
    }

    pub(super) fn do_meanwhile(&self, meanwhile: Option<Meanwhile>) {
        *self.meanwhile.lock() = meanwhile;
    }

    /// The file system of the present life of a process.
    pub(super) fn of(&self, process: usize) -> ProcessFs {
        ProcessFs { disk: self.clone(), process, life: self.state.lock().lives[process] }
    }

    pub(super) fn arm(&self, process: usize, faults: &[Fault]) {
        self.state.lock().armed[process] = faults.to_vec();
    }

    /// The number of faults that have come since the beginning.
    pub(super) fn hits(&self) -> usize {
        self.state.lock().hits
    }

    /// How often a data file was replaced.
    pub(super) fn renames(&self) -> usize {
        self.state.lock().renames
    }

    pub(super) fn has_lied(&self) -> bool {
        self.state.lock().has_lied
    }

    /// Which life a process lives.
    pub(super) fn life(&self, process: usize) -> u64 {
        self.state.lock().lives[process]
    }

    pub(super) fn kill(&self, process: usize) {
        self.state.lock().end(process, None);
    }

    pub(super) fn cut_power(&self, seed: u64) {
        self.state.lock().end_all(seed);
    }

    /// The seed of a power cut that has come.
    pub(super) fn cut(&self) -> Option<u64> {
        self.state.lock().cut
    }

    /// The disk after the power cut.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let inner = self.inner.crashed(&mut Seed::new(seed));
        let state = self.state.lock();
        let next = State {
            lives: state.lives.clone(),
            armed: vec![vec![]; state.lives.len()],
            capacity: state.capacity,
            reserved: state.reserved,
            hits: state.hits,
            renames: state.renames,
            has_lied: state.has_lied,
            handles: state.handles,
            ..State::default()
        };
        Self { inner, state: Arc::new(Mutex::new(next)), meanwhile: Arc::clone(&self.meanwhile) }
    }

    /// Gives the disk so much free room; `None`: no limit.
    pub(super) fn limit_room(&self, bytes: Option<u64>) {
        let used = self.inner.used_bytes();
        let mut state = self.state.lock();
        state.capacity = bytes.map(|bytes| used + state.reserved + bytes);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.state.lock().capacity.is_some()
    }

    /// Whether a process holds a lock on a file whose path has this text. A file that is to replace another one, which
    /// it creates locked, keeps nobody from working.
    pub(super) fn holds_lock(&self, process: usize, text: &str) -> bool {
        let state = self.state.lock();
        let is_new = |path: &Path| path.extension().is_some_and(|ending| ending == "new" || ending == "compact");
        let mut locks = state.locks.iter().filter(|(_, _, path, _)| !is_new(path));
        locks.any(|(holder, _, path, _)| *holder == process && path.to_string_lossy().contains(text))
    }

    /// Ends a life after its last call.
    pub(super) fn end(&self, process: usize, cut: Option<u64>) {
        self.state.lock().end(process, cut);
    }

    /// Whether no more faults will come to the operation of a process.
    pub(super) fn is_unarmed(&self, process: usize) -> bool {
        self.state.lock().armed[process].is_empty()
    }

    pub(super) fn note_lock(&self, process: usize, handle: u64, path: &Path, mode: LockMode) {
        self.forget_lock(handle);
        self.state.lock().locks.push((process, handle, path.to_owned(), mode));
    }

    pub(super) fn forget_lock(&self, handle: u64) {
        self.state.lock().locks.retain(|(_, other, ..)| *other != handle);
    }

    pub(super) fn room(&self) -> u64 {
        let used = self.inner.used_bytes();
        let state = self.state.lock();
        state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used + state.reserved))
    }
}

/// The disk as one life of a process sees it.
#[derive(Clone)]
pub(super) struct ProcessFs {
    pub(super) disk: Disk,
    pub(super) process: usize,
    life: u64,
}

impl ProcessFs {
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.disk.state.lock().lives[self.process] == self.life { Ok(()) } else { Err(dead()) }
    }

    pub(super) fn verdict(&self, call: Call) -> io::Result<Verdict> {
        loop {
            self.alive()?;
            // Compactions that the store starts by itself have their own thread, and the order of threads is not known.
            if std::thread::current().name() == Some("kvs compact") {
                return Ok(Verdict::Go);
            }
            let mut state = self.disk.state.lock();
            let Some(what) = state.fault(self.process, call) else { return Ok(Verdict::Go) };
            match what {
                What::Fail { error, percent, .. } => return Ok(Verdict::Fail(error.into(), percent)),
                What::Lie { .. } => {
                    state.has_lied = true;
                    return Ok(Verdict::Lie);
                }
                What::Kill { moment } => return Ok(self.end(&mut state, moment, None)),
                What::PowerCut { moment, seed } => return Ok(self.end(&mut state, moment, Some(seed))),
                What::Meanwhile { step, waits } => {
                    drop(state);
                    let meanwhile = self.disk.meanwhile.lock().clone();
                    if let Some(meanwhile) = meanwhile {
                        meanwhile(self.process, &step, waits);
                    }
                }
            }
        }
    }

    fn end(&self, state: &mut State, moment: Moment, cut: Option<u64>) -> Verdict {
        let percent = match moment {
            Moment::After => return Verdict::Last(cut),
            Moment::Before => 0,
            Moment::Within(percent) => percent,
        };
        state.end(self.process, cut);
        Verdict::Fail(dead(), percent)
    }

    /// Makes a call that is done completely or not at all.
    pub(super) fn call<T>(&self, call: Call, does: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.verdict(call)? {
            Verdict::Fail(error, _) => Err(error),
            Verdict::Go | Verdict::Lie => does(),
            Verdict::Last(cut) => {
                let done = does();
                self.disk.state.lock().end(self.process, cut);
                done
            }
        }
    }
}

impl FileSystem for ProcessFs {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.call(Call::Stat, || self.disk.inner.stat(path))
    }

    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        self.call(Call::Stat, || self.disk.inner.resolve(path))
    }

    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>> {
        let inner = self.call(Call::Open, || self.disk.inner.open(path, how))?;
        let mut state = self.disk.state.lock();
        state.handles += 1;
        let handle = state.handles;
        drop(state);
        Ok(Box::new(OpenFile { fs: self.clone(), inner, path: path.to_owned(), handle }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, || {
            self.disk.state.lock().renames += usize::from(to.extension().is_some_and(|extension| extension == "yaml"));
            self.disk.inner.rename(from, to)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, || self.disk.inner.remove(path))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.call(Call::MakeFolder, || self.disk.inner.make_folder(path))
    }

    fn make_subfolder(&self, path: &Path) -> io::Result<()> {
        self.call(Call::MakeFolder, || self.disk.inner.make_subfolder(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call(Call::SyncFolder, || self.disk.inner.sync_folder(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.call(Call::List, || self.disk.inner.list(folder))
    }

    fn may_write(&self, folder: &Path) -> io::Result<()> {
        self.call(Call::MayWrite, || self.disk.inner.may_write(folder))
    }

    fn reserve(&self, _: &Path) -> io::Result<()> {
        self.call(Call::Reserve, || {
            let room = self.disk.room();
            let mut state = self.disk.state.lock();
            if state.capacity.is_some() && state.reserved == 0 {
                state.reserved = room / 4;
            }
            if state.capacity.is_some() && state.reserved == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn release(&self, _: &Path) -> io::Result<bool> {
        self.call(Call::Release, || Ok(std::mem::take(&mut self.disk.state.lock().reserved) > 0))
    }
}
