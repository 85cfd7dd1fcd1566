//! Tables of other key/value programs as a source of entries. They are only read.
//!
//! Two layouts are known. pgkv has one table of keys without buckets (by default `kv_store`). Poky has one table of
//! buckets and keys (`poky`), which may be the parent of one table per bucket. `docs/moving.md` describes how rows
//! become entries; `layout.rs` has the statements, and `row.rs` reads the columns.

pub(super) mod layout;
pub(super) mod row;

use std::collections::HashMap;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, Fuse};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as ServerError, RowStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::tls;
use super::connect::url::{self, Url};
use super::error::PgError;
use super::sql::row::column;
use crate::model::{Bucket, Clock, Entry, Error, ErrorKind, Key, Result, Time};
use crate::store::{Blobs, ImportSource, Logs, Rejected, Row, Rows};

use self::layout::Layout;

/// The most rows of a chunk.
const MAX_CHUNK_ROWS: usize = 1000;

/// A chunk with this many bytes of values takes no further row.
const MAX_CHUNK_BYTES: usize = 8 << 20;

/// The settings of every connection: nothing may be changed, and reading a large table may take any time.
const SESSION_SETTINGS: &str = "SET default_transaction_read_only = on; SET statement_timeout = 0; SET TIME ZONE 'UTC'";

/// A table of another program.
pub struct ForeignTable {
    layout: Layout,
    url: Url,
    tls: MakeRustlsConnect,
    /// Quoted for use in a statement.
    table: String,
    /// For messages.
    table_name: String,
    /// Rows with a later time, from a clock that is ahead, count as written at this time.
    now: Time,
    /// The connection for everything except the reading of a bucket.
    client: Mutex<Option<Client>>,
}

impl ForeignTable {
    /// Opens the table at a URL such as `postgresql://user@host/database?table=kv_store&schema=public`. This does not
    /// contact the server.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong. The error names the parameter, and never contains the password.
    pub fn open(url: &str, layout: Layout, clock: &dyn Clock) -> Result<Self> {
        let (server, query) = url::split(url)?;
        let (mut schema, mut table) = (None, layout.table().to_owned());
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("table", name)) => table = identifier("table", name)?,
                Some(("schema", name)) => schema = Some(identifier("schema", name)?),
                _ => rest.push(pair),
            }
        }
        let url = Url::parse(&format!("{server}?{}", rest.join("&")))?;
        let tls = tls::connector(&url.trust)?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let (table_name, table) = match schema {
            Some(schema) => (format!("{schema}.{table}"), format!("{}.{}", quoted(&schema), quoted(&table))),
            None => (table.clone(), quoted(&table)),
        };
        Ok(Self { layout, url, tls, table, table_name, now: clock.now(), client: Mutex::new(None) })
    }

    /// The program, the location and the table. All URLs of one table give the same name, without user and password.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {} {}", self.layout.name(), self.url.location(), self.table_name)
    }

    async fn connect(&self) -> Result<Client> {
        let connected = self.url.client.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|e| PgError::query(e).error)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to a table of another program was lost: {error}");
            }
        });
        client.batch_execute(SESSION_SETTINGS).await.map_err(|e| PgError::query(e).error)?;
        Ok(client)
    }

    /// Runs a statement on the connection that is kept.
    async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>> {
        let mut idle_client = self.client.lock().await;
        let client = match idle_client.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.connect().await?,
        };
        let rows = client.query(sql, parameters).await.map_err(|e| self.error(e))?;
        *idle_client = Some(client);
        Ok(rows)
    }

    /// Interprets an error of the server.
    fn error(&self, source: ServerError) -> Error {
        let text = match source.code().map(tokio_postgres::error::SqlState::code) {
            Some("42P01" | "3F000") => format!(
                "there is no table {:?} in this database; name the table in the URL, as in ?table={}&schema=public",
                self.table_name,
                self.layout.table()
            ),
            Some("42703" | "42883" | "42846") => format!(
                "the table {:?} is not a table of {}: expected the columns {}",
                self.table_name,
                self.layout.name(),
                self.layout.columns()
            ),
            _ => return PgError::query(source).error,
        };
        Error::new(ErrorKind::Invalid, text)
    }

    async fn start_reading<'a>(&'a self, bucket: &'a Bucket) -> Result<TableReader<'a>> {
        let client = self.connect().await?;
        let parameters = self.layout.bucket_parameter(bucket);
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as _).collect();
        let rows =
            client.query_raw(&self.layout.select_bucket(&self.table), values).await.map_err(|e| self.error(e))?;
        Ok(TableReader { table: self, bucket, rows: Box::pin(rows.fuse()), last_key: None, _client: client })
    }
}

/// Reads a bucket in one statement, so all rows are of one moment.
struct TableReader<'a> {
    table: &'a ForeignTable,
    bucket: &'a Bucket,
    /// Fused, because it is polled again after its end.
    rows: Pin<Box<Fuse<RowStream>>>,
    last_key: Option<String>,
    /// The statement lives as long as its connection.
    _client: Client,
}

impl TableReader<'_> {
    /// The next rows; `None` at the end.
    async fn next_chunk(&mut self) -> Result<Option<Vec<Row>>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < MAX_CHUNK_ROWS && bytes < MAX_CHUNK_BYTES {
            let Some(row) = self.rows.next().await else { break };
            let row = row.map_err(|e| self.table.error(e))?;
            let row = self.row(&row)?;
            if let Row::Entry(_, entry) = &row {
                bytes += entry.value.len();
            }
            chunk.push(row);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn row(&mut self, row: &tokio_postgres::Row) -> Result<Row> {
        let name: &str = column(row, 0)?;
        let is_repeated = self.last_key.as_deref() == Some(name);
        self.last_key = Some(name.to_owned());
        let rejected = |why: String| {
            Row::Rejected(Rejected { bucket: self.bucket.to_string(), key: Some(name.to_owned()), rows: 1, why })
        };
        if is_repeated {
            // This is possible only in partitions that contain rows of another bucket.
            return Ok(rejected("the key occurs more than once; this is an older row".to_owned()));
        }
        let key = match Key::new(name) {
            Ok(key) => key,
            Err(error) => return Ok(rejected(error.to_string())),
        };
        Ok(match row::entry(row, self.table.now)? {
            Ok(entry) => Row::Entry(key, entry),
            Err(why) => rejected(why),
        })
    }
}

#[async_trait]
impl ImportSource for ForeignTable {
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Rejected>)> {
        let rows = self.query(&self.layout.select_buckets(&self.table), &[]).await?;
        if let Layout::Pgkv { bucket } = &self.layout {
            return Ok((vec![bucket.clone()], vec![]));
        }
        let (mut buckets, mut rejected) = (vec![], vec![]);
        for row in &rows {
            let (name, count): (&str, i64) = (column(row, 0)?, column(row, 1)?);
            let reserved = || Error::new(ErrorKind::Invalid, "names that begin with _kvs are reserved for kvs");
            match Bucket::new(name).and_then(|b| if b.is_reserved() { Err(reserved()) } else { Ok(b) }) {
                Ok(bucket) => buckets.push(bucket),
                Err(error) => rejected.push(Rejected {
                    bucket: name.to_owned(),
                    key: None,
                    rows: u64::try_from(count).unwrap_or(0),
                    why: error.to_string(),
                }),
            }
        }
        buckets.sort();
        Ok((buckets, rejected))
    }

    async fn count(&self, bucket: &Bucket) -> Result<u64> {
        let parameters = self.layout.bucket_parameter(bucket);
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as _).collect();
        let rows = self.query(&self.layout.select_count(&self.table), &values).await?;
        rows.first().map_or(Ok(0), |row| Ok(u64::try_from(column::<i64>(row, 0)?).unwrap_or(0)))
    }

    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a> {
        // The reader is created with the first chunk.
        Box::pin(stream::try_unfold(None, move |reader| async move {
            let mut reader = match reader {
                None => self.start_reading(bucket).await?,
                Some(reader) => reader,
            };
            let chunk = reader.next_chunk().await?;
            Ok(chunk.map(|chunk| (chunk, Some(reader))))
        }))
    }

    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let parameters = self.layout.bucket_parameter(bucket);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&names];
        values.extend(parameters.iter().map(|text| text as &(dyn ToSql + Sync)));
        let rows = self.query(&self.layout.select_keys(&self.table), &values).await?;
        let mut found: HashMap<&str, Entry> = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Ok(entry) = row::entry(row, self.now)? {
                // If a key occurs more than once, the newest row comes first.
                found.entry(column(row, 0)?).or_insert(entry);
            }
        }
        Ok(names.iter().map(|name| found.get(name).cloned()).collect())
    }

    fn logs(&self) -> Option<&dyn Logs> {
        None
    }

    fn blobs(&self) -> Option<&dyn Blobs> {
        None
    }

    fn has_revisions(&self) -> bool {
        false
    }
}

/// Decodes the name of a table or a schema. PostgreSQL allows any characters except NUL.
fn identifier(what: &str, value: &str) -> Result<String> {
    let bad = |why: &str| Error::new(ErrorKind::Invalid, format!("invalid PostgreSQL URL: {what} {why}"));
    let name = percent_decode_str(value).decode_utf8().map_err(|_| bad("must be UTF-8"))?;
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Err(bad("must be a name of 1 to 63 bytes"));
    }
    Ok(name.into_owned())
}
