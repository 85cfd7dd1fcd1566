//! The verbs of one entry: `/kv/{bucket}/{key}`.

pub(crate) mod delete;
pub(crate) mod get;
mod old;
pub(crate) mod post;
pub(crate) mod put;

use axum::response::Response;
use http::header::ETAG;

use super::reply::{self, Cache, Refusal};
use super::{Asked, Timestamps, condition, dates};
use crate::model::{Bucket, Entry, Key};

/// The bucket and the key that an address names.
type Name<'a> = (&'a Bucket, &'a Key);

/// Whether clients give the times of that bucket.
fn is_by_date(asked: Asked<'_>, bucket: &Bucket) -> bool {
    asked.service.settings.policies.of(bucket).timestamps == Timestamps::Client
}

/// The tag of an entry of that bucket, without quotes.
fn tag(asked: Asked<'_>, bucket: &Bucket, entry: &Entry) -> String {
    if is_by_date(asked, bucket) { dates::tag(entry) } else { entry.revision.to_string() }
}

/// `OK` for a write, 201 if it made the entry; clients of Poky expect 200 and nothing.
fn done(asked: Asked<'_>, bucket: &Bucket, is_new: bool) -> Response {
    match (is_by_date(asked, bucket), is_new) {
        (true, _) => reply::text("", Cache::Never),
        (false, true) => reply::created("OK"),
        (false, false) => reply::text("OK", Cache::Never),
    }
}

/// The same answer with the tag of what now stands there.
fn tagged(asked: Asked<'_>, bucket: &Bucket, after: Option<&Entry>, mut response: Response) -> Response {
    let tag = after.and_then(|entry| condition::quoted(&tag(asked, bucket, entry)));
    response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    response
}

/// Refuses an operation that another method than POST is asked for: passed over, it would be an overwrite.
fn refuse_operation(asked: Asked<'_>) -> Result<(), Refusal> {
    match asked.question.all("op").next() {
        None => Ok(()),
        Some(_) => Err(Refusal::invalid("op goes with POST, not with this method")),
    }
}

/// Refuses what would reach into a value: taken for the whole value, it would be answered or overwritten wrongly.
fn refuse_path(asked: Asked<'_>) -> Result<(), Refusal> {
    match asked.question.all("path").next() {
        None => Ok(()),
        Some(_) => Err(Refusal::invalid("?path= was sent, and a value is read and written as a whole: leave it out")),
    }
}
