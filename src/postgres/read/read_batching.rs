//! Batches lookups while many are under way.
//!
//! A limited number of lookups run at once, each in a statement of its own. Further ones wait. When a statement ends,
//! all waiting lookups of one bucket go together in the next one. So many readers cost the server hardly more than a
//! few, and some connections stay free for writes.
//!
//! A lookup is sent after it was requested, so it sees every write that was acknowledged by then.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lookup;
use crate::model::{Bucket, Error, ErrorKind, Key, Result, Revision, Snapshot};
use crate::postgres::connect::pool::Pool;

/// The most keys of a batch, unless a single lookup has more.
const MAX_BATCH_KEYS: usize = 128;

/// The lookups of one runtime.
pub(crate) struct ReadBatcher {
    pool: Pool,
    /// Runs the batches.
    runtime: Handle,
    /// The most lookups that run at once: half of the connections.
    max_running: usize,
    state: Mutex<BatcherState>,
}

#[derive(Default)]
struct BatcherState {
    running: usize,
    waiting: VecDeque<ReadBatch>,
}

/// Lookups of one bucket that are sent together.
struct ReadBatch {
    bucket: Bucket,
    /// The keys of all readers, one lookup after another.
    keys: Vec<Key>,
    readers: Vec<WaitingReader>,
}

/// A lookup that waits in a batch.
struct WaitingReader {
    key_count: usize,
    reply: ReadReply,
}

/// The channel for the result, and which result it is.
enum ReadReply {
    Entries(oneshot::Sender<Result<Snapshot>>),
    Values(oneshot::Sender<Result<Vec<Option<Bytes>>>>),
}

impl BatcherState {
    fn enqueue(&mut self, bucket: &Bucket, keys: &[Key], reply: ReadReply) {
        let reader = WaitingReader { key_count: keys.len(), reply };
        let mut batches = self.waiting.iter_mut();
        let fitting = batches.find(|b| b.bucket == *bucket && b.keys.len() + keys.len() <= MAX_BATCH_KEYS);
        if let Some(batch) = fitting {
            batch.keys.extend_from_slice(keys);
            batch.readers.push(reader);
        } else {
            self.waiting.push_back(ReadBatch { bucket: bucket.clone(), keys: keys.to_vec(), readers: vec![reader] });
        }
    }
}

impl ReadBatcher {
    pub(crate) fn new(pool: Pool, runtime: Handle) -> Self {
        let max_running = pool.url().pool_size.div_ceil(2);
        Self { pool, runtime, max_running, state: Mutex::default() }
    }

    /// Reads the entries of keys, in a batch if many lookups are under way.
    pub(crate) async fn entries(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
        match self.start_or_enqueue(bucket, keys, ReadReply::Entries) {
            Ok(_permit) => lookup::entries(&self.pool, bucket, keys).await,
            Err(result) => self.wait(result).await,
        }
    }

    /// Reads the values of keys, in a batch if many lookups are under way.
    pub(crate) async fn values(self: &Arc<Self>, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        match self.start_or_enqueue(bucket, keys, ReadReply::Values) {
            Ok(_permit) => lookup::values(&self.pool, bucket, keys).await,
            Err(result) => self.wait(result).await,
        }
    }

    /// A permit to run now, or the channel on which the result of a batch will come.
    fn start_or_enqueue<T>(
        self: &Arc<Self>,
        bucket: &Bucket,
        keys: &[Key],
        reply: fn(oneshot::Sender<Result<T>>) -> ReadReply,
    ) -> Result<ReadPermit, oneshot::Receiver<Result<T>>> {
        let mut state = self.state.lock();
        if state.running < self.max_running {
            state.running += 1;
            Ok(ReadPermit(Arc::clone(self)))
        } else {
            let (sender, receiver) = oneshot::channel();
            state.enqueue(bucket, keys, reply(sender));
            Err(receiver)
        }
    }

    async fn wait<T>(&self, result: oneshot::Receiver<Result<T>>) -> Result<T> {
        let limit = self.pool.options().lock_timeout;
        match timeout(limit, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(ErrorKind::Busy, "the read was interrupted; try again")),
            Err(_) => {
                let text = format!(
                    "the read waited longer than {limit:?} (lock_timeout) for a connection: reads use at most {} of {} \
                     (pool_size); try again",
                    self.max_running,
                    self.pool.url().pool_size
                );
                Err(Error::new(ErrorKind::Busy, text))
            }
        }
    }
}

/// Permits one running lookup. Dropping it starts the batch that has waited longest.
struct ReadPermit(Arc<ReadBatcher>);

impl Drop for ReadPermit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state.lock();
            let next = state.waiting.pop_front();
            if next.is_none() {
                state.running -= 1;
            }
            next
        };
        // The permit may be dropped outside of the runtime.
        if let Some(batch) = next {
            self.0.runtime.spawn(batch.run(ReadPermit(Arc::clone(&self.0))));
        }
    }
}

impl ReadBatch {
    async fn run(self, permit: ReadPermit) {
        let pool = &permit.0.pool;
        let found = lookup::entries(pool, &self.bucket, &self.keys).await;
        // A corrupt entry must be an error only for the readers that requested it, so each reader is served alone.
        let alone = matches!(&found, Err(error) if error.kind() == ErrorKind::Corrupt);
        let (mut entries, revision) = match &found {
            Ok(snapshot) => (snapshot.entries.iter(), snapshot.revision),
            Err(_) => ([].iter(), Revision::ZERO),
        };
        let mut keys = self.keys.as_slice();
        for WaitingReader { key_count, reply } in self.readers {
            let (own_keys, rest) = keys.split_at(key_count.min(keys.len()));
            keys = rest;
            let shared = match &found {
                Ok(_) => Some(Ok(Snapshot { revision, entries: entries.by_ref().take(key_count).cloned().collect() })),
                Err(_) if alone => None,
                Err(error) => Some(Err(error.duplicate())),
            };
            // The reader may have dropped its future.
            match reply {
                ReadReply::Entries(reply) => drop(reply.send(match shared {
                    Some(shared) => shared,
                    None => lookup::entries(pool, &self.bucket, own_keys).await,
                })),
                ReadReply::Values(reply) => drop(reply.send(match shared {
                    Some(shared) => shared.map(Snapshot::into_values),
                    None => lookup::values(pool, &self.bucket, own_keys).await,
                })),
            }
        }
    }
}
