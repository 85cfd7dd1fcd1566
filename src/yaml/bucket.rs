//! One bucket: reads from memory after one look at the file, writes by whoever comes first for all who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::watch;

use super::Options;
use super::commit::Group;
use super::disk::{Hold, Stat};
use super::file::DataFile;
use super::image::{Damage, Image};
use super::opened::{Files, Opened};
use super::place::Place;
use super::queue::{Queue, Stint, Wish, refuse};
use super::tidy::Tidier;
use super::turn::Turn;
use super::watch::Waiters;
use crate::model::{Batch, Error, Kind, Outcome, Result, Revision, Write};

/// A bucket in this process. The order of locks is `file`, the lock of the bucket among processes, `image`; `queue` is
/// held only to look into it.
pub(super) struct BucketStore {
    pub(super) options: Options,
    pub(super) place: Place,
    pub(super) image: RwLock<Image>,
    pub(super) file: Files,
    pub(super) opened: Arc<Opened>,
    /// Set while this process holds the exclusive lock and appends: nobody else can have committed anything that is not in
    /// the image, so readers need not look at the file.
    committing: AtomicBool,
    pub(super) queue: Mutex<Queue>,
    pub(super) stint: Mutex<Stint>,
    /// Set when others held it for longer than one waits.
    pub(super) held: AtomicBool,
    pub(super) compaction: Mutex<Option<JoinHandle<()>>>,
    /// Held by the one that compacts.
    pub(super) compacting: Mutex<()>,
    pub(super) tidier: Arc<Tidier>,
    /// When it was last written, or found not to be at rest, if it has not been tidied since.
    pub(super) stirred: Mutex<Option<Instant>>,
    /// Whether this process has written to it.
    pub(super) wrote: AtomicBool,
    /// When the last compaction for the length of the log began.
    pub(super) compacted: Mutex<Option<Instant>>,
    /// After a compaction that failed: how long the file must be before the next is tried.
    pub(super) put_off: AtomicU64,
    /// The length of the file and the number of entries when a compaction was begun last.
    pub(super) begun_at: Mutex<(u64, usize)>,
    /// The revision of the image, for those who wait for a later one.
    pub(super) moved: watch::Sender<Revision>,
    pub(super) waiters: Mutex<Waiters>,
    /// How many buckets of the store are looked at for those who wait.
    pub(super) looking: Arc<AtomicUsize>,
}

/// What the buckets of a store have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) opened: Arc<Opened>,
    pub(super) tidier: Arc<Tidier>,
    /// How many buckets are looked at for those who wait.
    pub(super) looking: Arc<AtomicUsize>,
}

/// Sets a flag until dropped.
struct Flag<'a>(&'a AtomicBool);

impl<'a> Flag<'a> {
    fn set(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Runs what may block for milliseconds, so that other tasks of a runtime with several threads go on meanwhile.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl BucketStore {
    pub(super) fn new(place: Place, options: Options, shared: &Shared) -> Self {
        let Shared { opened, tidier, looking } = shared.clone();
        Self {
            file: Arc::new(Mutex::new(DataFile::new(place.clone(), Arc::clone(&options.disk), options.tidy_up_to))),
            opened,
            image: RwLock::default(),
            committing: AtomicBool::new(false),
            queue: Mutex::default(),
            stint: Mutex::default(),
            held: AtomicBool::new(false),
            looking,
            compaction: Mutex::default(),
            compacting: Mutex::default(),
            tidier,
            stirred: Mutex::default(),
            wrote: AtomicBool::new(false),
            compacted: Mutex::default(),
            put_off: AtomicU64::new(0),
            begun_at: Mutex::default(),
            moved: watch::Sender::new(Revision::ZERO),
            waiters: Mutex::default(),
            options,
            place,
        }
    }

    /// The image as of now: with all that anyone has committed, and nothing that is not durable.
    ///
    /// # Errors
    /// `Damaged` if nothing of the file can be read; a part that can be is served. `Busy` if others hold the bucket.
    pub(super) async fn current(self: &Arc<Self>) -> Result<RwLockReadGuard<'_, Image>> {
        if !self.is_current()? {
            self.wait(Wish::Look).await?;
        }
        self.shown()
    }

    /// The same for a thread that may wait.
    pub(super) fn current_now(&self) -> Result<RwLockReadGuard<'_, Image>> {
        if !self.is_current()? {
            self.turn(Hold::Shared)?.catch_up(&self.image)?;
            self.record_edit();
            self.tell();
        }
        self.shown()
    }

    /// Records what a person did to the file, if nobody else has the bucket; else whoever has it next does.
    pub(super) fn record_edit(&self) {
        let is_edited = self.file.try_lock().is_some_and(|file| file.known.edited.is_some());
        if is_edited && let Ok(Some(mut turn)) = self.try_turn(Hold::Exclusive) {
            // What goes wrong is logged.
            let _ = turn.catch_up(&self.image);
        }
    }

    /// Whether the image is that of the file as it is now.
    fn is_current(&self) -> Result<bool> {
        if self.committing.load(Ordering::SeqCst) {
            return Ok(true);
        }
        let stat = self.options.disk.stat(&self.place.data).map_err(|e| self.place.failed("look at", e))?;
        let image = self.image.read();
        if stat.is_none() && image.damage.is_none() {
            // The lock file may know of a data file that is missing.
            let lock = self.options.disk.stat(&self.place.lock).map_err(|e| self.place.failed("look at", e))?;
            return Ok(image.stat.is_none() && lock.is_none());
        }
        Ok(stat == image.stat)
    }

    /// Whether the data file was there and is missing.
    pub(super) fn has_vanished(&self) -> bool {
        drop(self.current_now());
        let image = self.image.read();
        image.stat.is_none() && image.damage.is_some()
    }

    fn shown(&self) -> Result<RwLockReadGuard<'_, Image>> {
        let image = self.image.read();
        match &image.damage {
            Some(damage) if damage.blind => Err(self.damaged(damage)),
            _ => Ok(image),
        }
    }

    /// Whether it has never held anything, so that nothing is lost with it.
    pub(super) fn is_blank(&self) -> bool {
        let image = self.image.read();
        image.stat.is_none() && image.revision == Revision::ZERO
    }

    pub(super) fn damaged(&self, damage: &Damage) -> Error {
        let name = self.place.data.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{}. Nothing is written to it until it is mended", damage.of(&name));
        Error::new(Kind::Damaged, text)
    }

    /// Wakes those who wait for a later revision than the one they know.
    pub(super) fn tell(&self) {
        let revision = self.image.read().revision;
        self.moved.send_if_modified(|known| {
            let later = revision > *known;
            *known = revision.max(*known);
            later
        });
    }

    /// Carries a batch out, together with all that wait.
    pub(super) async fn apply(self: &Arc<Self>, batch: Batch) -> Result<Outcome> {
        self.wait(|answer| Wish::Write(batch, answer)).await
    }

    /// Catches up, and does what was wished; writes only under the exclusive lock.
    pub(super) fn carry_out(self: &Arc<Self>, mut turn: Turn<'_>, group: Vec<Wish>) {
        if let Err(error) = turn.catch_up(&self.image) {
            return refuse(group, &error);
        }
        self.stir(&turn);
        let (mut batches, mut answers, mut looks) = (vec![], vec![], vec![]);
        for wish in group {
            match wish {
                Wish::Look(answer) => looks.push(answer),
                Wish::Write(batch, answer) => {
                    batches.push(batch);
                    answers.push(answer);
                }
            }
        }
        let turn = if turn.known.edited.is_some() && batches.is_empty() {
            // Nobody sees what a person did before what was overwritten has been set aside.
            drop(turn);
            self.record_edit();
            None
        } else {
            Some(turn)
        };
        for answer in looks {
            let _ = answer.send(Ok(()));
        }
        let Some(turn) = turn.filter(|_| !batches.is_empty()) else { return };
        let outcomes = match self.commit(turn, &batches) {
            Ok(outcomes) => outcomes,
            Err(error) => batches.iter().map(|_| Err(error.copied())).collect(),
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome);
        }
    }

    /// Judges, appends, syncs.
    fn commit(self: &Arc<Self>, mut file: Turn<'_>, batches: &[Batch]) -> Result<Vec<Result<Outcome>>> {
        if let Some(damage) = &self.image.read().damage {
            return Err(self.damaged(damage));
        }
        let group = self.judge(batches);
        if group.text.is_empty() {
            // Who writes nothing wants to know whether a write could be done.
            if batches.iter().any(is_empty) {
                file.ensure_writable()?;
            }
            return Ok(group.outcomes);
        }
        file.ensure_own()?;
        let _committing = Flag::set(&self.committing);
        // What a compaction is about to use is not for others.
        let may_grow = !file.is_lean() || !self.is_compacting() && file.has_room();
        let stored = if may_grow || batches.iter().all(only_deletes) {
            self.store(&mut file, &group)
        } else {
            Err(Error::new(Kind::Full, "the disk is full; only deletions are carried out until there is room"))
        };
        match stored {
            Ok(stat) => {
                let outcomes = self.publish(group, stat);
                self.wrote.store(true, Ordering::Relaxed);
                self.stir(&file);
                file.reserve();
                self.compact_if_due(&file, file.is_lean());
                Ok(outcomes)
            }
            Err(error) if error.kind() == Kind::Full && batches.iter().any(only_deletes) => {
                self.store_deletions(&mut file, batches, &error)
            }
            Err(error) => {
                // For the next one there may be room then.
                self.compact_if_due(&file, error.kind() == Kind::Full);
                Ok(group.fail(&error))
            }
        }
    }

    fn judge(&self, batches: &[Batch]) -> Group {
        Group::judge(batches, &self.image.read(), self.options.limits, self.options.clock.now())
    }

    fn store(&self, file: &mut DataFile, group: &Group) -> Result<Stat> {
        file.prepare(&self.image, &*self.options.clock)?;
        file.append(&group.text)
    }

    fn publish(&self, group: Group, stat: Stat) -> Vec<Result<Outcome>> {
        let mut image = self.image.write();
        image.stat = Some(stat);
        group.publish(&mut image)
    }

    /// The disk is full: carries out what only deletes, in the room that is kept for it, and refuses the rest.
    fn store_deletions(
        self: &Arc<Self>,
        file: &mut Turn<'_>,
        batches: &[Batch],
        full: &Error,
    ) -> Result<Vec<Result<Outcome>>> {
        file.release();
        file.catch_up(&self.image)?;
        let deletions: Vec<Batch> = batches.iter().filter(|batch| only_deletes(batch)).cloned().collect();
        let group = self.judge(&deletions);
        let stored = if group.text.is_empty() { None } else { Some(self.store(file, &group)) };
        let outcomes = match stored {
            None => group.outcomes,
            Some(Ok(stat)) => self.publish(group, stat),
            Some(Err(error)) => group.fail(&error),
        };
        self.compact_if_due(file, true);
        let mut outcomes = outcomes.into_iter();
        let refused = || Err(full.copied());
        let answer = |batch| if only_deletes(batch) { outcomes.next().unwrap_or_else(refused) } else { refused() };
        Ok(batches.iter().map(answer).collect())
    }

    /// Answers a write that changes nothing in a bucket that nobody has written yet: it leaves no files behind. None: it is
    /// to be carried out.
    pub(super) fn answer_idle(&self, batch: &Batch) -> Option<Result<Outcome>> {
        let may_write = if is_empty(batch) { self.options.disk.may_write(&self.place.folder) } else { Ok(()) };
        if let Err(e) = may_write {
            return Some(Err(self.place.failed("write beside", e)));
        }
        let mut group = self.judge(std::slice::from_ref(batch));
        if group.text.is_empty() { group.outcomes.pop() } else { None }
    }

    /// Whether nobody has written the bucket yet.
    pub(super) fn is_absent(&self) -> bool {
        let is_missing = |path| matches!(self.options.disk.stat(path), Ok(None));
        self.is_blank() && is_missing(&self.place.data) && is_missing(&self.place.lock)
    }
}

fn is_empty(batch: &Batch) -> bool {
    batch.writes.is_empty() && batch.expectations.is_empty()
}

/// Whether it makes the bucket smaller, so that it is carried out on a full disk.
fn only_deletes(batch: &Batch) -> bool {
    !batch.writes.is_empty() && batch.writes.iter().all(|write| matches!(write, Write::Delete { .. }))
}
