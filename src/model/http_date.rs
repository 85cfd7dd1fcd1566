//! HTTP dates, in whole seconds (RFC 9110 section 5.6.7). All three forms are read; the first is written.
//!
//! A date may have any year. A date outside the range of [`Time`] becomes the nearest end of the range, so comparisons
//! give the result that the client expects.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

use super::time::Time;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// A year of two digits is at most this many years ahead.
const YEARS_AHEAD: i16 = 50;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl Time {
    /// Parses an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or
    /// `Sun Nov  6 08:49:37 1994`. `None` if it is not a date.
    ///
    /// A year of two digits belongs to the latest century in which the date is not more than 50 years after `now`. The
    /// leap second 60 is the first second of the next minute.
    ///
    /// ```
    /// use kvs::model::Time;
    ///
    /// let date = Time::from_http_date("Mon, 01 Jan 1900 00:00:00 GMT", Time::default());
    /// assert_eq!(date.map(Time::secs), Some(-2_208_988_800));
    /// assert_eq!(Time::from_http_date("yesterday", Time::default()), None);
    /// ```
    #[must_use]
    pub fn from_http_date(text: &str, now: Self) -> Option<Self> {
        let text = text.trim();
        let seconds = match text.split_once(", ") {
            Some((day, rest)) if DAYS.contains(&day) => fixdate(rest)?,
            Some((day, rest)) if LONG_DAYS.contains(&day) => rfc850(rest, now)?,
            Some(_) => return None,
            None => asctime(text)?,
        };
        Some(Self::from_secs(seconds))
    }

    /// The time as an HTTP date, rounded down to the second: `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// ```
    /// use kvs::model::Time;
    ///
    /// assert_eq!(Time::from_secs(784_111_777).to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
    /// ```
    #[must_use]
    pub fn to_http_date(self) -> String {
        let date = Offset::UTC.to_datetime(Timestamp::from_second(self.secs()).unwrap_or_default());
        let name = |names: &[&'static str], index: i8| {
            usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
        };
        // By hand: every read writes one, and the machinery of `format!` costs ten times as much.
        let mut text = String::with_capacity(29);
        let two = |text: &mut String, number: i8| {
            let number = number.unsigned_abs();
            text.push(char::from(b'0' + number / 10 % 10));
            text.push(char::from(b'0' + number % 10));
        };
        text.push_str(name(&DAYS, date.weekday().to_sunday_zero_offset()));
        text.push_str(", ");
        two(&mut text, date.day());
        text.push(' ');
        text.push_str(name(&MONTHS, date.month() - 1));
        text.push(' ');
        let year = date.year();
        two(&mut text, i8::try_from(year / 100).unwrap_or_default());
        two(&mut text, i8::try_from(year % 100).unwrap_or_default());
        for (before, number) in [(' ', date.hour()), (':', date.minute()), (':', date.second())] {
            text.push(before);
            two(&mut text, number);
        }
        text.push_str(" GMT");
        text
    }
}

/// `06 Nov 1994 08:49:37 GMT`
fn fixdate(text: &str) -> Option<i64> {
    let mut parts = text.split(' ');
    let (day, month, year) = (digits(parts.next()?, 2)?, month(parts.next()?)?, digits(parts.next()?, 4)?);
    let seconds = seconds(year, month, day, parts.next()?)?;
    (parts.next() == Some("GMT") && parts.next().is_none()).then_some(seconds)
}

/// `06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str, now: Time) -> Option<i64> {
    let mut parts = text.split(' ');
    let mut date = parts.next()?.split('-');
    let (day, month, year) = (digits(date.next()?, 2)?, month(date.next()?)?, digits(date.next()?, 2)?);
    let time = parts.next()?;
    if date.next().is_some() || parts.next() != Some("GMT") || parts.next().is_some() {
        return None;
    }
    let today = Offset::UTC.to_datetime(Timestamp::from_second(now.secs()).ok()?);
    let furthest = today.checked_add(YEARS_AHEAD.years()).ok()?.duration_since(EPOCH).as_secs();
    let century = today.year() - today.year() % 100;
    let candidates = [century + 100, century, century - 100].into_iter();
    let mut dates = candidates.filter_map(|century| seconds(century + year, month, day, time));
    dates.find(|seconds| *seconds <= furthest)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<i64> {
    let (weekday, rest) = text.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    // A day of one digit follows a second space.
    let (day, rest) = match rest.strip_prefix(' ') {
        Some(rest) => (digits(rest.get(..1)?, 1)?, rest.get(1..)?),
        None => (digits(rest.get(..2)?, 2)?, rest.get(2..)?),
    };
    let (time, year) = rest.strip_prefix(' ')?.split_once(' ')?;
    if !DAYS.contains(&weekday) {
        return None;
    }
    seconds(digits(year, 4)?, month(name)?, day, time)
}

/// The seconds since 1970 of a date and a time such as `08:49:37`.
fn seconds(year: i16, month: i16, day: i16, time: &str) -> Option<i64> {
    let mut parts = time.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || second > 60 {
        return None;
    }
    let small = |number: i16| i8::try_from(number).ok();
    let date = DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second.min(59))?, 0)
        .ok()?;
    Some(date.duration_since(EPOCH).as_secs() + i64::from(second == 60))
}

/// The number of a month, from 1.
fn month(name: &str) -> Option<i16> {
    let index = MONTHS.iter().position(|month| *month == name)?;
    i16::try_from(index + 1).ok()
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i16> {
    if text.len() != count || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fri, 20 Nov 2026 12:00:00 GMT
    const NOW: Time = Time::from_secs(1_795_176_000);

    fn secs(text: &str) -> Option<i64> {
        Time::from_http_date(text, NOW).map(Time::secs)
    }

    #[test]
    fn all_three_forms_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(secs(text), Some(784_111_777), "{text}");
        }
        assert_eq!(secs("Wed Nov 16 08:49:37 1994"), Some(784_111_777 + 10 * 86_400));
    }

    #[test]
    fn old_years_and_leap_seconds_are_read() {
        assert_eq!(secs("Mon, 01 Jan 1900 00:00:00 GMT"), Some(-2_208_988_800));
        assert_eq!(secs("Mon Jan  1 00:00:00 1900"), Some(-2_208_988_800));
        assert_eq!(secs("Wed, 31 Dec 1969 23:59:59 GMT"), Some(-1));
        assert_eq!(secs("Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_800));
        assert_eq!(secs("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        // Dates outside the range of `Time` become its first or last value.
        assert_eq!(Time::from_http_date("Fri, 31 Dec 9999 23:59:60 GMT", NOW), Some(Time::from_secs(i64::MAX)));
        assert_eq!(Time::from_http_date("Mon, 01 Jan 0001 00:00:00 GMT", NOW), Some(Time::from_secs(i64::MIN)));
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        let year = |text: &str| Time::from_http_date(text, NOW).unwrap().to_http_date()[12..16].to_owned();
        assert_eq!(year("Friday, 20-Nov-26 12:00:00 GMT"), "2026");
        assert_eq!(year("Friday, 20-Nov-76 12:00:00 GMT"), "2076");
        assert_eq!(year("Friday, 20-Nov-76 12:00:01 GMT"), "1976");
        assert_eq!(year("Friday, 20-Nov-99 12:00:00 GMT"), "1999");
        assert_eq!(year("Friday, 20-Nov-00 12:00:00 GMT"), "2000");
        let late = Time::from_http_date("Fri, 20 Nov 2099 12:00:00 GMT", NOW).unwrap();
        assert_eq!(Time::from_http_date("Friday, 20-Nov-05 12:00:00 GMT", late).unwrap().secs(), 4_288_161_600);
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for bad in [
            "",
            "yesterday",
            "0",
            "1795176000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Mon, 29 Feb 2023 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov -001 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Day, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov 06 08:49 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun, 0\u{e9} Nov 1994 08:49:37 GMT",
            "2026-11-20T12:00:00Z",
        ] {
            assert_eq!(secs(bad), None, "{bad}");
        }
    }

    #[test]
    fn printed_dates_are_read_back() {
        for text in [
            "Mon, 01 Jan 1900 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Fri, 20 Nov 2026 12:00:00 GMT",
            "Tue, 21 Sep 1677 00:12:44 GMT",
            "Fri, 11 Apr 2262 23:47:16 GMT",
        ] {
            assert_eq!(Time::from_http_date(text, NOW).unwrap().to_http_date(), text);
        }
    }
}
