//! Commits a group of batches of one bucket in one transaction.
//!
//! A group of plain writes takes one round trip (`single_statement.rs`). Every other group takes two. The first locks
//! the bucket and reads the entries that the batches name; then kvs evaluates the batches; the second stores and
//! commits. The statements of one round trip are sent at once, and the server executes them in order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use deadpool_postgres::Client;
use futures_util::FutureExt;
use futures_util::future::{join, join_all, join3};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::change_columns::ChangeColumns;
use super::old_changes::{OldChanges, forget};
use super::single_statement::{self, SingleStatement};
use super::write_queue::WriteGroup;
use crate::model::{Batch, Bucket, ContentType, Entry, Key, Result, Revision, Write};
use crate::postgres::connect::pool::{Pool, discard, give_up};
use crate::postgres::error::{PgError, Reason, Retry};
use crate::postgres::notify::Notifier;
use crate::postgres::sql::row::{column, entry, position, revision, revision_number, typed_parameters};
use crate::store::{self, Moment, evaluate_all};

/// Commits the group and replies to its writers.
pub(crate) async fn commit(
    pool: Pool,
    notifier: Arc<Notifier>,
    old_changes: Arc<OldChanges>,
    bucket: Bucket,
    mut group: WriteGroup,
) {
    let commit = GroupCommit { pool: &pool, notifier: &notifier, old_changes: &old_changes, bucket: &bucket };
    let mut retry = Retry::default();
    let mut may_be_plain = pool.may_write_at_once(&bucket);
    loop {
        let result = if may_be_plain {
            commit.in_single_statement(&mut group).await
        } else {
            commit.in_locked_transaction(&mut group).await.map(|()| true)
        };
        let error = match result {
            Ok(true) => return,
            Ok(false) => {
                may_be_plain = false;
                continue;
            }
            Err(error) if error.reason == Some(Reason::NoPartition) => match commit.add_partition().await {
                Ok(()) => PgError { is_retryable: true, ..error },
                Err(other) => other,
            },
            Err(error) => error,
        };
        if let Err(error) = pool.retry(&mut retry, error).await {
            return group.fail(&error);
        }
    }
}

/// The commit of one group.
struct GroupCommit<'a> {
    pool: &'a Pool,
    notifier: &'a Arc<Notifier>,
    old_changes: &'a OldChanges,
    bucket: &'a Bucket,
}

/// The remaining work on a connection after a group.
enum Ending {
    /// The transaction wrote nothing and must end.
    Rollback,
    /// Other processes must be notified of the new revision.
    Notify(Revision),
    /// The same. The group may also have added changes to those that are remembered, so that old ones must go.
    NotifyAndForget(Revision),
    Nothing,
}

impl Ending {
    /// The ending of a group that was committed at this revision.
    fn after(batches: &[Batch], revision: Revision) -> Self {
        let mut writes = batches.iter().flat_map(|batch| &batch.writes);
        let may_be_remembered =
            |write: &Write| matches!(write, Write::Delete { .. } | Write::Touch { .. } | Write::Restore { .. });
        if writes.any(may_be_remembered) { Self::NotifyAndForget(revision) } else { Self::Notify(revision) }
    }
}

impl GroupCommit<'_> {
    /// Tries to commit in a single statement. Returns `false` if that is not possible, and nothing was stored.
    async fn in_single_statement(&self, group: &mut WriteGroup) -> Result<bool, PgError> {
        let client = self.pool.client().await?;
        // The time is taken after the wait for a connection, so that it is close to the commit.
        let now = self.pool.now();
        if !single_statement::is_plain(&group.batches, self.pool.options().limits, now) {
            return Ok(false);
        }
        let executed = single_statement::execute(&client, self.pool, self.bucket, &group.batches, now);
        let executed = self.pool.response(executed, PgError::no_response_to_commit).await;
        match executed {
            Err(error) => {
                self.pool.set_broken_off(self.bucket, error.error.is_outcome_unknown());
                give_up(client, error.reason).await;
                Err(error)
            }
            Ok(SingleStatement::NotApplicable) => Ok(false),
            Ok(SingleStatement::Done { outcomes, new_revision }) => {
                let ending = new_revision.map_or(Ending::Nothing, |revision| Ending::after(&group.batches, revision));
                self.conclude(client, ending, || group.reply(outcomes.into_iter().map(Ok)));
                Ok(true)
            }
        }
    }

    /// Commits in a transaction that locks the bucket.
    async fn in_locked_transaction(&self, group: &mut WriteGroup) -> Result<(), PgError> {
        let client = self.pool.client().await?;
        match self.evaluate_and_store(&client, &group.batches).await {
            Ok(evaluated) => {
                self.pool.set_broken_off(self.bucket, false);
                let ending = if evaluated.changes.is_empty() {
                    Ending::Rollback
                } else {
                    Ending::after(&group.batches, evaluated.revision)
                };
                self.conclude(client, ending, || group.reply(evaluated.outcomes));
                Ok(())
            }
            Err(error) => {
                give_up(client, error.reason).await;
                Err(error)
            }
        }
    }

    /// Locks, evaluates, stores and commits. If there is nothing to store, the transaction stays open.
    async fn evaluate_and_store(&self, client: &Client, batches: &[Batch]) -> Result<store::Group, PgError> {
        let read = self.lock_and_read(client, batches);
        let (last, stored) = self.pool.response(read, PgError::no_response).await?;
        let start = Moment::new(self.pool.now(), last);
        let limits = self.pool.options().limits;
        let evaluated = evaluate_all(batches, limits, start, |key| stored.get(key).cloned(), |_, _| {});
        if !evaluated.changes.is_empty() {
            let stored = self.store(client, &evaluated, last);
            self.pool.response(stored, PgError::no_response_to_commit).await?;
        }
        Ok(evaluated)
    }

    /// Begins a transaction, locks the bucket, and reads its revision and the entries of the keys.
    async fn lock_and_read(
        &self,
        client: &Client,
        batches: &[Batch],
    ) -> Result<(Revision, HashMap<Key, Entry>), PgError> {
        let statements = self.pool.statements();
        let bucket = self.bucket.as_str();
        let keys: BTreeSet<&Key> = batches
            .iter()
            .flat_map(|batch| batch.expectations.iter().map(|e| &e.key).chain(batch.writes.iter().map(Write::key)))
            .collect();
        let keys: Vec<&Key> = keys.into_iter().collect();
        let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let lock = client.prepare_cached(&statements.lock).await.map_err(PgError::query)?;
        let read = client.prepare_cached(&statements.locked_entries).await.map_err(PgError::query)?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&bucket, &names];
        let begin = self.pool.begin();
        let begin = client.batch_execute(&begin);
        let (started, locked, rows) =
            join3(begin, client.query_opt(&lock, &[&bucket]), client.query(&read, &parameters)).await;
        started.map_err(PgError::query)?;
        let Some(locked) = locked.map_err(PgError::query)? else {
            let (last, rows) = self.create_bucket_and_read(client, &parameters).await?;
            return Ok((last, entries(&keys, &rows)?));
        };
        Ok((revision(column(&locked, 0)?), entries(&keys, &rows.map_err(PgError::query)?)?))
    }

    /// Does the same for a bucket without a row. A rollback removes the new row.
    async fn create_bucket_and_read(
        &self,
        client: &Client,
        parameters: &[&(dyn ToSql + Sync); 2],
    ) -> Result<(Revision, Vec<Row>), PgError> {
        let statements = self.pool.statements();
        let bucket = self.bucket.as_str();
        if self.pool.url().table_options.partitioned {
            // Outside of the transaction, in which it would wait for all readers of the table.
            client.batch_execute("ROLLBACK").await.map_err(PgError::query)?;
            self.create_partition(client).await?;
            client.batch_execute(&self.pool.begin()).await.map_err(PgError::query)?;
        }
        let create = client.prepare_cached(&statements.create_bucket).await.map_err(PgError::query)?;
        let lock = client.prepare_cached(&statements.lock).await.map_err(PgError::query)?;
        let read = client.prepare_cached(&statements.locked_entries).await.map_err(PgError::query)?;
        let (created, locked, rows) = join3(
            client.execute(&create, &[&bucket]),
            client.query_one(&lock, &[&bucket]),
            client.query(&read, parameters),
        )
        .await;
        created.map_err(PgError::query)?;
        let last = revision(column(&locked.map_err(PgError::query)?, 0)?);
        Ok((last, rows.map_err(PgError::query)?))
    }

    /// Stores the changes and commits. `last` is the revision of the bucket before them.
    async fn store(&self, client: &Client, evaluated: &store::Group, last: Revision) -> Result<(), PgError> {
        let statements = self.pool.statements();
        let (bucket, revision) = (self.bucket.as_str(), revision_number(evaluated.revision));
        let c = ChangeColumns::new(evaluated, last);
        if self.pool.is_distributed() {
            return self.store_on_node(client, revision, &c).await;
        }
        let stored: [&(dyn ToSql + Sync); 9] =
            [&bucket, &revision, &c.keys, &c.values, &c.types, &c.revisions, &c.created, &c.modified, &c.expires];
        let commit = client.batch_execute("COMMIT");
        let (written, committed) = if c.deleted.is_empty() && c.remembered.is_empty() {
            let store = client.prepare_cached(&statements.store).await.map_err(PgError::query)?;
            join(client.execute(&store, &stored), commit).await
        } else {
            let others: [(&(dyn ToSql + Sync), Type); 3] = [
                (&c.deleted, Type::TEXT_ARRAY),
                (&c.remembered, Type::TEXT_ARRAY),
                (&c.remembered_revisions, Type::INT8_ARRAY),
            ];
            let parameters = typed_parameters(&stored, others);
            join(client.execute_typed(&statements.store_and_remember, &parameters), commit).await
        };
        // If the server refused the first statement, the COMMIT has rolled back.
        written.map_err(PgError::commit)?;
        committed.map_err(PgError::commit)
    }

    /// Does the same in statements that work on the node of the bucket only.
    async fn store_on_node(&self, client: &Client, revision: i64, c: &ChangeColumns<'_>) -> Result<(), PgError> {
        let (statements, bucket) = (&self.pool.statements().distributed, self.bucket.as_str());
        let set: [&(dyn ToSql + Sync); 2] = [&bucket, &revision];
        let store: [&(dyn ToSql + Sync); 8] =
            [&bucket, &c.keys, &c.values, &c.types, &c.revisions, &c.created, &c.modified, &c.expires];
        let delete: [&(dyn ToSql + Sync); 2] = [&bucket, &c.deleted];
        let remember: [&(dyn ToSql + Sync); 3] = [&bucket, &c.remembered, &c.remembered_revisions];
        let all: [(&str, &[&(dyn ToSql + Sync)], bool); 4] = [
            (&statements.set_revision, &set, true),
            (&statements.store, &store, !c.keys.is_empty()),
            (&statements.delete, &delete, !c.deleted.is_empty()),
            (&statements.remember, &remember, !c.remembered.is_empty()),
        ];
        let mut prepared = vec![];
        for (text, parameters, _) in all.into_iter().filter(|(_, _, is_needed)| *is_needed) {
            prepared.push((client.prepare_cached(text).await.map_err(PgError::query)?, parameters));
        }
        let written = join_all(prepared.iter().map(|(statement, parameters)| client.execute(statement, parameters)));
        let (written, committed) = join(written, client.batch_execute("COMMIT")).await;
        // If the server refused one of them, the COMMIT has rolled back.
        for result in written {
            result.map_err(PgError::commit)?;
        }
        committed.map_err(PgError::commit)
    }

    /// Creates the partition of the bucket on a connection of its own.
    async fn add_partition(&self) -> Result<(), PgError> {
        let client = self.pool.connection().await?;
        let created = self.create_partition(&client).await;
        if created.is_err() {
            discard(client);
        }
        created
    }

    /// Creates the partition of the bucket. After an error the connection must be discarded.
    async fn create_partition(&self, client: &Client) -> Result<(), PgError> {
        let url = self.pool.url();
        let sql = url.names.create_partition(self.bucket, url.table_options);
        client.batch_execute(&sql).await.map_err(PgError::query)
    }

    /// Replies to the writers and finishes the work on the connection. The writers do not wait for that.
    fn conclude(&self, client: Client, ending: Ending, reply: impl FnOnce()) {
        let sql = match ending {
            Ending::Rollback => Some("ROLLBACK".to_owned()),
            Ending::Notify(revision) | Ending::NotifyAndForget(revision) => {
                self.notifier.wake_all(self.bucket, revision);
                self.notifier.notify_sql(self.bucket, revision)
            }
            Ending::Nothing => None,
        };
        let now = self.pool.now();
        let forgets = matches!(ending, Ending::NotifyAndForget(_)) && self.old_changes.are_due(self.bucket, now);
        if sql.is_none() && !forgets {
            drop(client);
            return reply();
        }
        let (pool, notifier, bucket) = (self.pool.clone(), Arc::clone(self.notifier), self.bucket.clone());
        let mut rest = Box::pin(async move {
            let notified = async { if let Some(sql) = &sql { client.batch_execute(sql).await } else { Ok(()) } };
            let forgotten = async {
                if forgets && let Err(error) = forget(&client, &pool, &bucket, now).await {
                    tracing::debug!("cannot remove old changes of bucket {bucket}: {error}");
                }
            };
            let (notified, ()) = join(notified, forgotten).await;
            if let Err(error) = notified {
                notifier.notify_failed(&error);
                discard(client);
            }
        });
        // The statements are sent before the reply, because a program may exit as soon as it has the reply.
        let sent = (&mut rest).now_or_never();
        reply();
        if sent.is_none() {
            tokio::spawn(rest);
        }
    }
}

/// The entries in rows, by key. The first column is the position of the key.
fn entries(keys: &[&Key], rows: &[Row]) -> Result<HashMap<Key, Entry>> {
    let (mut found, mut last_type) = (HashMap::with_capacity(rows.len()), ContentType::default());
    for row in rows {
        if let Some(key) = position(row, 0)?.and_then(|at| keys.get(at)) {
            found.insert((*key).clone(), entry(row, 1, key, &mut last_type)?);
        }
    }
    Ok(found)
}
