//! Waiting for a bucket to change, and telling others that it has.
//!
//! Who writes tells the waiters of its own process at once, and those of others by NOTIFY after the commit. That only
//! makes it quick: besides, the revision of every bucket that somebody waits for is read now and then, so a word that
//! was lost, or that the server does not carry, costs a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::engine::{Engine, discard};
use super::listen::listen;
use crate::model::{Bucket, Result, Revision};

/// How often a revision is read that somebody waits for: the first time after this,
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// and never less often than this while words come in.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Changes are told at most so often, all of the time in between together.
const QUIET: Duration = Duration::from_millis(5);

/// Who waits in a runtime, and what is still to be told.
pub(super) struct Waits {
    watched: Mutex<HashMap<Bucket, Watched>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    /// Whether words come in.
    pub(super) hears: AtomicBool,
    /// Whether the server carries no words.
    silent: AtomicBool,
    told: Mutex<Told>,
}

/// A bucket that somebody waits for.
struct Watched {
    revision: watch::Sender<Revision>,
    nudge: Arc<Notify>,
    waiters: usize,
    looking: AbortHandle,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    pending: HashMap<Bucket, Revision>,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self {
            watched: Mutex::default(),
            listener: Mutex::default(),
            hears: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Wakes those who wait for a later revision than they know.
    pub(super) fn tell(&self, bucket: &Bucket, revision: Revision) {
        if let Some(watched) = self.watched.lock().get(bucket) {
            raise(&watched.revision, revision);
        }
    }

    /// Forgets a word that turns out to be of something else, or of a time that a restore has undone: what had been told
    /// before the revision was read cannot be later than it.
    fn correct(&self, bucket: &Bucket, (told, read): (Revision, Revision)) {
        if let Some(watched) = self.watched.lock().get(bucket) {
            watched.revision.send_if_modified(|known| {
                if *known == told && told > read {
                    *known = read;
                }
                // Nobody is woken: this is no news.
                false
            });
        }
    }

    /// Has all revisions read that somebody waits for: words may have been missed.
    pub(super) fn nudge(&self) {
        for watched in self.watched.lock().values() {
            watched.nudge.notify_one();
        }
    }

    /// A word did not get through. If the server carries none, they are not tried any more.
    pub(super) fn unheard(&self, error: &tokio_postgres::Error) {
        tracing::debug!("telling others of a change: {error}");
        // These classes are of servers that come and go; what is left is that it does not understand.
        let passing = |code: &str| ["08", "25", "53", "57"].iter().any(|class| code.starts_with(class));
        if error.code().is_some_and(|code| !passing(code.code())) {
            self.silent.store(true, Ordering::Relaxed);
        }
    }

    /// Sees to it that somebody listens.
    fn listen(self: &Arc<Self>, engine: &Engine) {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(Arc::clone(&engine.place), Arc::downgrade(self))));
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut() {
            listener.abort();
        }
    }
}

fn raise(known: &watch::Sender<Revision>, revision: Revision) {
    known.send_if_modified(|known| {
        let later = revision > *known;
        *known = revision.max(*known);
        later
    });
}

/// Being one of those who wait for a bucket.
struct Waiting {
    engine: Arc<Engine>,
    bucket: Bucket,
    revision: watch::Receiver<Revision>,
}

impl Waiting {
    fn begin(engine: &Arc<Engine>, bucket: &Bucket) -> Self {
        engine.waits.listen(engine);
        let mut all = engine.waits.watched.lock();
        let watched = all.entry(bucket.clone()).or_insert_with(|| {
            let (revision, nudge) = (watch::Sender::new(Revision::ZERO), Arc::new(Notify::new()));
            let look = look_now_and_then(Arc::clone(engine), bucket.clone(), revision.clone(), Arc::clone(&nudge));
            Watched { revision, nudge, waiters: 0, looking: tokio::spawn(look).abort_handle() }
        });
        watched.waiters += 1;
        Self { engine: Arc::clone(engine), bucket: bucket.clone(), revision: watched.revision.subscribe() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = self.engine.waits.watched.lock();
        let Some(watched) = all.get_mut(&self.bucket) else { return };
        watched.waiters -= 1;
        if watched.waiters == 0 {
            watched.looking.abort();
            all.remove(&self.bucket);
        }
    }
}

/// Waits until the bucket has moved past `since`.
pub(super) async fn changed(engine: &Arc<Engine>, bucket: &Bucket, since: Revision) -> Result<Revision> {
    let mut waiting = Waiting::begin(engine, bucket);
    let told = *waiting.revision.borrow();
    // Waiting comes before looking, so that no change falls in between.
    let now = engine.revision(bucket).await?;
    engine.waits.correct(bucket, (told, now));
    engine.waits.tell(bucket, now);
    loop {
        if let Ok(reached) = waiting.revision.wait_for(|reached| *reached > since).await {
            return Ok(*reached);
        }
        // The sender lives as long as somebody waits, so this is not reached.
        tokio::time::sleep(FIRST_LOOK).await;
    }
}

async fn look_now_and_then(engine: Arc<Engine>, bucket: Bucket, known: watch::Sender<Revision>, nudge: Arc<Notify>) {
    let mut pause = FIRST_LOOK;
    loop {
        tokio::select! {
            () = nudge.notified() => pause = FIRST_LOOK,
            () = tokio::time::sleep(pause) => {
                let hears = engine.waits.hears.load(Ordering::Relaxed);
                pause = if hears { (2 * pause).min(LAST_LOOK) } else { FIRST_LOOK };
            }
        }
        match engine.revision(&bucket).await {
            Ok(revision) => raise(&known, revision),
            Err(error) => tracing::debug!("looking whether {bucket} has changed: {error}"),
        }
    }
}

impl Engine {
    /// What is to be sent to tell other processes that a bucket has moved; none if it will be sent later, together with what
    /// moves in between.
    pub(super) fn announcement(self: &Arc<Self>, bucket: &Bucket, moved: Revision) -> Option<String> {
        if self.waits.silent.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let mut told = self.waits.told.lock();
        if told.pending.is_empty() && told.last.is_none_or(|last| now - last >= QUIET) {
            told.last = Some(now);
            return Some(self.words([(bucket, moved)]));
        }
        if told.pending.is_empty() {
            let engine = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(QUIET).await;
                engine.announce().await;
            });
        }
        told.pending.insert(bucket.clone(), moved);
        None
    }

    /// Tells other processes of what has moved meanwhile.
    async fn announce(&self) {
        let pending = {
            let mut told = self.waits.told.lock();
            told.last = Some(Instant::now());
            std::mem::take(&mut told.pending)
        };
        // Without a connection nobody can be told; they look for themselves.
        let Ok(client) = self.client().await else { return };
        if let Err(error) = client.batch_execute(&self.words(pending.iter().map(|(b, r)| (b, *r)))).await {
            self.waits.unheard(&error);
            discard(client);
        }
    }

    fn words<'a>(&self, moved: impl IntoIterator<Item = (&'a Bucket, Revision)>) -> String {
        // That a word is lost with a crash of the server does no harm, so it need not reach the disk.
        let mut sql = "BEGIN; SET LOCAL synchronous_commit = off;".to_owned();
        for (bucket, revision) in moved {
            // Neither a bucket nor a revision holds a quote.
            sql += &format!(" NOTIFY \"{}\", '{bucket} {revision}';", self.place.url.names.channel);
        }
        sql + " COMMIT"
    }
}
