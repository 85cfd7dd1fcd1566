//! Waits for buckets to change, and notifies other processes of changes by LISTEN and NOTIFY.
//!
//! A write wakes the waiters of its own process directly, and those of other processes by NOTIFY after the commit.
//! Waiters do not depend on that: the revision of each watched bucket is also polled. So a notification that is lost,
//! or that the server does not support, only costs time.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, Error as ServerError};

use super::connect::pool::{Pool, discard};
use super::connect::store_config::Config;
use super::read::lookup::bucket_revision;
use crate::model::{Bucket, Result, Revision};
use crate::store::raise_revision;

/// The first poll of a watched bucket comes after this time.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// While notifications arrive, the polls slow down to this interval.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Notifications are sent at most this often; the changes in between go together.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(5);

/// The pause before a lost LISTEN connection is replaced. It doubles up to the maximum.
const MIN_RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(5);

/// Wakes the waiters of all runtimes of this process.
pub(crate) type WakeAll = Box<dyn Fn(&Bucket, Revision) + Send + Sync>;

/// The waiters of one runtime, and its notifications to other processes.
pub(crate) struct Notifier {
    pool: Pool,
    wake_all: WakeAll,
    watched: Mutex<HashMap<Bucket, WatchedBucket>>,
    listener: Mutex<Option<JoinHandle<()>>>,
    /// Whether the listener is connected.
    is_listening: AtomicBool,
    /// Whether the server does not support NOTIFY.
    is_unsupported: AtomicBool,
    pending: Mutex<PendingNotifications>,
}

/// A bucket with at least one waiter.
struct WatchedBucket {
    revision: watch::Sender<Revision>,
    poll_now: Arc<Notify>,
    waiters: usize,
    poller: AbortHandle,
}

#[derive(Default)]
struct PendingNotifications {
    last_sent: Option<Instant>,
    revisions: HashMap<Bucket, Revision>,
}

impl Notifier {
    pub(crate) fn new(pool: Pool, wake_all: WakeAll) -> Self {
        Self {
            pool,
            wake_all,
            watched: Mutex::default(),
            listener: Mutex::default(),
            is_listening: AtomicBool::new(false),
            is_unsupported: AtomicBool::new(false),
            pending: Mutex::default(),
        }
    }

    /// Waits until the bucket has a later revision than `since`.
    pub(crate) async fn changed(self: &Arc<Self>, bucket: &Bucket, since: Revision) -> Result<Revision> {
        // The waiter is registered before the revision is read, so that no change in between is missed.
        let mut waiter = BucketWaiter::register(self, bucket);
        let notified = *waiter.revision.borrow();
        let read = bucket_revision(&self.pool, bucket).await?;
        self.correct(bucket, notified, read);
        self.wake(bucket, read);
        loop {
            if let Ok(reached) = waiter.revision.wait_for(|reached| *reached > since).await {
                return Ok(*reached);
            }
            // Unreachable: the sender lives as long as there is a waiter.
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
        }
    }

    /// Wakes the waiters of this runtime that do not know this revision.
    pub(crate) fn wake(&self, bucket: &Bucket, revision: Revision) {
        if let Some(watched) = self.watched.lock().get(bucket) {
            raise_revision(&watched.revision, revision);
        }
    }

    /// Wakes the waiters of all runtimes of this process.
    pub(crate) fn wake_all(&self, bucket: &Bucket, revision: Revision) {
        (self.wake_all)(bucket, revision);
    }

    /// Lowers a revision that was notified before `read` was read, but is later than it. Such a notification came from
    /// another store, or from a time before a restore.
    fn correct(&self, bucket: &Bucket, notified: Revision, read: Revision) {
        if let Some(watched) = self.watched.lock().get(bucket) {
            watched.revision.send_if_modified(|known| {
                if *known == notified && notified > read {
                    *known = read;
                }
                // This is not a change, so nobody is woken.
                false
            });
        }
    }

    /// Polls all watched buckets at once: notifications may have been missed.
    fn poll_now(&self) {
        for watched in self.watched.lock().values() {
            watched.poll_now.notify_one();
        }
    }

    /// Starts the listener unless it is running.
    fn ensure_listener(self: &Arc<Self>) {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(Arc::clone(self.pool.config()), Arc::downgrade(self))));
        }
    }

    /// The SQL that notifies other processes of a revision; `None` if it is sent later, or not supported.
    pub(crate) fn notify_sql(self: &Arc<Self>, bucket: &Bucket, revision: Revision) -> Option<String> {
        if self.is_unsupported.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let mut pending = self.pending.lock();
        if pending.revisions.is_empty() {
            if pending.last_sent.is_none_or(|last| now - last >= NOTIFY_INTERVAL) {
                pending.last_sent = Some(now);
                return Some(self.notifications([(bucket, revision)]));
            }
            let notifier = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(NOTIFY_INTERVAL).await;
                notifier.send_pending().await;
            });
        }
        pending.revisions.insert(bucket.clone(), revision);
        None
    }

    async fn send_pending(&self) {
        let revisions = {
            let mut pending = self.pending.lock();
            pending.last_sent = Some(Instant::now());
            std::mem::take(&mut pending.revisions)
        };
        // Without a connection, the other processes find the changes by polling.
        let Ok(client) = self.pool.client().await else { return };
        let sql = self.notifications(revisions.iter().map(|(bucket, revision)| (bucket, *revision)));
        if let Err(error) = client.batch_execute(&sql).await {
            self.notify_failed(&error);
            discard(client);
        }
    }

    fn notifications<'a>(&self, revisions: impl IntoIterator<Item = (&'a Bucket, Revision)>) -> String {
        // A notification may be lost in a crash of the server, so it need not wait for the disk.
        let mut sql = "BEGIN; SET LOCAL synchronous_commit = off;".to_owned();
        for (bucket, revision) in revisions {
            // Neither a bucket nor a revision contains a quote.
            sql += &format!(" NOTIFY \"{}\", '{bucket} {revision}';", self.pool.names().channel);
        }
        sql + " COMMIT"
    }

    /// Handles a failed notification. If the server does not support NOTIFY, no more are sent.
    pub(crate) fn notify_failed(&self, error: &ServerError) {
        tracing::debug!("cannot notify other processes of a change: {error}");
        // Errors of these classes pass. Any other code means that the server does not understand the statement.
        let is_temporary = |code: &str| ["08", "25", "53", "57"].iter().any(|class| code.starts_with(class));
        if error.code().is_some_and(|code| !is_temporary(code.code())) {
            self.is_unsupported.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut() {
            listener.abort();
        }
    }
}

/// A registered waiter of a bucket. The first one starts the polls, and the last one ends them.
struct BucketWaiter {
    notifier: Arc<Notifier>,
    bucket: Bucket,
    revision: watch::Receiver<Revision>,
}

impl BucketWaiter {
    fn register(notifier: &Arc<Notifier>, bucket: &Bucket) -> Self {
        notifier.ensure_listener();
        let mut all = notifier.watched.lock();
        let watched = all.entry(bucket.clone()).or_insert_with(|| {
            let (revision, poll_now) = (watch::Sender::new(Revision::ZERO), Arc::new(Notify::new()));
            let polls = poll(Arc::clone(notifier), bucket.clone(), revision.clone(), Arc::clone(&poll_now));
            WatchedBucket { revision, poll_now, waiters: 0, poller: tokio::spawn(polls).abort_handle() }
        });
        watched.waiters += 1;
        Self { notifier: Arc::clone(notifier), bucket: bucket.clone(), revision: watched.revision.subscribe() }
    }
}

impl Drop for BucketWaiter {
    fn drop(&mut self) {
        let mut all = self.notifier.watched.lock();
        let Some(watched) = all.get_mut(&self.bucket) else { return };
        watched.waiters -= 1;
        if watched.waiters == 0 {
            watched.poller.abort();
            all.remove(&self.bucket);
        }
    }
}

/// Polls the revision of a watched bucket.
async fn poll(notifier: Arc<Notifier>, bucket: Bucket, known: watch::Sender<Revision>, poll_now: Arc<Notify>) {
    let mut interval = MIN_POLL_INTERVAL;
    loop {
        tokio::select! {
            () = poll_now.notified() => interval = MIN_POLL_INTERVAL,
            () = tokio::time::sleep(interval) => {
                let is_listening = notifier.is_listening.load(Ordering::Relaxed);
                interval = if is_listening { (2 * interval).min(MAX_POLL_INTERVAL) } else { MIN_POLL_INTERVAL };
            }
        }
        match bucket_revision(&notifier.pool, &bucket).await {
            Ok(revision) => raise_revision(&known, revision),
            Err(error) => tracing::debug!("cannot poll the revision of bucket {bucket}: {error}"),
        }
    }
}

/// Listens for notifications as long as the notifier exists. A lost connection is replaced.
async fn listen(config: Arc<Config>, notifier: Weak<Notifier>) {
    let mut pause = MIN_RECONNECT_PAUSE;
    while notifier.strong_count() > 0 {
        let ended = listen_on_one_connection(&config, &notifier).await;
        let had_connected = notifier.upgrade().is_some_and(|n| n.is_listening.swap(false, Ordering::Relaxed));
        if had_connected {
            pause = MIN_RECONNECT_PAUSE;
        }
        if let Err(error) = ended {
            tracing::debug!("cannot listen for changes: {error}");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(MAX_RECONNECT_PAUSE);
    }
}

async fn listen_on_one_connection(config: &Config, notifier: &Weak<Notifier>) -> Result<(), ServerError> {
    let (client, mut connection) = config.url.client.connect(config.tls.clone()).await?;
    let sql = format!("LISTEN \"{}\"", config.url.names.channel);
    let mut start = std::pin::pin!(client.batch_execute(&sql));
    let mut is_started = false;
    loop {
        tokio::select! {
            started = &mut start, if !is_started => {
                started?;
                is_started = true;
                let Some(notifier) = notifier.upgrade() else { return Ok(()) };
                notifier.is_listening.store(true, Ordering::Relaxed);
                // Earlier notifications were missed.
                notifier.poll_now();
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    let Some(notifier) = notifier.upgrade() else { return Ok(()) };
                    if let Some((bucket, revision)) = parse_payload(notification.payload()) {
                        notifier.wake(&bucket, revision);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }
}

/// The bucket and the revision in a notification; `None` if another program sent it.
fn parse_payload(payload: &str) -> Option<(Bucket, Revision)> {
    let (bucket, revision) = payload.split_once(' ')?;
    Some((Bucket::new(bucket).ok()?, revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_of_other_programs_are_ignored() {
        assert_eq!(parse_payload("a.b 10"), Some((Bucket::new("a.b").unwrap(), Revision::new(36))));
        for other in ["", "a", "a ", "a b c", " 1", "a/b 1", "a -1"] {
            assert_eq!(parse_payload(other), None, "{other}");
        }
    }
}
