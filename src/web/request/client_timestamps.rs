//! Preconditions in a bucket with client timestamps, as in Poky: the ETag of an entry is its modification date, and
//! If-Unmodified-Since is both a precondition and the new date.
//!
//! Revisions order the writes here too: after a date was checked, the write is done only if the revision is still the
//! same.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::etag::{Tag, Tags, X_IF_MATCH};
use super::{date_header, etag};
use crate::model::{Entry, Time};
use crate::web::response::api_error::ApiError;

/// The ETag of an entry without quotes: its modification date.
pub(crate) fn tag(entry: &Entry) -> String {
    format_date(entry.last_modified())
}

fn format_date(time: Time) -> String {
    time.to_http_date()
}

/// The tags in If-Match, or else in X-If-Match: dates in quotes, or one date without quotes.
///
/// # Errors
/// If the header is anything else.
pub(crate) fn matches(headers: &HeaderMap, now: Time) -> Result<Option<Tags>, ApiError> {
    [IF_MATCH, X_IF_MATCH]
        .into_iter()
        .find(|name| headers.contains_key(name))
        .map(|name| tags(headers, &name, now))
        .transpose()
}

/// The tags in If-None-Match: dates in quotes, or one date without quotes.
///
/// # Errors
/// If the header is anything else.
pub(crate) fn none_matches(headers: &HeaderMap, now: Time) -> Result<Option<Tags>, ApiError> {
    if !headers.contains_key(IF_NONE_MATCH) {
        return Ok(None);
    }
    tags(headers, &IF_NONE_MATCH, now).map(Some)
}

/// The tags in a header that is present, with each date in the format of [`tag`].
fn tags(headers: &HeaderMap, name: &HeaderName, now: Time) -> Result<Tags, ApiError> {
    Ok(match (etag::tags(headers, name), date_header::date(headers, name, now)) {
        (Some(tags), _) => normalize(tags, now),
        (None, Some(date)) => Tags::List(vec![Tag { weak: false, opaque: format_date(date) }]),
        (None, None) => return Err(invalid_tags()),
    })
}

/// The tags with each date in the format of [`tag`]. Clients may send a date in other formats of HTTP.
pub(crate) fn normalize(tags: Tags, now: Time) -> Tags {
    let normalize_tag = |tag: Tag| match Time::from_http_date(&tag.opaque, now) {
        Some(date) => Tag { opaque: format_date(date), ..tag },
        None => tag,
    };
    match tags {
        Tags::Any => Tags::Any,
        Tags::List(list) => Tags::List(list.into_iter().map(normalize_tag).collect()),
    }
}

fn invalid_tags() -> ApiError {
    ApiError::invalid("in this bucket If-Match and If-None-Match must be * or HTTP dates in quotes")
}

/// The preconditions of a write, and the modification date of the new entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct DatePreconditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
    unmodified_since: Option<Time>,
    /// The date of the new entry. `None`: the date of the entry that it replaces.
    pub(crate) new_date: Option<Time>,
}

impl DatePreconditions {
    /// Parses the headers.
    ///
    /// # Errors
    /// If a date or a tag is invalid.
    pub(crate) fn new(headers: &HeaderMap, now: Time) -> Result<Self, ApiError> {
        let matches = matches(headers, now)?;
        let none_matches = none_matches(headers, now)?;
        for tags in [&matches, &none_matches].into_iter().flatten() {
            if let Tags::List(list) = tags
                && list.iter().any(|tag| Time::from_http_date(&tag.opaque, now).is_none())
            {
                return Err(invalid_tags());
            }
        }
        let new_date = date_header::date(headers, &IF_UNMODIFIED_SINCE, now);
        if new_date.is_none() && matches.is_none() && headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Err(date_header::invalid_date());
        }
        let unmodified_since = new_date.filter(|_| matches.is_none());
        Ok(Self { matches, none_matches, unmodified_since, new_date })
    }

    /// Whether the request has no precondition and no date.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the preconditions hold for the current entry.
    pub(crate) fn hold(&self, found: Option<&Entry>) -> bool {
        // If-Match compares strongly, If-None-Match weakly.
        let contains = |tags: &Tags, entry: &Entry, strongly: bool| match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|t| t.opaque == tag(entry) && !(strongly && t.weak)),
        };
        let is_match = match (&self.matches, found) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(tags), Some(entry)) => contains(tags, entry, true),
        };
        let is_none_match =
            !matches!((&self.none_matches, found), (Some(tags), Some(entry)) if contains(tags, entry, false));
        let is_unmodified = match (self.unmodified_since, found) {
            (Some(date), Some(entry)) => entry.last_modified() <= date,
            _ => true,
        };
        is_match && is_none_match && is_unmodified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
    const EARLIER: &str = "Fri, 20 Nov 2026 11:59:59 GMT";

    fn moment(date: &str) -> Time {
        Time::from_http_date(date, Time::default()).unwrap()
    }

    fn entry() -> Entry {
        Entry {
            value: "v".into(),
            content_type: crate::model::ContentType::default(),
            revision: crate::model::Revision::new(1),
            created: Time::default(),
            modified: Some(moment(DATE)),
            expires: None,
        }
    }

    fn preconditions(lines: &[(&'static str, &str)]) -> Result<DatePreconditions, ApiError> {
        let headers = lines.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect();
        DatePreconditions::new(&headers, moment(DATE))
    }

    #[test]
    fn preconditions_compare_dates() {
        let quoted = format!("\"{DATE}\"");
        let holds_if_missing = [true, false, false, true, true, true, true];
        let cases: [(&[(&'static str, &str)], bool); 7] = [
            (&[], true),
            (&[("if-match", &quoted)], true),
            (&[("x-if-match", EARLIER)], false),
            (&[("if-none-match", "*")], false),
            (&[("if-none-match", "\"Friday, 20-Nov-26 12:00:00 GMT\"")], false),
            (&[("if-unmodified-since", DATE)], true),
            (&[("if-unmodified-since", EARLIER)], false),
        ];
        for ((headers, holds), missing) in cases.into_iter().zip(holds_if_missing) {
            let preconditions = preconditions(headers).unwrap();
            assert_eq!(preconditions.hold(Some(&entry())), holds, "{headers:?}");
            assert_eq!(preconditions.hold(None), missing, "{headers:?}");
        }
    }

    #[test]
    fn if_unmodified_since_is_the_new_date_also_with_if_match() {
        assert_eq!(preconditions(&[("if-unmodified-since", DATE)]).unwrap().new_date, Some(moment(DATE)));
        let both = preconditions(&[("if-unmodified-since", EARLIER), ("if-match", DATE)]).unwrap();
        assert!(both.hold(Some(&entry())));
        assert_eq!(both.new_date, Some(moment(EARLIER)));
        assert!(preconditions(&[("if-unmodified-since", "soon"), ("if-match", "*")]).is_ok());
    }

    #[test]
    fn malformed_preconditions_are_rejected() {
        for bad in [("if-unmodified-since", "bogus"), ("if-match", "\"k2\""), ("if-none-match", "\"k2\"")] {
            assert!(preconditions(&[bad]).is_err(), "{bad:?}");
        }
    }
}
