//! Revisions: the order of writes within a bucket.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, ErrorKind};
use super::time::Time;

/// The position of a write in the history of its bucket: the commit time in nanoseconds since the Unix epoch, raised
/// above the previous revision if the clock stands still or steps back. Written in base 36, as in an `ETag`.
///
/// Zero is the revision of a bucket that has never been written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a bucket that has never been written.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number: nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The revision of the next write, at `now`.
    #[must_use]
    pub fn next(self, now: Time) -> Self {
        Self::from(now).max(self.following())
    }

    /// Rounds `now` down as far as a later revision than this one allows: to milliseconds, or to microseconds if this
    /// revision is in the same millisecond.
    #[must_use]
    pub fn shorten(self, now: Time) -> Time {
        let number = Self::from(now).0;
        let whole = |unit: u64| Some(Self(number - number % unit)).filter(|whole| *whole > self);
        whole(1_000_000).or_else(|| whole(1_000)).map_or(now, Self::time)
    }

    /// The greatest revision before this one.
    #[must_use]
    pub const fn preceding(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The lowest revision after this one.
    #[must_use]
    pub const fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// When it was committed.
    #[must_use]
    pub fn time(self) -> Time {
        Time::from_nanos(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl From<Time> for Revision {
    /// The revision of a commit at this time; [`Revision::ZERO`] for times before 1970.
    fn from(time: Time) -> Self {
        Self(u64::try_from(time.nanos()).unwrap_or(0))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 13];
        let mut rest = self.0;
        let mut used = 0;
        for slot in digits.iter_mut().rev() {
            // A remainder of 36 fits a byte.
            let digit = u8::try_from(rest % 36).unwrap_or(0);
            *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            rest /= 36;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let text = digits.get(digits.len() - used..).and_then(|d| std::str::from_utf8(d).ok());
        f.pad(text.unwrap_or("0"))
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        match u64::from_str_radix(text, 36) {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(Error::new(ErrorKind::Invalid, format!("bad revision {text:?}: expected base 36, as in an ETag"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_round_trip_in_base_36() {
        for n in [0, 1, 35, 36, 1_795_000_000_123_456_789, u64::MAX] {
            let text = Revision::new(n).to_string();
            assert_eq!(text.parse::<Revision>().unwrap().number(), n, "{text}");
        }
        for bad in ["", "+1", "-1", "K2", "k2!", "zzzzzzzzzzzzzz"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }

    #[test]
    fn revisions_grow_when_the_clock_stands_still_or_steps_back() {
        let last = Revision::new(500);
        assert_eq!(last.next(Time::from_nanos(900)).number(), 900);
        assert_eq!(last.next(Time::from_nanos(500)).number(), 501);
        assert_eq!(last.next(Time::from_nanos(-7)).number(), 501);
        for (last, now, shortened) in [
            (0, 7_654_321, 7_000_000),
            (7_000_000, 7_654_321, 7_654_000),
            (7_654_000, 7_654_321, 7_654_321),
            (9_000_000, 7_654_321, 7_654_321),
            (0, -7, -7),
        ] {
            assert_eq!(Revision::new(last).shorten(Time::from_nanos(now)).nanos(), shortened);
        }
    }
}
