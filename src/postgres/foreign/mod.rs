//! Tables of other key/value programs, as a source of entries: read as they are, never changed.
//!
//! Two layouts are known. pgkv has one table of keys without buckets (`kv_store` unless its user named another), Poky one of
//! buckets and keys (`poky`), also when that is the parent of a table for each bucket. What a row means here is for
//! `docs/moving.md`; the columns are read in `row.rs`, the statements stand in `layout.rs`.

mod layout;
mod row;

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

use super::fault::Fault;
use super::row::column;
use super::url::{self, Url};
use crate::model::{Bucket, Clock, Entry, Error, Key, Kind, Result, Time};
use crate::store::{Row, Rows, Source, Unfit};

pub use layout::Layout;

/// So many rows, or so many bytes of values, are handed on together.
const PART: (usize, usize) = (1000, 8 << 20);

/// What every connection is told: that nothing may be changed, and that reading a large table takes its time.
const GREETING: &str = "SET default_transaction_read_only = on; SET statement_timeout = 0; SET TIME ZONE 'UTC'";

/// A table of another program.
pub struct ForeignTable {
    layout: Layout,
    url: Url,
    tls: MakeRustlsConnect,
    /// As it stands in a statement, and as a person says it.
    table: String,
    shown: String,
    /// What was written later than this, by a clock that is ahead, is taken to have been written now.
    now: Time,
    asking: Mutex<Option<Client>>,
}

impl ForeignTable {
    /// The table at a URL such as `postgresql://user@host/database?table=kv_store&schema=public`. Nothing is asked of the
    /// server yet.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong; it tells what, and never the password.
    pub fn open(url: &str, layout: Layout, clock: &dyn Clock) -> Result<Self> {
        let (place, query) = url::split(url)?;
        let (mut schema, mut table) = (None, layout.table().to_owned());
        let mut rest = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("table", name)) => table = identifier("table", name)?,
                Some(("schema", name)) => schema = Some(identifier("schema", name)?),
                _ => rest.push(pair),
            }
        }
        let url = Url::parse(&format!("{place}?{}", rest.join("&")))?;
        let tls = super::tls::connector(&url.trust)?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let (shown, table) = match schema {
            Some(schema) => (format!("{schema}.{table}"), format!("{}.{}", quoted(&schema), quoted(&table))),
            None => (table.clone(), quoted(&table)),
        };
        Ok(Self { layout, url, tls, table, shown, now: clock.now(), asking: Mutex::new(None) })
    }

    /// What it is called: whose table, where. Two URLs of one table give one name, without user and password.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {} {}", self.layout.name(), self.url.place(), self.shown)
    }

    /// A new connection.
    async fn connect(&self) -> Result<Client> {
        let made = self.url.config.connect(self.tls.clone()).await;
        let (client, connection) = made.map_err(|e| Fault::before(e).error)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to a foreign table ended: {error}");
            }
        });
        client.batch_execute(GREETING).await.map_err(|e| Fault::before(e).error)?;
        Ok(client)
    }

    /// The rows of a statement, over a connection that is kept.
    async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>> {
        let mut asking = self.asking.lock().await;
        let client = match asking.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.connect().await?,
        };
        let rows = client.query(sql, parameters).await.map_err(|e| self.failed(e))?;
        *asking = Some(client);
        Ok(rows)
    }

    /// What a refused statement means.
    fn failed(&self, source: ServerError) -> Error {
        let text = match source.code().map(tokio_postgres::error::SqlState::code) {
            Some("42P01" | "3F000") => format!(
                "there is no table {:?} in this database; name it in the URL, as in ?table={}&schema=public",
                self.shown,
                self.layout.table()
            ),
            Some("42703" | "42883" | "42846") => format!(
                "the table {:?} is none of {}: it should have the columns {}",
                self.shown,
                self.layout.name(),
                self.layout.columns()
            ),
            _ => return Fault::before(source).error,
        };
        Error::new(Kind::Invalid, text)
    }

    async fn begin<'a>(&'a self, bucket: &'a Bucket) -> Result<Reading<'a>> {
        let client = self.connect().await?;
        let parameters = self.layout.bound(bucket);
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as _).collect();
        let rows = client.query_raw(&self.layout.read(&self.table), values).await.map_err(|e| self.failed(e))?;
        Ok(Reading { table: self, bucket, rows: Box::pin(rows.fuse()), last: None, _client: client })
    }
}

/// A bucket that is being read, in one statement, so as of one moment.
struct Reading<'a> {
    table: &'a ForeignTable,
    bucket: &'a Bucket,
    /// It must not be asked again behind its end.
    rows: Pin<Box<Fuse<RowStream>>>,
    last: Option<String>,
    /// The statement ends with its connection.
    _client: Client,
}

impl Reading<'_> {
    /// The next rows; none: that was all.
    async fn part(&mut self) -> Result<Option<Vec<Row>>> {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while part.len() < PART.0 && bytes < PART.1 {
            let Some(row) = self.rows.next().await else { break };
            let row = row.map_err(|e| self.table.failed(e))?;
            let row = self.row(&row)?;
            if let Row::Entry(_, entry) = &row {
                bytes += entry.value.len();
            }
            part.push(row);
        }
        Ok((!part.is_empty()).then_some(part))
    }

    fn row(&mut self, row: &tokio_postgres::Row) -> Result<Row> {
        let name: &str = column(row, 0)?;
        let twice = self.last.as_deref() == Some(name);
        self.last = Some(name.to_owned());
        let unfit = |why: String| {
            Row::Unfit(Unfit { bucket: self.bucket.to_string(), key: Some(name.to_owned()), rows: 1, why })
        };
        if twice {
            // Only where a table for each bucket has more rows than its own.
            return Ok(unfit("the key stands there twice; this is the older one".to_owned()));
        }
        let key = match Key::new(name) {
            Ok(key) => key,
            Err(error) => return Ok(unfit(error.to_string())),
        };
        Ok(match row::entry(row, self.table.now)? {
            Ok(entry) => Row::Entry(key, entry),
            Err(why) => unfit(why),
        })
    }
}

#[async_trait]
impl Source for ForeignTable {
    async fn buckets(&self) -> Result<(Vec<Bucket>, Vec<Unfit>)> {
        let rows = self.query(&self.layout.buckets(&self.table), &[]).await?;
        if let Layout::Pgkv { bucket } = &self.layout {
            return Ok((vec![bucket.clone()], vec![]));
        }
        let (mut buckets, mut unfit) = (vec![], vec![]);
        for row in &rows {
            let (name, count): (&str, i64) = (column(row, 0)?, column(row, 1)?);
            let reserved = || Error::new(Kind::Invalid, "names that begin with _kvs are kvs' own");
            match Bucket::new(name).and_then(|b| if b.is_reserved() { Err(reserved()) } else { Ok(b) }) {
                Ok(bucket) => buckets.push(bucket),
                Err(error) => unfit.push(Unfit {
                    bucket: name.to_owned(),
                    key: None,
                    rows: u64::try_from(count).unwrap_or(0),
                    why: error.to_string(),
                }),
            }
        }
        buckets.sort();
        Ok((buckets, unfit))
    }

    async fn count(&self, bucket: &Bucket) -> Result<u64> {
        let parameters = self.layout.bound(bucket);
        let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as _).collect();
        let rows = self.query(&self.layout.count(&self.table), &values).await?;
        rows.first().map_or(Ok(0), |row| Ok(u64::try_from(column::<i64>(row, 0)?).unwrap_or(0)))
    }

    fn read<'a>(&'a self, bucket: &'a Bucket) -> Rows<'a> {
        // Not begun; at work; at its end.
        Box::pin(stream::try_unfold(None, move |reading| async move {
            let mut reading = match reading {
                None => self.begin(bucket).await?,
                Some(reading) => reading,
            };
            let part = reading.part().await?;
            Ok(part.map(|part| (part, Some(reading))))
        }))
    }

    async fn get(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>> {
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let parameters = self.layout.bound(bucket);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&names];
        values.extend(parameters.iter().map(|text| text as &(dyn ToSql + Sync)));
        let rows = self.query(&self.layout.get(&self.table), &values).await?;
        let mut found: HashMap<&str, Entry> = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Ok(entry) = row::entry(row, self.now)? {
                // Of a key that stands there twice the newer row comes first.
                found.entry(column(row, 0)?).or_insert(entry);
            }
        }
        Ok(names.iter().map(|name| found.get(name).cloned()).collect())
    }

    fn has_revisions(&self) -> bool {
        false
    }
}

/// A name as PostgreSQL takes it: any, if it is short enough.
fn identifier(what: &str, value: &str) -> Result<String> {
    let bad = |why: &str| Error::new(Kind::Invalid, format!("bad URL of a PostgreSQL: {what} {why}"));
    let name = percent_decode_str(value).decode_utf8().map_err(|_| bad("is not UTF-8"))?;
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Err(bad("is a name of 1 to 63 bytes"));
    }
    Ok(name.into_owned())
}
