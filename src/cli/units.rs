//! Sizes and spans of time as a person writes and reads them. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Error, Kind};

/// A number of bytes: `4096`, `64KiB`, `1M`. All units are powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(pub(super) usize);

/// A span of time: `25`, `25s`, `500ms`, `2m`, `1h`, `7d`. Without a unit: seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span(pub(super) Duration);

/// A part of something: `50%`, `50`. Never nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Percent(usize);

impl Percent {
    /// So much of that number, at least 1; without a bound if it is all of it.
    pub(super) fn of(self, number: usize) -> usize {
        if self.0 == 100 { usize::MAX } else { (number.saturating_mul(self.0) / 100).max(1) }
    }
}

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = text.trim().strip_suffix('%').unwrap_or(text).trim().parse().ok();
        let number = number.filter(|number| (1..=100).contains(number));
        number.map(Self).ok_or_else(|| Error::new(Kind::Invalid, format!("bad part {text:?}: write it as 1% to 100%")))
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::new(Kind::Invalid, format!("bad size {text:?}: write it as 65536, 64KiB or 1MiB"));
        let (number, unit) = split(text);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return Err(bad()),
        };
        let number: usize = number.parse().map_err(|_| bad())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(bad)
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::new(Kind::Invalid, format!("bad span of time {text:?}: write it as 25s, 500ms, 2m or 1h"));
        let (number, unit) = split(text);
        let millis: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(bad)
    }
}

/// The digits in front, and the unit behind them.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

impl fmt::Display for Size {
    /// In the largest unit that gives a whole number.
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

/// A span in words, in its largest unit: `5 minutes`.
pub(super) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..2_678_400 => (seconds / 86_400, "day"),
        2_678_400..31_536_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    counted(number, unit, &format!("{unit}s"))
}

/// A number of things: `1 entry`, `2 entries`.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// How long ago something was, in words.
pub(super) fn ago(span: Duration) -> String {
    if span.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", words(span)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("64k", 65_536), ("1 MiB", 1 << 20), ("2m", 2 << 20)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5M", "1TiB", "99999999999999999999", "99999999999999999g"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_of_something_and_never_nothing() {
        for (text, of_ten) in [("50%", 5), ("1", 1), (" 30 %", 3), ("100%", usize::MAX)] {
            assert_eq!(text.parse::<Percent>().unwrap().of(10), of_ten, "{text}");
        }
        for bad in ["", "%", "0", "101%", "-1%", "half", "1.5%", "50%%"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_in_seconds_unless_a_unit_follows() {
        for (text, millis) in
            [("25", 25_000), ("25s", 25_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(text.parse::<Span>().unwrap(), Span(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "1.5s", "1w", "99999999999999999999", "999999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
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
