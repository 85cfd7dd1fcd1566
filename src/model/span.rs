//! Spans of time as a person writes them: `25s`, `10m`, `1d12h`; and times before now.

use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::time::Time;

/// Reads a span of time: `25`, `25s`, `500ms`, `2m`, `1h`, `7d`, `1w`, `1d12h`. Without a unit: seconds.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the text is not a span, or if it is longer than [`Time::MAX_TTL`].
pub fn parse_span(text: &str) -> Result<Duration, Error> {
    let bad = |why| Error::new(ErrorKind::Invalid, format!("bad span of time {text:?}: {why}"));
    let form = "write it as 25s, 500ms, 2m, 1h, 7d, 1w or 1d12h";
    let mut millis: u64 = 0;
    let mut seen = vec![];
    let mut rest = text.trim();
    while seen.is_empty() || !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let millis_per_unit: u64 = match unit {
            "ms" => 1,
            // A number without a unit must be the only one: the unit of the 30 in `1h30` is unclear.
            "" if seen.is_empty() && after.is_empty() => 1000,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(bad(form)),
        };
        if number.is_empty() || seen.contains(&millis_per_unit) {
            return Err(bad(form));
        }
        seen.push(millis_per_unit);
        let part = number.parse().unwrap_or(u64::MAX).saturating_mul(millis_per_unit);
        millis = millis.saturating_add(part);
        rest = after.trim_start();
    }
    let span = Duration::from_millis(millis);
    if span > Time::MAX_TTL {
        return Err(bad("it must be at most 36500d (a hundred years)"));
    }
    Ok(span)
}

/// Reads a time: RFC 3339, a date (midnight in UTC), whole seconds since 1970, or a span of time before `now`.
///
/// ```
/// use kvs::model::{Time, parse_since};
///
/// let now = Time::from_secs(1_000_000);
/// assert_eq!(parse_since("1970-01-02", now)?, Time::from_secs(86_400));
/// assert_eq!(parse_since("90", now)?, Time::from_secs(90));
/// assert_eq!(parse_since("1h", now)?, Time::from_secs(996_400));
/// # Ok::<(), kvs::model::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Invalid`] if the text is none of these.
pub fn parse_since(text: &str, now: Time) -> Result<Time, Error> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Time::from_secs(text.parse().unwrap_or(i64::MAX)));
    }
    let midnight = format!("{text}T00:00:00Z");
    let time = Time::parse_clamped(text).or_else(|_| Time::parse_clamped(&midnight)).ok();
    time.or_else(|| parse_span(text).ok().map(|span| now.minus(span))).ok_or_else(|| {
        let form = "2026-11-29T12:00:00Z, 2026-11-29, seconds since 1970, or 12h for the last 12 hours";
        Error::new(ErrorKind::Invalid, format!("bad time {text:?}: write it as {form}"))
    })
}
