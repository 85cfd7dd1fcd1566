//! A span of time as a person writes it: `25s`, `10m`, `1d12h`.

use std::time::Duration;

use super::error::{Error, Kind};
use super::time::Time;

/// Reads a span of time: `25`, `25s`, `500ms`, `2m`, `1h`, `7d`, `1w`, `1d12h`. Without a unit: seconds.
///
/// # Errors
/// [`Kind::Invalid`] if the text is no span, or one longer than [`Time::LONGEST_TTL`].
pub fn parse_span(text: &str) -> Result<Duration, Error> {
    let bad = |why| Error::new(Kind::Invalid, format!("bad span of time {text:?}: {why}"));
    let form = "write it as 25s, 500ms, 2m, 1h, 7d, 1w or 1d12h";
    let mut millis: u64 = 0;
    let mut seen = vec![];
    let mut rest = text.trim();
    while seen.is_empty() || !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let behind = behind.trim_start();
        let (unit, behind) = behind.split_at(behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len()));
        let of_unit: u64 = match unit {
            "ms" => 1,
            // A bare number stands alone: in `1h30` nobody knows of what it is.
            "" if seen.is_empty() && behind.is_empty() => 1000,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(bad(form)),
        };
        if number.is_empty() || seen.contains(&of_unit) {
            return Err(bad(form));
        }
        seen.push(of_unit);
        let part = number.parse().unwrap_or(u64::MAX).saturating_mul(of_unit);
        millis = millis.saturating_add(part);
        rest = behind.trim_start();
    }
    let span = Duration::from_millis(millis);
    if span > Time::LONGEST_TTL {
        return Err(bad("this is more than a hundred years; write at most 36500d"));
    }
    Ok(span)
}
