//! Carries a group of batches of one bucket out, in one transaction.
//!
//! Plain writes take one round trip (`once.rs`). All others take two: the first locks the bucket and reads what the batches
//! speak of; then they are judged here; the second writes and commits. What is sent in one trip is sent at once, and the
//! server works on it in its order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use deadpool_postgres::Client;
use futures_util::FutureExt;
use futures_util::future::{join, join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::engine::{Engine, discard};
use super::fault::{Attempts, Fault, Reason};
use super::judged::Verdict;
use super::once::{Once, is_plain, once};
use super::queue::Group;
use super::row::{column, entry, number, place, revision, typed};
use crate::model::{Batch, Bucket, ContentType, Entry, Key, Result, Revision, Write};

/// Each statement sees what was committed when it began, so what is read behind the lock is what stands there.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Carries the group out and answers everybody in it.
pub(super) async fn carry_out(engine: &Arc<Engine>, bucket: &Bucket, group: &mut Group) {
    let work = Work { engine, bucket };
    let mut attempts = Attempts::default();
    let mut short = true;
    loop {
        let done = if short { work.shortly(group).await } else { work.at_length(group).await.map(|()| true) };
        let fault = match done {
            Ok(true) => return,
            Ok(false) => {
                short = false;
                continue;
            }
            Err(fault) if fault.reason == Some(Reason::NoPartition) => match work.make_partition().await {
                Ok(()) => Fault { again: true, ..fault },
                Err(other) => other,
            },
            Err(fault) => fault,
        };
        if let Err(error) = engine.again(&mut attempts, fault).await {
            return group.fail(&error);
        }
    }
}

/// A group being carried out.
struct Work<'a> {
    engine: &'a Arc<Engine>,
    bucket: &'a Bucket,
}

impl Work<'_> {
    /// The short way. `false`: it is not open.
    async fn shortly(&self, group: &mut Group) -> Result<bool, Fault> {
        let place = &self.engine.place;
        let client = self.engine.client().await?;
        // Behind the wait for a connection, so that it is not long before the commit.
        let now = place.options.clock.now();
        if !is_plain(&group.batches, place.options.limits, now) {
            return Ok(false);
        }
        match once(&client, &place.statements.plain, (self.bucket, &group.batches), now).await {
            Err(fault) => {
                discard(client);
                Err(fault)
            }
            Ok(Once::NotNow) => Ok(false),
            Ok(Once::Done(outcomes, moved)) => {
                self.conclude(client, None, || group.answer(outcomes.into_iter().map(Ok)), moved);
                Ok(true)
            }
        }
    }

    /// The way on which the bucket is locked.
    async fn at_length(&self, group: &mut Group) -> Result<(), Fault> {
        let client = self.engine.client().await?;
        match self.locked(&client, &group.batches).await {
            Ok(verdict) => {
                let Verdict { outcomes, revision, .. } = verdict.0;
                let (unfinished, moved) = if verdict.1 { (None, Some(revision)) } else { (Some("ROLLBACK"), None) };
                self.conclude(client, unfinished, || group.answer(outcomes), moved);
                Ok(())
            }
            Err(fault) => {
                discard(client);
                Err(fault)
            }
        }
    }

    /// Locks, judges, writes and commits. Whether there was anything to write; if not, the transaction is still open.
    async fn locked(&self, client: &Client, batches: &[Batch]) -> Result<(Verdict, bool), Fault> {
        let options = &self.engine.place.options;
        let (last, stored) = self.look(client, batches).await?;
        let now = options.clock.now();
        let verdict = Verdict::over(batches, options.limits, (now, last), &stored);
        if verdict.is_nothing() {
            return Ok((verdict, false));
        }
        self.write(client, &verdict).await?;
        Ok((verdict, true))
    }

    /// Begins a transaction, locks the bucket, and reads its revision and what stands under the keys.
    async fn look(&self, client: &Client, batches: &[Batch]) -> Result<(Revision, HashMap<Key, Entry>), Fault> {
        let statements = &self.engine.place.statements;
        let bucket = self.bucket.as_str();
        let keys: BTreeSet<&Key> = batches
            .iter()
            .flat_map(|batch| batch.expectations.iter().map(|e| &e.key).chain(batch.writes.iter().map(Write::key)))
            .collect();
        let keys: Vec<&Key> = keys.into_iter().collect();
        let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let lock = client.prepare_cached(&statements.lock).await.map_err(Fault::before)?;
        let held = client.prepare_cached(&statements.held).await.map_err(Fault::before)?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&bucket, &names];
        let begin = client.batch_execute(BEGIN);
        let (begun, locked, found) =
            join3(begin, client.query_opt(&lock, &[&bucket]), client.query(&held, &parameters)).await;
        begun.map_err(Fault::before)?;
        let Some(locked) = locked.map_err(Fault::before)? else {
            let (last, found) = self.look_again(client, &parameters).await?;
            return Ok((last, entries(&keys, &found)?));
        };
        Ok((revision(column(&locked, 0)?), entries(&keys, &found.map_err(Fault::before)?)?))
    }

    /// The same for a bucket that has no row yet: makes one, which is gone again if nothing is written.
    async fn look_again(
        &self,
        client: &Client,
        parameters: &[&(dyn ToSql + Sync); 2],
    ) -> Result<(Revision, Vec<Row>), Fault> {
        let statements = &self.engine.place.statements;
        let bucket = self.bucket.as_str();
        if self.engine.place.url.making.partitioned {
            // Not within the transaction, where it would have to wait for all who read the table.
            client.batch_execute("ROLLBACK").await.map_err(Fault::before)?;
            self.make_partition().await?;
            client.batch_execute(BEGIN).await.map_err(Fault::before)?;
        }
        let born = client.prepare_cached(&statements.born).await.map_err(Fault::before)?;
        let lock = client.prepare_cached(&statements.lock).await.map_err(Fault::before)?;
        let held = client.prepare_cached(&statements.held).await.map_err(Fault::before)?;
        let (made, locked, found) = join3(
            client.execute(&born, &[&bucket]),
            client.query_one(&lock, &[&bucket]),
            client.query(&held, parameters),
        )
        .await;
        made.map_err(Fault::before)?;
        let last = revision(column(&locked.map_err(Fault::before)?, 0)?);
        Ok((last, found.map_err(Fault::before)?))
    }

    /// Writes and commits.
    async fn write(&self, client: &Client, verdict: &Verdict) -> Result<(), Fault> {
        let statements = &self.engine.place.statements;
        let (bucket, last) = (self.bucket.as_str(), number(verdict.revision));
        let c = verdict.columns();
        let stored: [&(dyn ToSql + Sync); 9] =
            [&bucket, &last, &c.keys, &c.values, &c.types, &c.revisions, &c.created, &c.modified, &c.expires];
        let commit = client.batch_execute("COMMIT");
        let (written, committed) = if c.gone.is_empty() {
            let store = client.prepare_cached(&statements.store).await.map_err(Fault::before)?;
            join(client.execute(&store, &stored), commit).await
        } else {
            join(client.execute_typed(&statements.write, &typed(&stored, &c.gone)), commit).await
        };
        // If the server refused the first it has rolled back, whatever it was told then.
        written.map_err(Fault::committing)?;
        committed.map_err(Fault::committing)
    }

    /// Makes the partition of the bucket.
    async fn make_partition(&self) -> Result<(), Fault> {
        let client = self.engine.connection().await?;
        let url = &self.engine.place.url;
        let made = client.batch_execute(&url.names.make_partition(self.bucket, url.making)).await;
        made.map_err(|error| {
            discard(client);
            Fault::before(error)
        })
    }

    /// Answers, and sees to what is left to do on the connection: to end a transaction that has written nothing, or to tell
    /// other processes of the new revision. Nobody waits for that.
    fn conclude(&self, client: Client, unfinished: Option<&str>, answer: impl FnOnce(), moved: Option<Revision>) {
        if let Some(moved) = moved {
            self.engine.tell(self.bucket, moved);
        }
        let rest = match unfinished {
            Some(sql) => Some(sql.to_owned()),
            None => moved.and_then(|moved| self.engine.announcement(self.bucket, moved)),
        };
        let Some(rest) = rest else {
            drop(client);
            return answer();
        };
        let engine = Arc::clone(self.engine);
        let mut rest = Box::pin(async move {
            if let Err(error) = client.batch_execute(&rest).await {
                engine.waits.unheard(&error);
                discard(client);
            }
        });
        // It is on its way before the answer is, since a program may end with the answer.
        let sent = (&mut rest).now_or_never();
        answer();
        if sent.is_none() {
            tokio::spawn(rest);
        }
    }
}

/// The entries in these rows, each of the key at its place.
fn entries(keys: &[&Key], rows: &[Row]) -> Result<HashMap<Key, Entry>> {
    let (mut found, mut last) = (HashMap::with_capacity(rows.len()), ContentType::default());
    for row in rows {
        if let Some(key) = place(row, 0)?.and_then(|at| keys.get(at)) {
            found.insert((*key).clone(), entry(row, 1, key, &mut last)?);
        }
    }
    Ok(found)
}
