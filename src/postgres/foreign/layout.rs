//! The tables of other programs, and the statements that read them.
//!
//! All statements return the columns that `row.rs` reads: key, value, created, written, modified, expires. Keys are
//! sorted by their bytes in UTF-8, no matter which collation and encoding the database has.

use crate::model::Bucket;

/// The program that a table belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layout {
    /// The crate pgkv: keys without buckets, binary values, expiry.
    Pgkv {
        /// The bucket for its keys.
        bucket: Bucket,
    },
    /// Poky: buckets, text values, modification times set by clients. The table may be partitioned.
    Poky,
}

impl Layout {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "pgkv",
            Self::Poky => "Poky",
        }
    }

    /// The default name of the table.
    pub(crate) fn table(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "kv_store",
            Self::Poky => "poky",
        }
    }

    /// The columns that the table must have.
    pub(crate) fn columns(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "key, value, expires_at, created_at and updated_at",
            Self::Poky => "bucket, key, data, created_at and modified_at",
        }
    }

    /// The last parameter of the statements on one bucket, if the table has buckets.
    pub(crate) fn bucket_parameter(&self, bucket: &Bucket) -> Option<String> {
        match self {
            Self::Pgkv { .. } => None,
            Self::Poky => Some(bucket.to_string()),
        }
    }

    /// Lists the buckets with their numbers of rows. For pgkv, it only checks that the table exists and has the
    /// columns.
    pub(crate) fn select_buckets(&self, table: &str) -> String {
        match self {
            Self::Pgkv { .. } => format!("{} LIMIT 0", self.select(table)),
            Self::Poky => {
                format!(
                    "SELECT bucket::text, count(*), count(data), min(created_at), min(modified_at) FROM {table} \
                     GROUP BY bucket"
                )
            }
        }
    }

    /// Counts the rows of a bucket.
    pub(crate) fn select_count(&self, table: &str) -> String {
        match self {
            Self::Pgkv { .. } => format!("SELECT count(*) FROM {table}"),
            Self::Poky => format!("SELECT count(*) FROM {table} WHERE bucket = $1"),
        }
    }

    /// Reads all rows of a bucket, sorted by key. If a key occurs more than once, the newest row comes first.
    pub(crate) fn select_bucket(&self, table: &str) -> String {
        let select = self.select(table);
        match self {
            Self::Pgkv { .. } => {
                format!("{select} WHERE expires_at IS NULL OR expires_at > now() ORDER BY convert_to(key, 'UTF8')")
            }
            Self::Poky => {
                format!("{select} WHERE bucket = $1 ORDER BY convert_to(key::text, 'UTF8'), modified_at DESC, ctid")
            }
        }
    }

    /// Reads the rows of keys `$1`.
    pub(crate) fn select_keys(&self, table: &str) -> String {
        let select = self.select(table);
        match self {
            Self::Pgkv { .. } => {
                format!("{select} WHERE key = ANY($1::text[]) AND (expires_at IS NULL OR expires_at > now())")
            }
            Self::Poky => {
                format!("{select} WHERE key = ANY($1::text[]) AND bucket = $2 ORDER BY modified_at DESC, ctid")
            }
        }
    }

    fn select(&self, table: &str) -> String {
        match self {
            Self::Pgkv { .. } => {
                format!("SELECT key::text, value, created_at, updated_at, NULL::timestamptz, expires_at FROM {table}")
            }
            // Poky serves NULL as an empty text.
            Self::Poky => format!(
                "SELECT key::text, convert_to(coalesce(data, ''), 'UTF8'), created_at, modified_at, modified_at, \
                 NULL::timestamptz FROM {table}"
            ),
        }
    }
}
