//! Times as a person writes them: RFC 3339, and all other forms of a YAML 1.1 timestamp.

use crate::model::{Error, Time};

/// Reads a time. If it is outside the range of [`Time`], the result is the end of the range. Without a time of day it
/// is midnight, without a zone it is UTC.
///
/// # Errors
/// `Invalid` if the text is not a time.
pub(crate) fn read(text: &str) -> Result<Time, Error> {
    let time = rfc_3339(text).and_then(|text| Time::parse_clamped(&text).ok());
    // The error quotes the text in its own spelling.
    time.map_or_else(|| Time::parse_clamped(text), Ok)
}

/// A YAML timestamp in the form of RFC 3339.
fn rfc_3339(text: &str) -> Option<String> {
    let (year, rest) = number(text, 4..=4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 1..=2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 1..=2)?;
    let date = format!("{year}-{month:0>2}-{day:0>2}");
    if rest.is_empty() {
        return (text.len() == 10).then(|| date + "T00:00:00Z");
    }
    let rest =
        rest.strip_prefix(['T', 't']).or_else(|| Some(rest.trim_start_matches(BLANKS)).filter(|r| *r != rest))?;
    let (hour, rest) = number(rest, 1..=2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2..=2)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 2..=2)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => number(rest, 0..=usize::MAX)?,
        None => ("", rest),
    };
    // Digits finer than a nanosecond are dropped.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let point = if fraction.is_empty() { "" } else { "." };
    let zone = zone(rest.trim_start_matches(BLANKS))?;
    Some(format!("{date}T{hour:0>2}:{minute}:{second}{point}{fraction}{zone}"))
}

fn zone(text: &str) -> Option<String> {
    if matches!(text, "" | "Z" | "z") {
        return Some("Z".into());
    }
    let sign = text.get(..1).filter(|sign| matches!(*sign, "+" | "-"))?;
    let (hours, rest) = number(text.get(1..)?, 1..=2)?;
    let minutes = match rest.strip_prefix(':') {
        Some(rest) => number(rest, 2..=2).filter(|(_, rest)| rest.is_empty())?.0,
        None => Some("00").filter(|_| rest.is_empty())?,
    };
    Some(format!("{sign}{hours:0>2}:{minutes}"))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The leading digits, if their number is in this range, and the rest.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).filter(|_| digits.contains(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestamp_of_yaml_is_read() {
        for (text, wanted) in [
            ("2030-01-01", "2030-01-01T00:00:00Z"),
            ("2001-12-15T02:59:43.1Z", "2001-12-15T02:59:43.1Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-15T02:59:43.1Z"),
            ("2001-12-14 21:59:43.10 -5", "2001-12-15T02:59:43.1Z"),
            ("2001-12-15 2:59:43.10", "2001-12-15T02:59:43.1Z"),
            ("2001-12-15 \t 2:59:43", "2001-12-15T02:59:43Z"),
            ("2001-1-5 2:59:43.", "2001-01-05T02:59:43Z"),
            ("2001-01-05 02:59:43 Z", "2001-01-05T02:59:43Z"),
            ("2001-01-05T02:59:43z", "2001-01-05T02:59:43Z"),
            ("2001-01-05 02:59:43+05", "2001-01-04T21:59:43Z"),
            ("2001-01-05 02:59:43.1234567891", "2001-01-05T02:59:43.123456789Z"),
        ] {
            assert_eq!(read(text).map(|time| time.to_string()).ok().as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(read("9999-12-31").unwrap().nanos(), i64::MAX);
        assert_eq!(read("0001-01-01 0:00:00").unwrap().nanos(), i64::MIN);
    }

    #[test]
    fn invalid_times_are_quoted_in_the_error() {
        for bad in [
            "",
            "soon",
            "2030",
            "2030-1-1",
            "2030-01-32",
            "2001-12-15 2:59",
            "2001-12-15 25:00:00",
            "2001-12-15x2:59:43",
            "2001-12-15 2:59:43 -5:0",
            "2001-12-15 2:59:43 CET",
            "20301-01-01",
            "2001-12-15 2:59:43 -5:00x",
            "é",
        ] {
            assert!(read(bad).unwrap_err().to_string().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
