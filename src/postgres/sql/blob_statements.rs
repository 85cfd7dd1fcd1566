//! The statements about blobs. `<table>_blobs` has a row for each upload, and `<table>_blob_parts` its bytes in parts.
//!
//! An upload gets its name, the hash, when it is complete. Several may have the same name; the one with the lowest
//! number is read. A blob is removed in two steps. First it loses its name, so nobody can open it any more. Its parts
//! are deleted later, because somebody may be reading them.
//!
//! No lock is held between statements. Instead the row has two times until which others must wait: `held_until` while a
//! program stores the blob and no entry refers to it yet, and `kept_until` while it is uploaded, or read without a name.
//! All times are those of the server.

use super::schema::{REFERENCE, TableNames};
use crate::model::BlobRef;

/// How long a blob is held or kept. Whoever needs it for longer renews this in time.
const LEASE: &str = "statement_timestamp() + interval '1 hour'";

/// How long the parts of a blob that has lost its name stay for those who have just opened it.
const GRACE: &str = "statement_timestamp() + interval '10 minutes'";

/// In all statements except the first `$1` is the bucket, and in most of them `$2` is the number of an upload.
pub(crate) struct BlobStatements {
    /// Lets the transaction wait for others that take away names in this bucket.
    pub(crate) lock: String,
    /// Begins an upload and returns its number; no row if the number is taken.
    pub(crate) begin: String,
    /// Adds the part `$3` with the bytes `$4`, if the upload exists.
    pub(crate) add_part: String,
    /// Keeps the parts for longer.
    pub(crate) keep: String,
    /// Gives the upload the name `$3` and the length `$4`, and holds it instead of keeping it. No row if it was given up
    /// meanwhile.
    pub(crate) name: String,
    /// Holds the blob for longer.
    pub(crate) hold: String,
    /// Ends the hold.
    pub(crate) release: String,
    /// Gives up an upload that is not complete.
    pub(crate) give_up: String,
    /// Finds the upload with the name `$2`, and its length.
    pub(crate) find: String,
    /// Reads `$5` bytes of the part `$3`, beginning at `$4`, from 1.
    pub(crate) read: String,
    /// Finds one of the blobs `$2` that is held.
    pub(crate) find_held: String,
    /// Takes away the names of those of the blobs `$2`, or of all if it is NULL, that no entry refers to and nobody
    /// holds. Returns a row for each.
    pub(crate) take_names: String,
    /// Finds uploads without a name that nobody needs any more.
    pub(crate) find_expired: String,
    /// Deletes the next parts of such an upload. Returns a row for each.
    pub(crate) remove_parts: String,
    /// Deletes such an upload when it has no parts.
    pub(crate) remove: String,
    /// The names and lengths of all blobs.
    pub(crate) names: String,
    /// The keys and values of all entries that refer to blobs.
    pub(crate) references: String,
}

impl BlobStatements {
    pub(crate) fn new(names: &TableNames) -> Self {
        let TableNames { table, blobs, blob_parts, .. } = names;
        let of_upload = "bucket = $1 AND upload = $2";
        let is_expired = "id IS NULL AND kept_until <= statement_timestamp()";
        let mark = BlobRef::MARK;
        Self {
            lock: format!("SELECT pg_advisory_xact_lock(hashtextextended('kvs blobs {blobs} ' || $1::text, 0))"),
            begin: format!(
                "INSERT INTO {blobs} (bucket, upload, held_until, kept_until) \
                 VALUES ($1, floor(random() * 9007199254740992)::bigint, '-infinity', {LEASE}) \
                 ON CONFLICT (bucket, upload) DO NOTHING RETURNING upload"
            ),
            add_part: format!(
                "INSERT INTO {blob_parts} (bucket, upload, part, data) SELECT bucket, upload, $3::integer, $4::bytea \
                 FROM {blobs} WHERE {of_upload} ON CONFLICT (bucket, upload, part) DO NOTHING"
            ),
            keep: format!("UPDATE {blobs} SET kept_until = GREATEST(kept_until, {LEASE}) WHERE {of_upload}"),
            name: format!(
                "UPDATE {blobs} SET id = $3, bytes = $4, held_until = {LEASE}, kept_until = '-infinity' \
                 WHERE {of_upload} AND kept_until > statement_timestamp() RETURNING upload"
            ),
            hold: format!("UPDATE {blobs} SET held_until = {LEASE} WHERE {of_upload}"),
            release: format!("UPDATE {blobs} SET held_until = '-infinity' WHERE {of_upload}"),
            give_up: format!("UPDATE {blobs} SET kept_until = '-infinity' WHERE {of_upload} AND id IS NULL"),
            find: format!("SELECT upload, bytes FROM {blobs} WHERE bucket = $1 AND id = $2 ORDER BY upload LIMIT 1"),
            read: format!(
                "SELECT substring(data FROM $4::integer FOR $5::integer) FROM {blob_parts} \
                 WHERE {of_upload} AND part = $3"
            ),
            find_held: format!(
                "SELECT upload FROM {blobs} WHERE bucket = $1 AND id = ANY($2::bytea[]) \
                 AND held_until > statement_timestamp() LIMIT 1"
            ),
            take_names: format!(
                "UPDATE {blobs} b SET id = NULL, kept_until = GREATEST(b.kept_until, {GRACE}) \
                 WHERE bucket = $1 AND id IS NOT NULL AND ($2::bytea[] IS NULL OR id = ANY($2)) \
                 AND held_until <= statement_timestamp() AND (NOT EXISTS (SELECT 1 FROM {table} e WHERE e.bucket = $1 \
                 AND e.type = '{mark}' AND {REFERENCE} = decode(encode(b.id, 'hex'), 'escape')) \
                 OR EXISTS (SELECT 1 FROM {blobs} o WHERE o.bucket = $1 AND o.id = b.id AND o.upload < b.upload)) \
                 RETURNING upload"
            ),
            find_expired: format!("SELECT upload FROM {blobs} WHERE bucket = $1 AND {is_expired} LIMIT 100"),
            remove_parts: format!(
                "DELETE FROM {blob_parts} WHERE {of_upload} AND part = ANY(ARRAY(SELECT part FROM {blob_parts} \
                 WHERE {of_upload} ORDER BY part LIMIT 64)) \
                 AND EXISTS (SELECT 1 FROM {blobs} WHERE {of_upload} AND {is_expired}) RETURNING part"
            ),
            remove: format!(
                "DELETE FROM {blobs} WHERE {of_upload} AND {is_expired} \
                 AND NOT EXISTS (SELECT 1 FROM {blob_parts} WHERE {of_upload})"
            ),
            names: format!("SELECT DISTINCT id FROM {blobs} WHERE bucket = $1 AND id IS NOT NULL ORDER BY id"),
            references: format!("SELECT key, value FROM {table} WHERE bucket = $1 AND type = '{mark}' ORDER BY key"),
        }
    }
}
