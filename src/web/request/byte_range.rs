//! `Range` and `If-Range` (RFC 9110, section 14.2 and section 13.1.5): which part of a value a client wants.
//!
//! One range of bytes is supported. Any other `Range` is ignored, as the RFC allows: the response is then the whole
//! value.

use std::ops::Range;

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

/// What a request wants of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Requested {
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// A range that begins after the end of the value.
    Unsatisfiable,
}

/// The part of a value of this length that a GET asks for. The value has this tag, without quotes.
pub(crate) fn requested(headers: &HeaderMap, length: u64, tag: &str) -> Requested {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Requested::Whole };
    if !is_same(headers, tag) {
        return Requested::Whole;
    }
    line.to_str().ok().and_then(|line| parse(line, length)).unwrap_or(Requested::Whole)
}

/// Whether the value is the one in `If-Range`: its strong tag, byte for byte. A date is not enough, because there may be
/// two writes in one second (RFC 9110, section 8.8.2.2), and neither is the tag of a compressed form.
fn is_same(headers: &HeaderMap, tag: &str) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else { return true };
    condition
        .to_str()
        .is_ok_and(|text| text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(tag))
}

/// Parses `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-NUMBER`; `None` for anything else.
fn parse(line: &str, length: u64) -> Option<Requested> {
    let (unit, range) = line.trim().split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let part = if first.is_empty() {
        length.saturating_sub(number(last)?)..length
    } else {
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        if last < first {
            return None;
        }
        first..last.saturating_add(1).min(length)
    };
    Some(if part.is_empty() { Requested::Unsatisfiable } else { Requested::Part(part) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Requested {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        requested(&headers, 10, "abc")
    }

    #[test]
    fn one_range_is_a_part() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=2-99", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("BYTES = 9-99999999999999999999999", 9..10),
        ] {
            assert_eq!(of(&[("range", range)]), Requested::Part(part), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(&[("range", range)]), Requested::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn other_ranges_are_ignored() {
        for range in
            ["bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "bytes=a-b", "bytes=+1-2", "lines=1-2", "0-1", ""]
        {
            assert_eq!(of(&[("range", range)]), Requested::Whole, "{range}");
        }
        assert_eq!(of(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]), Requested::Whole);
        assert_eq!(of(&[]), Requested::Whole);
    }

    #[test]
    fn range_of_another_version_is_ignored() {
        assert_eq!(of(&[("range", "bytes=0-1"), ("if-range", "\"abc\"")]), Requested::Part(0..2));
        for other in ["\"abd\"", "W/\"abc\"", "abc", "\"abc-gzip\"", "Fri, 20 Nov 2026 12:00:00 GMT", ""] {
            assert_eq!(of(&[("range", "bytes=0-1"), ("if-range", other)]), Requested::Whole, "{other}");
        }
    }
}
