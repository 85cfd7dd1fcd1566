//! Test doubles of the file system: one that loses power, and wrappers of another file system that fail, freeze or
//! count its calls.
//!
//! They know nothing of the store. A call is identified by its [`Call`] and the end of its file's name.

pub(crate) mod crash_disk;
mod open_file;
pub(crate) mod seed;
mod volatile;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvs::yaml::fs::{File, FileBytes, FileSystem, LockMode, OpenMode, Stat};
use parking_lot::{Condvar, Mutex};

/// The kinds of calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Call {
    Stat,
    Open,
    Rename,
    Remove,
    MakeFolder,
    SyncFolder,
    List,
    MayWrite,
    Reserve,
    Release,
    FileStat,
    Read,
    Write,
    Truncate,
    Sync,
    Resemble,
    Lock,
}

/// Gets every call before it is done.
pub(crate) trait Probe: Send + Sync + 'static {
    /// An error fails the call.
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<()>;
    /// Gets the number of bytes of each read.
    fn after_read(&self, _: usize) {}
    /// The number of bytes of a failing write that are written nevertheless.
    fn part(&self) -> usize {
        0
    }
}

/// A file system with a probe.
pub(crate) struct Probed<P> {
    pub(crate) inner: Arc<dyn FileSystem>,
    pub(crate) probe: Arc<P>,
}

/// Fails chosen calls.
pub(crate) type FailingFs = Probed<Failing>;
/// Holds chosen calls back.
pub(crate) type FreezingFs = Probed<Freezing>;
/// Does something else within a chosen call.
pub(crate) type MeddlingFs = Probed<Meddling>;
/// Counts calls.
pub(crate) type CountingFs = Probed<Counting>;

impl<P> Clone for Probed<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), probe: Arc::clone(&self.probe) }
    }
}

impl<P: Probe> Probed<P> {
    pub(crate) fn new(inner: impl FileSystem, probe: P) -> Self {
        Self { inner: Arc::new(inner), probe: Arc::new(probe) }
    }
}

impl<P: Probe> FileSystem for Probed<P> {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.probe.before(Call::Stat, path, 0)?;
        self.inner.stat(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        self.inner.resolve(path)
    }

    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Box<dyn File>> {
        self.probe.before(Call::Open, path, 0)?;
        let inner = self.inner.open(path, how)?;
        Ok(Box::new(ProbedFile { inner, probe: Arc::clone(&self.probe), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.probe.before(Call::Rename, from, 0)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.probe.before(Call::Remove, path, 0)?;
        self.inner.remove(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.probe.before(Call::MakeFolder, path, 0)?;
        self.inner.make_folder(path)
    }

    fn make_subfolder(&self, path: &Path) -> io::Result<()> {
        self.probe.before(Call::MakeFolder, path, 0)?;
        self.inner.make_subfolder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.probe.before(Call::SyncFolder, path, 0)?;
        self.inner.sync_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.probe.before(Call::List, folder, 0)?;
        self.inner.list(folder)
    }

    fn may_write(&self, folder: &Path) -> io::Result<()> {
        self.probe.before(Call::MayWrite, folder, 0)?;
        self.inner.may_write(folder)
    }

    fn reserve(&self, path: &Path) -> io::Result<()> {
        self.probe.before(Call::Reserve, path, 0)?;
        self.inner.reserve(path)
    }

    fn release(&self, path: &Path) -> io::Result<bool> {
        self.probe.before(Call::Release, path, 0)?;
        self.inner.release(path)
    }
}

struct ProbedFile<P> {
    inner: Box<dyn File>,
    probe: Arc<P>,
    path: PathBuf,
}

impl<P: Probe> File for ProbedFile<P> {
    fn stat(&self) -> io::Result<Stat> {
        self.probe.before(Call::FileStat, &self.path, 0)?;
        self.inner.stat()
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<FileBytes> {
        self.probe.before(Call::Read, &self.path, 0)?;
        let bytes = self.inner.read(offset, len)?;
        self.probe.after_read(bytes.len());
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.probe.before(Call::Write, &self.path, bytes.len()) {
            let part = self.probe.part().min(bytes.len());
            if part > 0 {
                self.inner.write(offset, &bytes[..part])?;
            }
            return Err(e);
        }
        self.inner.write(offset, bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.probe.before(Call::Truncate, &self.path, 0)?;
        self.inner.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.probe.before(Call::Sync, &self.path, 0)?;
        self.inner.sync()
    }

    fn resemble(&self, other: &dyn File) -> io::Result<()> {
        self.probe.before(Call::Resemble, &self.path, 0)?;
        self.inner.resemble(other)
    }

    fn rights(&self) -> io::Result<(u32, u32, u32)> {
        self.inner.rights()
    }

    fn links(&self) -> io::Result<u64> {
        self.inner.links()
    }

    fn try_lock(&self, hold: LockMode) -> io::Result<bool> {
        self.probe.before(Call::Lock, &self.path, 0)?;
        self.inner.try_lock(hold)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }
}

/// A kind of call on files with this name ending.
#[derive(Clone, Debug)]
pub(crate) struct Which(pub(crate) Call, pub(crate) &'static str);

impl Which {
    fn is(&self, call: Call, path: &Path) -> bool {
        call == self.0 && path.to_string_lossy().ends_with(self.1)
    }
}

/// Which calls fail, how often, and how.
pub(crate) struct Fault {
    pub(crate) which: Which,
    /// This many calls succeed first.
    pub(crate) after: usize,
    /// This many calls fail then.
    pub(crate) times: usize,
    pub(crate) kind: io::ErrorKind,
    /// This many bytes of a failing write are written.
    pub(crate) part: usize,
}

type OnFailedSync = Box<dyn Fn(&Path) + Send + Sync>;

/// Fails chosen calls.
#[derive(Default)]
pub(crate) struct Failing {
    faults: Mutex<Vec<Fault>>,
    part: Mutex<usize>,
    failed: Mutex<usize>,
    /// Called with the path when a sync fails.
    on_failed_sync: Option<OnFailedSync>,
}

impl Failing {
    pub(crate) fn on_failed_sync(does: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        Self { on_failed_sync: Some(Box::new(does)), ..Self::default() }
    }

    /// From now on exactly these calls fail.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.faults.lock() = faults.into_iter().collect();
    }

    /// How many calls have failed.
    pub(crate) fn failed(&self) -> usize {
        *self.failed.lock()
    }
}

impl Probe for Failing {
    fn before(&self, call: Call, path: &Path, _: usize) -> io::Result<()> {
        let mut faults = self.faults.lock();
        let Some(fault) = faults.iter_mut().find(|fault| fault.which.is(call, path) && fault.times > 0) else {
            return Ok(());
        };
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        fault.times -= 1;
        *self.part.lock() = fault.part;
        *self.failed.lock() += 1;
        if let (Call::Sync, Some(does)) = (call, &self.on_failed_sync) {
            does(path);
        }
        Err(fault.kind.into())
    }

    fn part(&self) -> usize {
        *self.part.lock()
    }
}

/// Holds chosen calls until they are released.
#[derive(Default)]
pub(crate) struct Freezing {
    gates: Mutex<Vec<Arc<Gate>>>,
}

/// A call that is held when it comes.
pub(crate) struct Gate {
    which: Which,
    state: Mutex<(bool, bool)>,
    moved: Condvar,
}

impl Gate {
    /// Waits until the call has come.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !state.0 {
            assert!(!self.moved.wait_until(&mut state, end).timed_out(), "{:?} has not come", self.which);
        }
    }

    /// Releases the call, now or when it comes.
    pub(crate) fn open(&self) {
        self.state.lock().1 = true;
        self.moved.notify_all();
    }
}

impl Freezing {
    /// Holds the next such call.
    pub(crate) fn freeze(&self, which: Which) -> Arc<Gate> {
        let gate = Arc::new(Gate { which, state: Mutex::default(), moved: Condvar::new() });
        self.gates.lock().push(Arc::clone(&gate));
        gate
    }
}

impl Probe for Freezing {
    fn before(&self, call: Call, path: &Path, _: usize) -> io::Result<()> {
        let mut gates = self.gates.lock();
        let Some(at) = gates.iter().position(|gate| gate.which.is(call, path)) else { return Ok(()) };
        let gate = gates.remove(at);
        drop(gates);
        let mut state = gate.state.lock();
        state.0 = true;
        gate.moved.notify_all();
        while !state.1 {
            gate.moved.wait(&mut state);
        }
        Ok(())
    }
}

type Deed = Box<dyn FnOnce() + Send>;

/// Does something once, just before the next such call.
#[derive(Default)]
pub(crate) struct Meddling(Mutex<Option<(Which, Deed)>>);

impl Meddling {
    pub(crate) fn next(&self, which: Which, does: impl FnOnce() + Send + 'static) {
        *self.0.lock() = Some((which, Box::new(does)));
    }
}

impl Probe for Meddling {
    fn before(&self, call: Call, path: &Path, _: usize) -> io::Result<()> {
        let mut deed = self.0.lock();
        if deed.as_ref().is_some_and(|(which, _)| which.is(call, path)) {
            let does = deed.take().unwrap().1;
            drop(deed);
            does();
        }
        Ok(())
    }
}

/// How many calls there were, and how many bytes were written, by kind and name of the file.
#[derive(Default)]
pub(crate) struct Counting {
    counts: Mutex<BTreeMap<(Call, String), (u64, u64)>>,
    read: Mutex<u64>,
}

impl Counting {
    /// The counts since the last call of this function: by call and file ending, the number of calls and of bytes.
    pub(crate) fn take(&self) -> BTreeMap<(Call, String), (u64, u64)> {
        std::mem::take(&mut *self.counts.lock())
    }

    /// The number of bytes that were read since the last call of this function.
    pub(crate) fn take_read(&self) -> u64 {
        std::mem::take(&mut *self.read.lock())
    }
}

impl Probe for Counting {
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<()> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let mut counts = self.counts.lock();
        let count = counts.entry((call, ending)).or_default();
        count.0 += 1;
        count.1 += len as u64;
        Ok(())
    }

    fn after_read(&self, len: usize) {
        *self.read.lock() += len as u64;
    }
}
