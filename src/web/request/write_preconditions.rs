//! The preconditions of a write (RFC 9110, section 13.2.2). The store evaluates them under its lock.
//!
//! A malformed precondition of a write is an error, unlike that of a read. Ignoring it would overwrite an entry without
//! a check.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::client_timestamps::DatePreconditions;
use super::etag::{Tags, X_IF_MATCH};
use super::{date_header, etag};
use crate::model::{Bucket, Condition, Revision, Time};
use crate::web::auth::policy::Timestamps;
use crate::web::context::RequestContext;
use crate::web::response::api_error::ApiError;

/// The preconditions in the headers of a write to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WritePreconditions {
    /// In a bucket with server timestamps: tags are revisions.
    ByRevision(Vec<Condition>),
    /// In a bucket with client timestamps: tags are dates.
    ByDate(DatePreconditions),
}

impl WritePreconditions {
    /// Parses the preconditions of a write to this bucket.
    ///
    /// # Errors
    /// If one is malformed.
    pub(crate) fn new(ctx: RequestContext<'_>, bucket: &Bucket) -> Result<Self, ApiError> {
        let headers = &ctx.parts.headers;
        match ctx.state.settings.policies.for_bucket(bucket).timestamps {
            Timestamps::Server => conditions(headers, ctx.now()).map(Self::ByRevision),
            Timestamps::Client => DatePreconditions::new(headers, ctx.now()).map(Self::ByDate),
        }
    }

    /// Checks that a request on several keys has no preconditions.
    ///
    /// # Errors
    /// If it has one.
    pub(crate) fn none(ctx: RequestContext<'_>) -> Result<(), ApiError> {
        let is_present = |name| ctx.parts.headers.contains_key(name);
        let any = [IF_MATCH, X_IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].into_iter().any(is_present);
        if any { Err(Self::of_several()) } else { Ok(()) }
    }

    /// The error for preconditions on several keys. It would not be clear which key they are for.
    pub(crate) fn of_several() -> ApiError {
        ApiError::invalid("conditional headers need exactly one key; send one request for each key, or use /txn")
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::ByRevision(conditions) => conditions.is_empty(),
            Self::ByDate(dates) => dates.is_empty(),
        }
    }
}

fn conditions(headers: &HeaderMap, now: Time) -> Result<Vec<Condition>, ApiError> {
    let mut conditions = vec![];
    let if_match = match etag::strict_tags(headers, &IF_MATCH)? {
        None => etag::strict_tags(headers, &X_IF_MATCH)?,
        tags => tags,
    };
    match if_match {
        Some(Tags::Any) => conditions.push(Condition::Present),
        // If-Match compares strongly, so a weak tag never matches.
        Some(Tags::List(list)) => {
            let strong = list.iter().filter(|tag| !tag.weak);
            conditions.push(Condition::RevisionIn(strong.filter_map(|tag| revision(&tag.opaque)).collect()));
        }
        None => conditions.extend(unmodified_since(headers, now)?),
    }
    match etag::strict_tags(headers, &IF_NONE_MATCH)? {
        Some(Tags::Any) => conditions.push(Condition::Absent),
        Some(Tags::List(list)) => {
            conditions.push(Condition::RevisionNotIn(list.iter().filter_map(|tag| revision(&tag.opaque)).collect()));
        }
        None => {}
    }
    Ok(conditions)
}

/// The revision of a tag. A tag that is not a revision matches nothing, and neither does one with zeros in front, because
/// tags are compared as texts.
fn revision(opaque: &str) -> Option<Revision> {
    if opaque.len() > 1 && opaque.starts_with('0') { None } else { opaque.parse().ok() }
}

fn unmodified_since(headers: &HeaderMap, now: Time) -> Result<Option<Condition>, ApiError> {
    if !headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Ok(None);
    }
    let date = date_header::date(headers, &IF_UNMODIFIED_SINCE, now).ok_or_else(date_header::invalid_date)?;
    Ok(Some(Condition::NotModifiedSince(date)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderName;

    fn conditions_of(headers: &[(HeaderName, &str)]) -> Result<Vec<Condition>, ApiError> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        conditions(&headers, Time::default())
    }

    #[test]
    fn tags_and_dates_become_conditions_of_the_store() {
        let k2 = "k2".parse().unwrap();
        let date = "Fri, 20 Nov 2026 12:00:00 GMT";
        for (name, value, condition) in [
            (IF_MATCH, "*", Condition::Present),
            (IF_MATCH, "\"k2-gzip\", W/\"k3\", \"another's\"", Condition::RevisionIn(vec![k2])),
            (X_IF_MATCH, "\"k2\"", Condition::RevisionIn(vec![k2])),
            (IF_MATCH, "\"0k2\"", Condition::RevisionIn(vec![])),
            (IF_NONE_MATCH, "*", Condition::Absent),
            (IF_NONE_MATCH, "W/\"k2\"", Condition::RevisionNotIn(vec![k2])),
            (IF_UNMODIFIED_SINCE, date, Condition::NotModifiedSince(Time::from_secs(1_795_176_000))),
        ] {
            assert_eq!(conditions_of(&[(name, value)]).unwrap(), [condition], "{value}");
        }
        assert_eq!(conditions_of(&[(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, "soon")]).unwrap(), [Condition::Present]);
    }

    #[test]
    fn malformed_preconditions_are_rejected() {
        for (name, value) in [(IF_MATCH, "k2"), (IF_NONE_MATCH, "\"k2"), (IF_MATCH, ""), (IF_UNMODIFIED_SINCE, "soon")]
        {
            assert!(conditions_of(&[(name, value)]).is_err(), "{value}");
        }
    }
}
