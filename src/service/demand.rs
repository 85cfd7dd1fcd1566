//! Conditions of a write: what a client demands of the key it stores, judged by the store under the lock
//! (RFC 9110 section 13.2.2).
//!
//! Unlike on a read, what does not parse is refused: to ignore a broken guard would be an unguarded overwrite.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::condition::{self, Tags};
use super::reply::Refusal;
use crate::model::{Condition, Expectation, Key, Revision, Write};

/// What the headers demand of the one key that is written. Conditions on several keys at once would be guesses.
pub(crate) fn expectations(headers: &HeaderMap, writes: &[Write]) -> Result<Vec<Expectation>, Refusal> {
    let conditions = conditions(headers)?;
    let keys: Vec<&Key> = writes.iter().map(Write::key).collect();
    match (conditions.as_slice(), keys.as_slice()) {
        ([], _) => Ok(vec![]),
        (_, [key]) => {
            Ok(conditions.into_iter().map(|condition| Expectation { key: (*key).clone(), condition }).collect())
        }
        _ => Err(Refusal::invalid("a condition goes with one pair; send the others in a form of their own")),
    }
}

fn conditions(headers: &HeaderMap) -> Result<Vec<Condition>, Refusal> {
    let mut conditions = vec![];
    match tags(headers, &IF_MATCH)? {
        Some(Tags::Any) => conditions.push(Condition::Present),
        // If-Match compares strongly: a weak tag is like no other.
        Some(Tags::List(list)) => {
            let strong = list.iter().filter(|tag| !tag.weak);
            conditions.push(Condition::RevisionIn(strong.filter_map(|tag| revision(&tag.opaque)).collect()));
        }
        None => conditions.extend(unmodified_since(headers)?),
    }
    match tags(headers, &IF_NONE_MATCH)? {
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

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Refusal> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let broken = || Refusal::invalid(format!("{name} is neither * nor tags in quotes; nothing was stored"));
    condition::tags(headers, name).map(Some).ok_or_else(broken)
}

fn unmodified_since(headers: &HeaderMap) -> Result<Option<Condition>, Refusal> {
    if !headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Ok(None);
    }
    let broken = || Refusal::invalid("If-Unmodified-Since is no HTTP date; nothing was stored");
    let date = condition::date(headers, &IF_UNMODIFIED_SINCE).ok_or_else(broken)?;
    Ok(Some(Condition::NotModifiedSince(date)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    fn demanded(headers: &[(HeaderName, &str)]) -> Result<Vec<Condition>, Refusal> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        conditions(&headers)
    }

    #[test]
    fn tags_and_dates_become_conditions_of_the_store() {
        let k2 = "k2".parse().unwrap();
        let date = "Fri, 20 Nov 2026 12:00:00 GMT";
        for (name, value, condition) in [
            (IF_MATCH, "*", Condition::Present),
            (IF_MATCH, "\"k2-gzip\", W/\"k3\", \"another's\"", Condition::RevisionIn(vec![k2])),
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
