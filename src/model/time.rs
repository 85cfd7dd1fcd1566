//! Times: nanoseconds since the Unix epoch, read and written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{Error, ErrorKind};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A point in time, in nanoseconds since the Unix epoch (years 1677 to 2262).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Time(i64);

impl Time {
    /// The last whole second of the range, since the Unix epoch, in the year 2262.
    pub const LAST_SECOND: i64 = i64::MAX / NANOS_PER_SECOND;

    /// The longest time to live: 36500 days, a hundred years. Values that stay longer are stored without one.
    pub const MAX_TTL: Duration = Duration::from_secs(36_500 * 86_400);

    /// The time this many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The time this many seconds after the Unix epoch, limited to the range.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// The latest commit time that a file may contain: the end of the year 2261. It leaves room for later revisions.
    pub const LATEST_COMMIT: Self = Self::from_secs(9_214_646_399);

    /// Parses an expiry of a file: RFC 3339, any year of four digits. `None` if it is later than the range of this
    /// type, because it is never reached; the start of the range if it is earlier.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the text is not a time.
    pub fn parse_expiry(text: &str) -> Result<Option<Self>, Error> {
        Self::parse_clamped(text).map(|time| Some(time).filter(|time| time.0 != i64::MAX))
    }

    /// Parses RFC 3339, any year of four digits. A time outside the range becomes the nearest end of the range.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the text is not a time.
    pub fn parse_clamped(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(time) => Ok(time),
            Err(error) => match year_of(text) {
                Some(year) if year > 2261 => Ok(Self(i64::MAX)),
                Some(year) if year < 1678 => Ok(Self(i64::MIN)),
                _ => Err(error),
            },
        }
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down as in an HTTP date.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// The start of this second.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self::from_secs(self.secs())
    }

    /// The start of this millisecond.
    #[must_use]
    pub const fn floor_to_millisecond(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1_000_000))
    }

    /// The duration since `earlier`; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The time this much earlier, limited to the range.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The time this much later, limited to the range.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The year of an RFC 3339 time, also outside the range. `None` if the text is not such a time.
fn year_of(text: &str) -> Option<i16> {
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    pieces.time()?;
    pieces.offset()?;
    Some(pieces.date().year()).filter(|_| pieces.time_zone_annotation().is_none())
}

impl Time {
    /// The expiry of a value that is stored at this time and lives this long.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kvs::model::Time;
    ///
    /// let now = Time::from_secs(1_795_176_000);
    /// assert_eq!(now.expiry_after(Duration::from_secs(60)).unwrap(), Time::from_secs(1_795_176_060));
    /// assert!(now.expiry_after(Duration::ZERO).is_err());
    /// assert!(now.expiry_after(Duration::MAX).is_err());
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the time to live is zero or longer than [`Self::MAX_TTL`].
    pub fn expiry_after(self, ttl: Duration) -> Result<Self, Error> {
        if ttl.is_zero() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the time to live must be greater than 0; to remove an entry, delete it",
            ));
        }
        if ttl > Self::MAX_TTL {
            let (max, got) = (Self::MAX_TTL.as_secs(), ttl.as_secs());
            let text = format!(
                "the time to live must be at most {max} seconds, got {got}; leave it out if the value never expires"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(self.plus(ttl))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let clamp = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(clamp(after)),
            Err(before) => Self(-clamp(before.duration())),
        }
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let span = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC, with as many decimals as needed: `2026-11-20T12:00:00.5Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(stamp) => fmt::Display::fmt(&stamp, f),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl FromStr for Time {
    type Err = Error;

    /// RFC 3339 with any offset.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::new(ErrorKind::Invalid, format!("bad time {text:?}: write it as 2026-11-20T12:00:00Z (RFC 3339)"))
        };
        let stamp: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        i64::try_from(stamp.as_nanosecond()).map(Self).map_err(|_| bad())
    }
}

impl Time {
    /// Reads a time exactly as [`Display`](fmt::Display) writes it: `2026-11-20T12:00:00[.123456789]Z`. `None` for any
    /// other text, even if it is a time.
    ///
    /// Data files are full of such times. This is much faster than [`FromStr`], which takes every form of RFC 3339.
    pub(crate) fn parse_canonical(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (head, tail) = bytes.split_at_checked(19)?;
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = head else {
            return None;
        };
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
        };
        let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let fraction = match tail {
            [b'Z'] => 0,
            [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
                (digits.len()..9).fold(number(digits)?, |n, _| n * 10)
            }
            _ => return None,
        };
        let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        // A time outside the range is left to `FromStr` and its error.
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
        i64::try_from(nanos).ok().map(Self)
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap day is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn canonical_times_are_read_back(nanos in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)]) {
            let time = Time::from_nanos(nanos);
            prop_assert_eq!(Time::parse_canonical(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn times_round_trip_in_rfc_3339() {
        for text in [
            "2026-11-20T12:00:00.123456789Z",
            "2026-11-20T12:01:00.5Z",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!("2026-11-20T13:00:00+01:00".parse::<Time>().unwrap().to_string(), "2026-11-20T12:00:00Z");
        for bad in ["", "yesterday", "2026-11-20", "2026-13-20T12:00:00Z", "9999-01-01T00:00:00Z"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_expiry_after_the_range_is_never_reached() {
        for text in [
            "9999-12-31T23:59:59Z",
            "2262-04-12T00:00:00Z",
            "9999-12-31T23:59:59.999+14:00",
            "2262-04-11T23:47:16.854775807Z",
        ] {
            assert_eq!(Time::parse_expiry(text).unwrap(), None, "{text}");
        }
        assert_eq!(Time::parse_expiry("0001-01-01T00:00:00Z").unwrap(), Some(Time::from_nanos(i64::MIN)));
        assert_eq!(Time::parse_expiry("2030-01-01T00:00:00Z").unwrap(), Some(Time::from_secs(1_893_456_000)));
        for bad in ["", "soon", "9999-12-31", "9999-12-31T23:59:59", "9999-13-31T23:59:59Z", "99999-12-31T23:59:59Z"] {
            assert!(Time::parse_expiry(bad).is_err(), "{bad}");
        }
        assert_eq!(Time::LATEST_COMMIT.to_string(), "2261-12-31T23:59:59Z");
    }

    #[test]
    fn seconds_round_down_also_before_1970() {
        assert_eq!(Time::from_nanos(-1).secs(), -1);
        assert_eq!(Time::from_nanos(1_999_999_999).secs(), 1);
        assert_eq!(Time::from_secs(i64::MAX).nanos(), i64::MAX);
    }

    #[test]
    fn a_time_to_live_is_more_than_zero_and_at_most_a_hundred_years() {
        let now = Time::from_secs(1000);
        let most = Time::MAX_TTL;
        assert_eq!(now.expiry_after(most).unwrap(), Time::from_secs(3_153_601_000));
        for bad in [Duration::ZERO, most + Duration::from_nanos(1), Duration::MAX] {
            assert!(now.expiry_after(bad).unwrap_err().is_invalid(), "{bad:?}");
        }
    }
}
