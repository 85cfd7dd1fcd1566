//! A moment: nanoseconds since the Unix epoch, read and written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{Error, Kind};

const NANOS: i64 = 1_000_000_000;

/// A moment in time, in nanoseconds since the Unix epoch (years 1677 to 2262).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Time(i64);

impl Time {
    /// The last whole second that can be told, since the Unix epoch; it lies in the year 2262.
    pub const LAST_SECOND: i64 = i64::MAX / NANOS;

    /// The longest time to live: 36500 days, a hundred years. What is to stay longer is stored without one.
    pub const LONGEST_TTL: Duration = Duration::from_secs(36_500 * 86_400);

    /// The moment that many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The moment that many seconds after the Unix epoch; beyond the range, its end.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS))
    }

    /// The latest commit time that a file may give, the end of the year 2261. It leaves room for later revisions.
    pub const LATEST_COMMIT: Self = Self::from_secs(9_214_646_399);

    /// Reads an expiry as a file may give it: RFC 3339, any year of four digits. `None` if it is later than the range of
    /// this type, because it is never reached; the start of the range if it is earlier.
    ///
    /// # Errors
    /// `Invalid` if the text is not a time.
    pub fn parse_expiry(text: &str) -> Result<Option<Self>, Error> {
        Self::parse_clamped(text).map(|time| Some(time).filter(|time| time.0 != i64::MAX))
    }

    /// Reads RFC 3339, any year of four digits. A time beyond the range is its end, one before it is its start.
    ///
    /// # Errors
    /// `Invalid` if the text is not a time.
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

    /// Whole seconds since the Unix epoch, rounded down: what an HTTP date can carry.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// The start of the second this moment lies in.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self::from_secs(self.secs())
    }

    /// The time from `earlier` to this; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment moved into the future; at most to the end of the range.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The year of an RFC 3339 time, also of one that is outside the range. None if the text is not such a time.
fn year_of(text: &str) -> Option<i16> {
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    pieces.time()?;
    pieces.offset()?;
    Some(pieces.date().year()).filter(|_| pieces.time_zone_annotation().is_none())
}

impl Time {
    /// When that expires which lives for so long from this moment on.
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
    /// [`Kind::Invalid`] if it is zero or longer than [`Self::LONGEST_TTL`].
    pub fn expiry_after(self, ttl: Duration) -> Result<Self, Error> {
        if ttl.is_zero() {
            return Err(Error::new(Kind::Invalid, "a time to live of zero: give more, or delete the entry"));
        }
        if ttl > Self::LONGEST_TTL {
            let (most, got) = (Self::LONGEST_TTL.as_secs(), ttl.as_secs());
            let text = format!("a time to live must be at most {most} seconds, got {got}; leave it out for what stays");
            return Err(Error::new(Kind::Invalid, text));
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
    /// RFC 3339 in UTC, with as many decimals as it takes: `2026-11-20T12:00:00.5Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(stamp) => fmt::Display::fmt(&stamp, f),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl FromStr for Time {
    type Err = Error;

    /// RFC 3339, any offset.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::new(Kind::Invalid, format!("bad time {text:?}: write it as 2026-11-20T12:00:00Z (RFC 3339)"));
        let stamp: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        i64::try_from(stamp.as_nanosecond()).map(Self).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_there_and_back() {
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
    fn an_expiry_beyond_the_range_is_never_reached() {
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
    fn a_time_to_live_is_neither_zero_nor_longer_than_a_hundred_years() {
        let now = Time::from_secs(1000);
        let most = Time::LONGEST_TTL;
        assert_eq!(now.expiry_after(most).unwrap(), Time::from_secs(3_153_601_000));
        for bad in [Duration::ZERO, most + Duration::from_nanos(1), Duration::MAX] {
            assert!(now.expiry_after(bad).unwrap_err().is_invalid(), "{bad:?}");
        }
    }
}
