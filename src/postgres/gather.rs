//! Gets that come while others are under way. So many are sent at once, each by itself; what comes beyond that waits, and when one
//! of those is answered, what waits for the same bucket goes together in one statement. So many readers cost the server hardly
//! more than a few, and there are connections left for others.
//!
//! What always holds: a get is sent after it was asked for, so it sees all that had been acknowledged by then.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::engine::Engine;
use crate::model::{Bucket, Error, Key, Kind, Result, Snapshot};

/// No group has more keys, unless a single get has.
const MOST: usize = 128;

/// The gets of a runtime.
#[derive(Default)]
pub(super) struct Gathered(Mutex<Gets>);

#[derive(Default)]
struct Gets {
    under_way: usize,
    waiting: VecDeque<Group>,
}

/// Gets of one bucket that are sent together.
struct Group {
    bucket: Bucket,
    /// Those of all, one get after another.
    keys: Vec<Key>,
    /// How many of the keys are whose.
    readers: Vec<(usize, Answer)>,
}

/// Where the answer goes, and what is asked.
enum Answer {
    Entries(oneshot::Sender<Result<Snapshot>>),
    Values(oneshot::Sender<Result<Vec<Option<Bytes>>>>),
}

impl Gets {
    fn wait(&mut self, bucket: &Bucket, keys: &[Key], answer: Answer) {
        let reader = (keys.len(), answer);
        let mut groups = self.waiting.iter_mut();
        if let Some(group) = groups.find(|group| group.bucket == *bucket && group.keys.len() + keys.len() <= MOST) {
            group.keys.extend_from_slice(keys);
            group.readers.push(reader);
        } else {
            self.waiting.push_back(Group { bucket: bucket.clone(), keys: keys.to_vec(), readers: vec![reader] });
        }
    }
}

/// What stands under the keys, found together with what others ask for if many do.
pub(super) async fn get(engine: &Arc<Engine>, bucket: &Bucket, keys: &[Key]) -> Result<Snapshot> {
    match turn(engine, bucket, keys, Answer::Entries) {
        Ok(_turn) => engine.get(bucket, keys).await,
        Err(answer) => wait(engine, answer).await,
    }
}

/// The values of what stands under the keys, found likewise.
pub(super) async fn values(engine: &Arc<Engine>, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
    match turn(engine, bucket, keys, Answer::Values) {
        Ok(_turn) => engine.values(bucket, keys).await,
        Err(answer) => wait(engine, answer).await,
    }
}

/// A turn of one's own; or what will be found together with what others ask for.
fn turn<T>(
    engine: &Arc<Engine>,
    bucket: &Bucket,
    keys: &[Key],
    asked: fn(oneshot::Sender<Result<T>>) -> Answer,
) -> Result<Turn, oneshot::Receiver<Result<T>>> {
    let mut gets = engine.gathered.0.lock();
    if gets.under_way < engine.gets_at_once() {
        gets.under_way += 1;
        Ok(Turn(Arc::clone(engine)))
    } else {
        let (answer, told) = oneshot::channel();
        gets.wait(bucket, keys, asked(answer));
        Err(told)
    }
}

async fn wait<T>(engine: &Engine, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    match timeout(engine.place.options.lock_wait, answer).await {
        Ok(told) => told.unwrap_or_else(|_| Err(Error::new(Kind::Busy, "the read was given up; try again"))),
        Err(_) => Err(Error::new(Kind::Busy, "the reads before it took too long; try again")),
    }
}

/// Being one of those under way. When it is over, however it ended, those who wait longest have it.
struct Turn(Arc<Engine>);

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut gets = self.0.gathered.0.lock();
            let next = gets.waiting.pop_front();
            if next.is_none() {
                gets.under_way -= 1;
            }
            next
        };
        // In the runtime of the engine, wherever this one is dropped.
        if let Some(group) = next {
            self.0.runtime.spawn(group.read(Turn(Arc::clone(&self.0))));
        }
    }
}

impl Group {
    async fn read(self, turn: Turn) {
        let engine = &turn.0;
        let found = engine.get(&self.bucket, &self.keys).await;
        // What is wrong with the entry of one must not be told to the others.
        let each = matches!(&found, Err(error) if error.kind() == Kind::Damaged);
        let (mut entries, revision) = match &found {
            Ok(snapshot) => (snapshot.entries.iter(), snapshot.revision),
            Err(_) => ([].iter(), crate::model::Revision::ZERO),
        };
        let mut keys = self.keys.as_slice();
        for (count, answer) in self.readers {
            let (these, rest) = keys.split_at(count.min(keys.len()));
            keys = rest;
            let own = match &found {
                Ok(_) => Some(Ok(Snapshot { revision, entries: entries.by_ref().take(count).cloned().collect() })),
                Err(_) if each => None,
                Err(error) => Some(Err(error.copied())),
            };
            // Who dropped the future does not want the answer.
            match answer {
                Answer::Entries(answer) => drop(answer.send(match own {
                    Some(own) => own,
                    None => engine.get(&self.bucket, these).await,
                })),
                Answer::Values(answer) => drop(answer.send(match own {
                    Some(own) => own.map(Snapshot::into_values),
                    None => engine.values(&self.bucket, these).await,
                })),
            }
        }
    }
}
