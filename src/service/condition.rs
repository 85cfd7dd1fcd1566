//! Conditions of a read, in the order of RFC 9110 section 13.2.2. We judge them ourselves: the web server before us
//! does not know our tags.
//!
//! What does not parse is ignored, as the RFC has it for reads.

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue};

use super::dates;
use super::form::Question;
use super::reply::Refusal;
use crate::model::Time;

/// How the conditions of a read come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Send it.
    Send,
    /// The client has it.
    Same,
    /// What the client demanded does not hold.
    Fails,
}

/// The conditions a client set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    unmodified_since: Option<Time>,
    none_matches: Option<Tags>,
    modified_since: Option<Time>,
}

/// The tags in a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tags {
    /// `*`
    Any,
    List(Vec<Tag>),
}

/// A tag, without quotes and without what a web server appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) weak: bool,
    pub(crate) opaque: String,
}

/// What a client says in its address that it has seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// Nothing yet.
    Nothing,
    /// This tag, without quotes.
    Tag(String),
}

impl Seen {
    /// `seen=TAG`, with quotes or without; `seen=none`, or an empty one, is nothing.
    pub(crate) fn asked(question: Question<'_>) -> Result<Option<Self>, Refusal> {
        Ok(question.text("seen")?.map(|text| match bare(&text) {
            "" | "none" => Self::Nothing,
            tag => Self::Tag(tag.to_owned()),
        }))
    }
}

impl Conditions {
    /// The conditions in the headers. What the client says in its address goes before If-None-Match.
    pub(crate) fn new(headers: &HeaderMap, seen: Option<&Seen>, now: Time) -> Self {
        let none_matches = match seen {
            Some(Seen::Tag(tag)) => Some(Tags::List(vec![Tag { weak: true, opaque: tag.clone() }])),
            Some(Seen::Nothing) => Some(Tags::List(vec![])),
            None => tags(headers, &IF_NONE_MATCH),
        };
        // The second for caches that keep the first to themselves.
        let demand = if headers.contains_key(IF_MATCH) { IF_MATCH } else { dates::X_IF_MATCH };
        Self {
            matches: tags(headers, &demand),
            unmodified_since: date(headers, &IF_UNMODIFIED_SINCE, now),
            none_matches,
            modified_since: date(headers, &IF_MODIFIED_SINCE, now),
        }
    }

    /// The same in a bucket whose clients give the times.
    pub(crate) fn by_date(headers: &HeaderMap, seen: Option<&Seen>, now: Time) -> Self {
        let usual = Self::new(headers, seen, now);
        let none_matches = match usual.none_matches {
            Some(tags) if seen.is_some() => Some(dates::in_one_form(tags, now)),
            _ => dates::none_matches(headers, now).ok().flatten(),
        };
        Self { matches: dates::matches(headers, now).ok().flatten(), none_matches, ..usual }
    }

    /// Whether the client demands that there be something, whatever it is.
    pub(crate) fn demand_presence(&self) -> bool {
        matches!(self.matches, Some(Tags::Any))
    }

    /// Whether the client told by tag what it has.
    pub(crate) fn has_seen(&self) -> bool {
        self.none_matches.is_some()
    }

    /// How they come out for an existing thing with this tag, without quotes, and this time of modification.
    pub(crate) fn judge(&self, tag: &str, modified: Option<Time>) -> Verdict {
        let in_list = |tags: &Tags, strong: bool| match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|t| t.opaque == tag && !(strong && t.weak)),
        };
        let later_than = |date: Time| modified.is_some_and(|m| m.floor_to_second() > date);
        let demanded = match (&self.matches, self.unmodified_since) {
            (Some(tags), _) => in_list(tags, true),
            (None, Some(date)) => !later_than(date),
            (None, None) => true,
        };
        let same = match (&self.none_matches, self.modified_since) {
            (Some(tags), _) => in_list(tags, false),
            (None, Some(date)) => modified.is_some() && !later_than(date),
            (None, None) => false,
        };
        match (demanded, same) {
            (false, _) => Verdict::Fails,
            (true, true) => Verdict::Same,
            (true, false) => Verdict::Send,
        }
    }
}

/// A tag as it stands in the header.
pub(crate) fn quoted(tag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{tag}\"")).ok()
}

/// A tag as a client may write it in an address: with `W/` and quotes or without.
pub(crate) fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    plain(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text))
}

/// Without what a web server that compressed the answer appended.
fn plain(opaque: &str) -> &str {
    opaque.strip_suffix("-gzip").or_else(|| opaque.strip_suffix("-br")).unwrap_or(opaque)
}

/// A moment as an HTTP date.
pub(crate) fn format_date(time: Time) -> Option<HeaderValue> {
    HeaderValue::try_from(time.to_http_date()).ok()
}

/// The date in a header, if there is one and it is one. `now` tells the century of a year of two digits.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName, now: Time) -> Option<Time> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    // A date given twice is no date.
    if lines.next().is_some() { None } else { Time::from_http_date(line.to_str().ok()?, now) }
}

/// The tags in a header, if there are some and nothing else.
pub(crate) fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.to_str().ok()?.trim();
    if first == "*" {
        // It is no member of a list.
        return lines.next().is_none().then_some(Tags::Any);
    }
    let mut list = parse_tags(first)?;
    for line in lines {
        list.extend(parse_tags(line.to_str().ok()?.trim())?);
    }
    Some(Tags::List(list))
}

/// The tags in a header of a write.
///
/// # Errors
/// What is neither `*` nor tags: to ignore a broken guard would be an unguarded overwrite.
pub(crate) fn strict_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Refusal> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let broken = || Refusal::invalid(format!("{name} must be * or tags in quotes, as in \"dn0n56z1fq2r\""));
    tags(headers, name).map(Some).ok_or_else(broken)
}

/// That If-Unmodified-Since of a write is no date.
pub(crate) fn broken_date() -> Refusal {
    Refusal::invalid("If-Unmodified-Since must be one HTTP date, as in Sun, 06 Nov 1994 08:49:37 GMT")
}

/// `"a", W/"b"`; nothing if there is anything else in it.
fn parse_tags(text: &str) -> Option<Vec<Tag>> {
    let mut tags = vec![];
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { weak, opaque: plain(opaque).to_owned() });
        let next = behind.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with(',') {
            return None;
        }
        rest = next.trim_start_matches([' ', '\t', ',']);
    }
    if tags.is_empty() { None } else { Some(tags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Fri, 20 Nov 2026 12:00:00 GMT";
    const EARLIER: &str = "Fri, 20 Nov 2026 11:59:59 GMT";

    fn now() -> Time {
        Time::from_http_date(NOW, Time::default()).unwrap()
    }

    fn verdict(given: &[(HeaderName, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, value.parse().unwrap());
        }
        Conditions::new(&headers, None, now()).judge("k2", Some(now()))
    }

    #[test]
    fn each_condition_by_itself() {
        use Verdict::{Fails, Same, Send};
        let cases = [
            (IF_NONE_MATCH, "\"k2\"", Same),
            (IF_NONE_MATCH, "W/\"k2\"", Same),
            (IF_NONE_MATCH, "\"k2-gzip\"", Same),
            (IF_NONE_MATCH, "W/\"k2-br\"", Same),
            (IF_NONE_MATCH, "\"x\" , W/\"k2\"", Same),
            (IF_NONE_MATCH, ",\"x,y\",\"k2\",", Same),
            (IF_NONE_MATCH, "*", Same),
            (IF_NONE_MATCH, "\"x\"", Send),
            (IF_NONE_MATCH, "k2", Send),
            (IF_NONE_MATCH, "\"k2", Send),
            (IF_NONE_MATCH, "\"k2\" \"x\"", Send),
            (IF_NONE_MATCH, "", Send),
            (IF_MODIFIED_SINCE, NOW, Same),
            (IF_MODIFIED_SINCE, "Friday, 20-Nov-26 12:00:00 GMT", Same),
            (IF_MODIFIED_SINCE, EARLIER, Send),
            (IF_MODIFIED_SINCE, "Mon, 01 Jan 1900 00:00:00 GMT", Send),
            (IF_MODIFIED_SINCE, "Fri, 20 Nov 2026 11:59:60 GMT", Same),
            (IF_MODIFIED_SINCE, "Fri, 31 Dec 9999 23:59:59 GMT", Same),
            (IF_MODIFIED_SINCE, "yesterday", Send),
            (IF_MATCH, "\"k2\"", Send),
            (IF_MATCH, "\"k2-gzip\"", Send),
            (IF_MATCH, "*", Send),
            (IF_MATCH, "\"x\", \"k2\"", Send),
            (IF_MATCH, "W/\"k2\"", Fails),
            (IF_MATCH, "\"x\"", Fails),
            (IF_MATCH, "x", Send),
            (dates::X_IF_MATCH, "\"k2\"", Send),
            (dates::X_IF_MATCH, "\"x\"", Fails),
            (IF_UNMODIFIED_SINCE, NOW, Send),
            (IF_UNMODIFIED_SINCE, EARLIER, Fails),
            (IF_UNMODIFIED_SINCE, "Mon, 01 Jan 1900 00:00:00 GMT", Fails),
            (IF_UNMODIFIED_SINCE, "Fri, 20 Nov 2026 11:59:60 GMT", Send),
            (IF_UNMODIFIED_SINCE, "Fri, 31 Dec 9999 23:59:59 GMT", Send),
            (IF_UNMODIFIED_SINCE, "yesterday", Send),
        ];
        for (name, value, expected) in cases {
            assert_eq!(verdict(&[(name.clone(), value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn the_order_of_the_rfc() {
        use Verdict::{Fails, Same, Send};
        // Tags go before dates.
        assert_eq!(verdict(&[(IF_MATCH, "\"k2\""), (IF_UNMODIFIED_SINCE, EARLIER)]), Send);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, NOW)]), Send);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"k2\""), (IF_MODIFIED_SINCE, EARLIER)]), Same);
        // The header itself goes before the other name of it.
        assert_eq!(verdict(&[(dates::X_IF_MATCH, "\"x\""), (IF_MATCH, "\"k2\"")]), Send);
        // What was demanded goes before what was seen.
        assert_eq!(verdict(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"k2\"")]), Fails);
        assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, EARLIER), (IF_NONE_MATCH, "\"k2\"")]), Fails);
        // Several lines are one list; a date given twice is none.
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"k2\"")]), Same);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, NOW), (IF_MODIFIED_SINCE, NOW)]), Send);
    }

    #[test]
    fn a_tag_in_an_address_needs_no_quotes() {
        for text in ["k2", "\"k2\"", "W/\"k2\"", " k2-gzip", "\"k2-br\""] {
            assert_eq!(bare(text), "k2", "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"k2\""));
        for (seen, verdict) in [(Seen::Tag("k1".into()), Verdict::Send), (Seen::Nothing, Verdict::Send)] {
            assert_eq!(Conditions::new(&headers, Some(&seen), now()).judge("k2", None), verdict);
        }
        let seen = Seen::Tag("k2".into());
        assert_eq!(Conditions::new(&HeaderMap::new(), Some(&seen), now()).judge("k2", None), Verdict::Same);
    }

    #[test]
    fn dates_of_any_age_can_be_told() {
        assert_eq!(format_date(Time::from_secs(-5)).unwrap(), "Wed, 31 Dec 1969 23:59:55 GMT");
        assert!(format_date(Time::from_secs(i64::MAX)).is_some());
    }

    #[test]
    fn what_was_seen_is_a_tag_or_nothing() {
        let seen = |q| Seen::asked(Question::new(Some(q)).unwrap()).unwrap();
        assert_eq!(seen("k=a"), None);
        assert_eq!(seen("seen=none"), Some(Seen::Nothing));
        assert_eq!(seen("seen="), Some(Seen::Nothing));
        assert_eq!(seen("seen=%22k2%22"), Some(Seen::Tag("k2".into())));
        assert_eq!(seen("seen=k2"), Some(Seen::Tag("k2".into())));
    }
}
