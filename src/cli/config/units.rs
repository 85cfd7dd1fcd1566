//! Sizes, times and percentages as people write and read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Error, ErrorKind, parse_span};

/// A number of bytes: `4096`, `64KiB`, `1M`. All units are powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) usize);

/// A time span: `25`, `25s`, `500ms`, `2m`, `1h`, `7d`, `1w`, `1d12h`. Without a unit: seconds. At most 36500 days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeSpan(pub(crate) Duration);

/// 1 to 100: `50%`, `50`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Percent(usize);

impl Percent {
    /// This part of a number, at least 1. 100 % means no limit: `usize::MAX`.
    pub(crate) fn of(self, number: usize) -> usize {
        if self.0 == 100 { usize::MAX } else { (number.saturating_mul(self.0) / 100).max(1) }
    }
}

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = text.trim().strip_suffix('%').unwrap_or(text).trim().parse().ok();
        let number = number.filter(|number| (1..=100).contains(number));
        number
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("bad percentage {text:?}: write 1% to 100%")))
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::new(ErrorKind::Invalid, format!("bad size {text:?}: {why}"));
        let form = "write it as 65536, 64KiB or 1MiB";
        let (number, unit) = split(text.trim());
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return Err(bad(form)),
        };
        if number.is_empty() {
            return Err(bad(form));
        }
        let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| bad("it is too large"))
    }
}

impl FromStr for TimeSpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_span(text).map(Self)
    }
}

/// Splits after the leading digits.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Parses a flag that counts something.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    whole(text, 0, usize::MAX)
}

/// Parses a flag that is a 64-bit integer.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    whole(text, i64::MIN, i64::MAX)
}

fn whole<T: FromStr + fmt::Display>(text: &str, min: T, max: T) -> Result<T, String> {
    let shown = crate::postgres::without_password(text);
    text.parse().map_err(|_| format!("{shown:?} is not a whole number from {min} to {max}"))
}

impl fmt::Display for Size {
    /// In the largest unit without a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            0 => (0, "B"),
            n if n % (1 << 20) == 0 => (n >> 20, "MiB"),
            n if n % (1 << 10) == 0 => (n >> 10, "KiB"),
            n => (n, "B"),
        };
        write!(f, "{number} {unit}")
    }
}

/// A time span in words, in its largest unit only: `5 minutes`.
pub(crate) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..2_678_400 => (seconds / 86_400, "day"),
        2_678_400..31_536_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    count_noun(number, unit, &format!("{unit}s"))
}

/// A number with its noun: `1 entry`, `2 entries`.
pub(crate) fn count_noun(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A time in the past, in words.
pub(crate) fn ago(span: Duration) -> String {
    if span.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", in_words(span)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_units_are_powers_of_1024() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("64k", 65_536), ("1 MiB", 1 << 20), ("2m", 2 << 20)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5M", "1TiB", "99999999999999999999", "99999999999999999g"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert!("99999999999999999999".parse::<Size>().unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn a_percentage_of_a_number_is_at_least_1() {
        for (text, of_ten) in [("50%", 5), ("1", 1), (" 30 %", 3), ("100%", usize::MAX)] {
            assert_eq!(text.parse::<Percent>().unwrap().of(10), of_ten, "{text}");
        }
        for bad in ["", "%", "0", "101%", "-1%", "half", "1.5%", "50%%"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn time_spans_are_seconds_unless_a_unit_follows() {
        for (text, millis) in [
            ("25", 25_000),
            ("25s", 25_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1d12h", 129_600_000),
            ("1h30m", 5_400_000),
            ("1w 2d 3 h", 788_400_000),
            ("1s500ms", 1500),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(text.parse::<TimeSpan>().unwrap(), TimeSpan(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "1.5s", "1y", "1h30", "30 1h", "1h1h", "1d-2h", "hd", "1dh", "1e3", "+1", "½h"] {
            let error = bad.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(error.contains("1d12h"), "{bad} gave {error}");
        }
        for long in ["36501d", "99999999999999999999", "999999999999999999d", "5000w5000w", "36500d1ms"] {
            assert!(long.parse::<TimeSpan>().is_err(), "{long}");
        }
        assert!("99999999999999999999s".parse::<TimeSpan>().unwrap_err().to_string().contains("at most 36500d"));
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!((count("0"), count("12"), integer("-3")), (Ok(0), Ok(12), Ok(-3)));
        for bad in ["", "x", "-1", "1.5", "1e3", "99999999999999999999"] {
            assert!(count(bad).unwrap_err().contains("from 0 to 18446744073709551615"), "{bad}");
        }
        assert!(integer("9223372036854775808").unwrap_err().contains("to 9223372036854775807"));
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        for (seconds, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (300, "5 minutes ago"),
            (86_399, "23 hours ago"),
            (86_400 * 3, "3 days ago"),
            (86_400 * 62, "2 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes_are_shown_without_rounding() {
        for (bytes, text) in [(0, "0 B"), (1000, "1000 B"), (65_536, "64 KiB"), (1 << 20, "1 MiB")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
