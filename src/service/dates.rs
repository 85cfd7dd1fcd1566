//! Conditions in a bucket whose clients give the times, as Poky's do: the tag of an entry is its date of modification,
//! and If-Unmodified-Since is both a guard and the new date.
//!
//! Revisions order the writes here too; what is judged by date is then done only if the revision is still the same.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::condition::{self, Tag, Tags};
use super::reply::Refusal;
use crate::model::{Entry, Time};

/// If-Match under another name, for caches in front of us that keep the header to themselves.
pub(crate) const X_IF_MATCH: HeaderName = HeaderName::from_static("x-if-match");

/// The tag of an entry, without quotes: its date.
pub(crate) fn tag(entry: &Entry) -> String {
    written(entry.last_modified())
}

fn written(time: Time) -> String {
    time.to_http_date()
}

/// The tags of If-Match or X-If-Match: dates in quotes, or one without.
///
/// # Errors
/// What is neither.
pub(crate) fn matches(headers: &HeaderMap, now: Time) -> Result<Option<Tags>, Refusal> {
    [IF_MATCH, X_IF_MATCH]
        .into_iter()
        .find(|name| headers.contains_key(name))
        .map(|name| tags(headers, &name, now))
        .transpose()
}

/// The tags of If-None-Match: the same.
///
/// # Errors
/// What is no date.
pub(crate) fn none_matches(headers: &HeaderMap, now: Time) -> Result<Option<Tags>, Refusal> {
    if !headers.contains_key(IF_NONE_MATCH) {
        return Ok(None);
    }
    tags(headers, &IF_NONE_MATCH, now).map(Some)
}

/// The dates in a header that is there, all in one form: a date is the same however it is written.
fn tags(headers: &HeaderMap, name: &HeaderName, now: Time) -> Result<Tags, Refusal> {
    Ok(match (condition::tags(headers, name), condition::date(headers, name, now)) {
        (Some(tags), _) => in_one_form(tags, now),
        (None, Some(date)) => Tags::List(vec![Tag { weak: false, opaque: written(date) }]),
        (None, None) => return Err(broken()),
    })
}

/// The same with each date written in the form that our tags have.
pub(crate) fn in_one_form(tags: Tags, now: Time) -> Tags {
    let dated = |tag: Tag| match Time::from_http_date(&tag.opaque, now) {
        Some(date) => Tag { opaque: written(date), ..tag },
        None => tag,
    };
    match tags {
        Tags::Any => Tags::Any,
        Tags::List(list) => Tags::List(list.into_iter().map(dated).collect()),
    }
}

fn broken() -> Refusal {
    Refusal::invalid("If-Match and If-None-Match must be * or HTTP dates in quotes in this bucket")
}

/// What a write demands of the entry it replaces, and the date that it gives the new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dates {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
    unmodified_since: Option<Time>,
    /// The date of the new entry; none: that of the entry before it.
    pub(crate) given: Option<Time>,
}

impl Dates {
    /// What the headers say.
    ///
    /// # Errors
    /// A date or a tag that is none.
    pub(crate) fn new(headers: &HeaderMap, now: Time) -> Result<Self, Refusal> {
        let matches = matches(headers, now)?;
        let none_matches = none_matches(headers, now)?;
        for tags in [&matches, &none_matches].into_iter().flatten() {
            if let Tags::List(list) = tags
                && list.iter().any(|tag| Time::from_http_date(&tag.opaque, now).is_none())
            {
                return Err(broken());
            }
        }
        let given = condition::date(headers, &IF_UNMODIFIED_SINCE, now);
        if given.is_none() && matches.is_none() && headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Err(condition::broken_date());
        }
        let unmodified_since = given.filter(|_| matches.is_none());
        Ok(Self { matches, none_matches, unmodified_since, given })
    }

    /// Whether anything is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a write may replace what was found.
    pub(crate) fn hold(&self, found: Option<&Entry>) -> bool {
        // If-Match compares strongly, If-None-Match weakly.
        let among = |tags: &Tags, entry: &Entry, strongly: bool| match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|t| t.opaque == tag(entry) && !(strongly && t.weak)),
        };
        let demanded = match (&self.matches, found) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(tags), Some(entry)) => among(tags, entry, true),
        };
        let new = !matches!((&self.none_matches, found), (Some(tags), Some(entry)) if among(tags, entry, false));
        let not_later = match (self.unmodified_since, found) {
            (Some(date), Some(entry)) => entry.last_modified() <= date,
            _ => true,
        };
        demanded && new && not_later
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

    fn dates(given: &[(&'static str, &str)]) -> Result<Dates, Refusal> {
        let headers = given.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect();
        Dates::new(&headers, moment(DATE))
    }

    #[test]
    fn dates_guard_and_tags_are_dates() {
        let quoted = format!("\"{DATE}\"");
        let missing_too = [true, false, false, true, true, true, true];
        let cases: [(&[(&'static str, &str)], bool); 7] = [
            (&[], true),
            (&[("if-match", &quoted)], true),
            (&[("x-if-match", EARLIER)], false),
            (&[("if-none-match", "*")], false),
            (&[("if-none-match", "\"Friday, 20-Nov-26 12:00:00 GMT\"")], false),
            (&[("if-unmodified-since", DATE)], true),
            (&[("if-unmodified-since", EARLIER)], false),
        ];
        for ((headers, holds), missing) in cases.into_iter().zip(missing_too) {
            let dates = dates(headers).unwrap();
            assert_eq!(dates.hold(Some(&entry())), holds, "{headers:?}");
            assert_eq!(dates.hold(None), missing, "{headers:?}");
        }
    }

    #[test]
    fn the_guard_is_the_new_date_also_beside_a_tag() {
        assert_eq!(dates(&[("if-unmodified-since", DATE)]).unwrap().given, Some(moment(DATE)));
        let both = dates(&[("if-unmodified-since", EARLIER), ("if-match", DATE)]).unwrap();
        assert!(both.hold(Some(&entry())));
        assert_eq!(both.given, Some(moment(EARLIER)));
        assert!(dates(&[("if-unmodified-since", "soon"), ("if-match", "*")]).is_ok());
    }

    #[test]
    fn broken_guards_are_refused() {
        for bad in [("if-unmodified-since", "bogus"), ("if-match", "\"k2\""), ("if-none-match", "\"k2\"")] {
            assert!(dates(&[bad]).is_err(), "{bad:?}");
        }
    }
}
