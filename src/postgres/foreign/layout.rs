//! How other programs lay out their tables, and the statements that read them.
//!
//! All statements give the same columns in the same order, as `row.rs` reads them: key, value, created, written, modified,
//! expires. Keys are ordered by their bytes in UTF-8, whatever the collation and the encoding of the database are.

use crate::model::Bucket;

/// Whose table it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layout {
    /// That of the crate pgkv: keys without buckets, values of any bytes, expiry.
    Pgkv {
        /// The bucket that its keys are taken into.
        bucket: Bucket,
    },
    /// That of Poky: buckets, texts, and times of modification that clients give. Flat or partitioned.
    Poky,
}

impl Layout {
    /// The program.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "pgkv",
            Self::Poky => "Poky",
        }
    }

    /// What the table is called if its user did not say otherwise.
    pub(super) fn table(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "kv_store",
            Self::Poky => "poky",
        }
    }

    /// The columns by which the table is known.
    pub(super) fn columns(&self) -> &'static str {
        match self {
            Self::Pgkv { .. } => "key, value, expires_at, created_at and updated_at",
            Self::Poky => "bucket, key, data, created_at and modified_at",
        }
    }

    /// What stands for `$1`, or for `$2` where keys come first: the bucket, if the table has them.
    pub(super) fn bound(&self, bucket: &Bucket) -> Option<String> {
        match self {
            Self::Pgkv { .. } => None,
            Self::Poky => Some(bucket.to_string()),
        }
    }

    /// The buckets with the numbers of their rows; for pgkv a look whether the table is there and one of its own.
    pub(super) fn buckets(&self, table: &str) -> String {
        match self {
            Self::Pgkv { .. } => format!("{} LIMIT 0", self.select(table)),
            Self::Poky => {
                format!(
                    "SELECT bucket::text, count(*), count(data), min(created_at), min(modified_at) FROM {table} GROUP BY bucket"
                )
            }
        }
    }

    /// How many rows there are.
    pub(super) fn count(&self, table: &str) -> String {
        match self {
            Self::Pgkv { .. } => format!("SELECT count(*) FROM {table}"),
            Self::Poky => format!("SELECT count(*) FROM {table} WHERE bucket = $1"),
        }
    }

    /// All rows in the order of their keys; of a key that stands there twice the newer first.
    pub(super) fn read(&self, table: &str) -> String {
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

    /// The rows of keys `$1`.
    pub(super) fn get(&self, table: &str) -> String {
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
            // Without data Poky serves an empty text.
            Self::Poky => format!(
                "SELECT key::text, convert_to(coalesce(data, ''), 'UTF8'), created_at, modified_at, modified_at, \
                 NULL::timestamptz FROM {table}"
            ),
        }
    }
}
