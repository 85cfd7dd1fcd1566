//! The preconditions of a read, evaluated in the order of RFC 9110, section 13.2.2. kvs evaluates them itself, because
//! a web server in front does not know its ETags.
//!
//! Malformed conditions are ignored, as the RFC requires for reads.

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::client_timestamps;
use super::date_header::date;
use super::etag::{Tag, Tags, X_IF_MATCH, bare, tags};
use super::form::QueryString;
use crate::model::Time;
use crate::web::response::api_error::ApiError;

/// The result of evaluating the preconditions of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evaluation {
    /// Send the representation.
    Send,
    /// The client has the current representation: 304.
    NotModified,
    /// If-Match or If-Unmodified-Since failed: 412.
    Failed,
}

/// The preconditions of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ReadPreconditions {
    matches: Option<Tags>,
    unmodified_since: Option<Time>,
    none_matches: Option<Tags>,
    modified_since: Option<Time>,
}

/// The parameter `seen`: the version that the client has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// The client has no version yet.
    Nothing,
    /// The version with this tag, without quotes.
    Tag(String),
}

impl Seen {
    /// Parses `seen=TAG`, with or without quotes. `seen=none` and an empty value are [`Seen::Nothing`].
    pub(crate) fn parse(query: QueryString<'_>) -> Result<Option<Self>, ApiError> {
        Ok(query.text("seen")?.map(|text| match bare(&text) {
            "" | "none" => Self::Nothing,
            tag => Self::Tag(tag.to_owned()),
        }))
    }
}

impl ReadPreconditions {
    /// The preconditions in the headers. `seen` replaces If-None-Match.
    pub(crate) fn new(headers: &HeaderMap, seen: Option<&Seen>, now: Time) -> Self {
        let none_matches = match seen {
            Some(Seen::Tag(tag)) => Some(Tags::List(vec![Tag { weak: true, opaque: tag.clone() }])),
            Some(Seen::Nothing) => Some(Tags::List(vec![])),
            None => tags(headers, &IF_NONE_MATCH),
        };
        // X-If-Match is for caches that do not pass on If-Match.
        let if_match = if headers.contains_key(IF_MATCH) { IF_MATCH } else { X_IF_MATCH };
        Self {
            matches: tags(headers, &if_match),
            unmodified_since: date(headers, &IF_UNMODIFIED_SINCE, now),
            none_matches,
            modified_since: date(headers, &IF_MODIFIED_SINCE, now),
        }
    }

    /// The preconditions in a bucket with client timestamps.
    pub(crate) fn by_date(headers: &HeaderMap, seen: Option<&Seen>, now: Time) -> Self {
        let by_tag = Self::new(headers, seen, now);
        let none_matches = match by_tag.none_matches {
            Some(tags) if seen.is_some() => Some(client_timestamps::normalize(tags, now)),
            _ => client_timestamps::none_matches(headers, now).ok().flatten(),
        };
        Self { matches: client_timestamps::matches(headers, now).ok().flatten(), none_matches, ..by_tag }
    }

    /// Whether the client requires that the entry exists (`If-Match: *`).
    pub(crate) fn requires_existing(&self) -> bool {
        matches!(self.matches, Some(Tags::Any))
    }

    /// Whether the client sent `If-Match`, which does not hold for a missing entry.
    pub(crate) fn has_if_match(&self) -> bool {
        self.matches.is_some()
    }

    /// Whether the client sent the tag of the version that it has.
    pub(crate) fn has_seen(&self) -> bool {
        self.none_matches.is_some()
    }

    /// Evaluates the preconditions for a representation with this tag, without quotes, and this modification time.
    pub(crate) fn evaluate(&self, tag: &str, modified: Option<Time>) -> Evaluation {
        let in_list = |tags: &Tags, strong: bool| match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|t| t.opaque == tag && !(strong && t.weak)),
        };
        let later_than = |date: Time| modified.is_some_and(|m| m.floor_to_second() > date);
        let is_match = match (&self.matches, self.unmodified_since) {
            (Some(tags), _) => in_list(tags, true),
            (None, Some(date)) => !later_than(date),
            (None, None) => true,
        };
        let is_unchanged = match (&self.none_matches, self.modified_since) {
            (Some(tags), _) => in_list(tags, false),
            (None, Some(date)) => modified.is_some() && !later_than(date),
            (None, None) => false,
        };
        match (is_match, is_unchanged) {
            (false, _) => Evaluation::Failed,
            (true, true) => Evaluation::NotModified,
            (true, false) => Evaluation::Send,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;
    use crate::web::request::date_header::format_date;

    const NOW: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
    const EARLIER: &str = "Fri, 20 Nov 2026 11:59:59 GMT";

    fn now() -> Time {
        Time::from_http_date(NOW, Time::default()).unwrap()
    }

    fn evaluation(lines: &[(HeaderName, &str)]) -> Evaluation {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        ReadPreconditions::new(&headers, None, now()).evaluate("k2", Some(now()))
    }

    #[test]
    fn single_conditions_are_evaluated() {
        use Evaluation::{Failed, NotModified, Send};
        let cases = [
            (IF_NONE_MATCH, "\"k2\"", NotModified),
            (IF_NONE_MATCH, "W/\"k2\"", NotModified),
            (IF_NONE_MATCH, "\"k2-gzip\"", NotModified),
            (IF_NONE_MATCH, "W/\"k2-br\"", NotModified),
            (IF_NONE_MATCH, "\"x\" , W/\"k2\"", NotModified),
            (IF_NONE_MATCH, ",\"x,y\",\"k2\",", NotModified),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"x\"", Send),
            (IF_NONE_MATCH, "k2", Send),
            (IF_NONE_MATCH, "\"k2", Send),
            (IF_NONE_MATCH, "\"k2\" \"x\"", Send),
            (IF_NONE_MATCH, "", Send),
            (IF_MODIFIED_SINCE, NOW, NotModified),
            (IF_MODIFIED_SINCE, "Friday, 20-Nov-26 12:00:00 GMT", NotModified),
            (IF_MODIFIED_SINCE, EARLIER, Send),
            (IF_MODIFIED_SINCE, "Mon, 01 Jan 1900 00:00:00 GMT", Send),
            (IF_MODIFIED_SINCE, "Fri, 20 Nov 2026 11:59:60 GMT", NotModified),
            (IF_MODIFIED_SINCE, "Fri, 31 Dec 9999 23:59:59 GMT", NotModified),
            (IF_MODIFIED_SINCE, "yesterday", Send),
            (IF_MATCH, "\"k2\"", Send),
            (IF_MATCH, "\"k2-gzip\"", Send),
            (IF_MATCH, "*", Send),
            (IF_MATCH, "\"x\", \"k2\"", Send),
            (IF_MATCH, "W/\"k2\"", Failed),
            (IF_MATCH, "\"x\"", Failed),
            (IF_MATCH, "x", Send),
            (X_IF_MATCH, "\"k2\"", Send),
            (X_IF_MATCH, "\"x\"", Failed),
            (IF_UNMODIFIED_SINCE, NOW, Send),
            (IF_UNMODIFIED_SINCE, EARLIER, Failed),
            (IF_UNMODIFIED_SINCE, "Mon, 01 Jan 1900 00:00:00 GMT", Failed),
            (IF_UNMODIFIED_SINCE, "Fri, 20 Nov 2026 11:59:60 GMT", Send),
            (IF_UNMODIFIED_SINCE, "Fri, 31 Dec 9999 23:59:59 GMT", Send),
            (IF_UNMODIFIED_SINCE, "yesterday", Send),
        ];
        for (name, value, expected) in cases {
            assert_eq!(evaluation(&[(name.clone(), value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn conditions_are_evaluated_in_the_order_of_the_rfc() {
        use Evaluation::{Failed, NotModified, Send};
        // Tags take precedence over dates.
        assert_eq!(evaluation(&[(IF_MATCH, "\"k2\""), (IF_UNMODIFIED_SINCE, EARLIER)]), Send);
        assert_eq!(evaluation(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, NOW)]), Send);
        assert_eq!(evaluation(&[(IF_NONE_MATCH, "\"k2\""), (IF_MODIFIED_SINCE, EARLIER)]), NotModified);
        // If-Match takes precedence over X-If-Match.
        assert_eq!(evaluation(&[(X_IF_MATCH, "\"x\""), (IF_MATCH, "\"k2\"")]), Send);
        // If-Match and If-Unmodified-Since take precedence over If-None-Match.
        assert_eq!(evaluation(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"k2\"")]), Failed);
        assert_eq!(evaluation(&[(IF_UNMODIFIED_SINCE, EARLIER), (IF_NONE_MATCH, "\"k2\"")]), Failed);
        // Several lines are one list; a repeated date is ignored.
        assert_eq!(evaluation(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"k2\"")]), NotModified);
        assert_eq!(evaluation(&[(IF_MODIFIED_SINCE, NOW), (IF_MODIFIED_SINCE, NOW)]), Send);
    }

    #[test]
    fn tag_in_a_url_needs_no_quotes() {
        for text in ["k2", "\"k2\"", "W/\"k2\"", " k2-gzip", "\"k2-br\""] {
            assert_eq!(bare(text), "k2", "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"k2\""));
        for (seen, evaluation) in [(Seen::Tag("k1".into()), Evaluation::Send), (Seen::Nothing, Evaluation::Send)] {
            assert_eq!(ReadPreconditions::new(&headers, Some(&seen), now()).evaluate("k2", None), evaluation);
        }
        let seen = Seen::Tag("k2".into());
        assert_eq!(
            ReadPreconditions::new(&HeaderMap::new(), Some(&seen), now()).evaluate("k2", None),
            Evaluation::NotModified
        );
    }

    #[test]
    fn dates_of_any_age_can_be_formatted() {
        assert_eq!(format_date(Time::from_secs(-5)).unwrap(), "Wed, 31 Dec 1969 23:59:55 GMT");
        assert!(format_date(Time::from_secs(i64::MAX)).is_some());
    }

    #[test]
    fn seen_is_a_tag_or_nothing() {
        let seen = |q| Seen::parse(QueryString::new(Some(q)).unwrap()).unwrap();
        assert_eq!(seen("k=a"), None);
        assert_eq!(seen("seen=none"), Some(Seen::Nothing));
        assert_eq!(seen("seen="), Some(Seen::Nothing));
        assert_eq!(seen("seen=%22k2%22"), Some(Seen::Tag("k2".into())));
        assert_eq!(seen("seen=k2"), Some(Seen::Tag("k2".into())));
    }
}
