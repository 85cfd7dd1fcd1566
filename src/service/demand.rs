//! Conditions of a write: what a client demands of the key it stores, judged by the store under the lock
//! (RFC 9110 section 13.2.2).
//!
//! Unlike on a read, what does not parse is refused: to ignore a broken guard would be an unguarded overwrite.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::condition::{self, Tags};
use super::dates::{Dates, X_IF_MATCH};
use super::reply::Refusal;
use super::{Asked, Timestamps};
use crate::model::{Bucket, Condition, Revision, Time};

/// What the headers of a write demand of the one key that it writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Demand {
    /// By our tags and times.
    Conditions(Vec<Condition>),
    /// By the dates of clients.
    Dates(Dates),
}

impl Demand {
    /// What the request demands of a key of that bucket.
    ///
    /// # Errors
    /// A condition that does not parse.
    pub(crate) fn new(asked: Asked<'_>, bucket: &Bucket) -> Result<Self, Refusal> {
        let headers = &asked.parts.headers;
        match asked.service.settings.policies.of(bucket).timestamps {
            Timestamps::Server => conditions(headers, asked.now()).map(Self::Conditions),
            Timestamps::Client => Dates::new(headers, asked.now()).map(Self::Dates),
        }
    }

    /// That nothing is demanded by a request on several keys.
    ///
    /// # Errors
    /// If something is demanded.
    pub(crate) fn none(asked: Asked<'_>) -> Result<(), Refusal> {
        let given = |name| asked.parts.headers.contains_key(name);
        let any = [IF_MATCH, X_IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].into_iter().any(given);
        if any { Err(Self::of_several()) } else { Ok(()) }
    }

    /// That something is demanded of several keys: conditions on all of them at once would be guesses.
    pub(crate) fn of_several() -> Refusal {
        Refusal::invalid(
            "a condition goes with one key, and this request writes several: send them one by one, or use /txn",
        )
    }

    /// Whether nothing is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Conditions(conditions) => conditions.is_empty(),
            Self::Dates(dates) => dates.is_empty(),
        }
    }
}

fn conditions(headers: &HeaderMap, now: Time) -> Result<Vec<Condition>, Refusal> {
    let mut conditions = vec![];
    let demanded = match condition::strict_tags(headers, &IF_MATCH)? {
        None => condition::strict_tags(headers, &X_IF_MATCH)?,
        given => given,
    };
    match demanded {
        Some(Tags::Any) => conditions.push(Condition::Present),
        // If-Match compares strongly: a weak tag is like no other.
        Some(Tags::List(list)) => {
            let strong = list.iter().filter(|tag| !tag.weak);
            conditions.push(Condition::RevisionIn(strong.filter_map(|tag| revision(&tag.opaque)).collect()));
        }
        None => conditions.extend(unmodified_since(headers, now)?),
    }
    match condition::strict_tags(headers, &IF_NONE_MATCH)? {
        Some(Tags::Any) => conditions.push(Condition::Absent),
        Some(Tags::List(list)) => {
            conditions.push(Condition::RevisionNotIn(list.iter().filter_map(|tag| revision(&tag.opaque)).collect()));
        }
        None => {}
    }
    Ok(conditions)
}

/// A tag that is no revision of ours is a tag of nothing that is here.
fn revision(opaque: &str) -> Option<Revision> {
    opaque.parse().ok()
}

fn unmodified_since(headers: &HeaderMap, now: Time) -> Result<Option<Condition>, Refusal> {
    if !headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Ok(None);
    }
    let date = condition::date(headers, &IF_UNMODIFIED_SINCE, now).ok_or_else(condition::broken_date)?;
    Ok(Some(Condition::NotModifiedSince(date)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderName;

    fn demanded(headers: &[(HeaderName, &str)]) -> Result<Vec<Condition>, Refusal> {
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
            (IF_NONE_MATCH, "*", Condition::Absent),
            (IF_NONE_MATCH, "W/\"k2\"", Condition::RevisionNotIn(vec![k2])),
            (IF_UNMODIFIED_SINCE, date, Condition::NotModifiedSince(Time::from_secs(1_795_176_000))),
        ] {
            assert_eq!(demanded(&[(name, value)]).unwrap(), [condition], "{value}");
        }
        assert_eq!(demanded(&[(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, "soon")]).unwrap(), [Condition::Present]);
    }

    #[test]
    fn broken_guards_are_refused() {
        for (name, value) in [(IF_MATCH, "k2"), (IF_NONE_MATCH, "\"k2"), (IF_MATCH, ""), (IF_UNMODIFIED_SINCE, "soon")]
        {
            assert!(demanded(&[(name, value)]).is_err(), "{value}");
        }
    }
}
