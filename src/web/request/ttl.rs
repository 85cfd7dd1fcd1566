//! The expiry of an entry: a time to live or a point in time.

use std::time::Duration;

use super::form::QueryString;
use super::number;
use crate::model::Time;
use crate::web::response::api_error::ApiError;

/// Parses `ttl=SECONDS` or `expires=UNIX` in the query; `None` without both.
pub(crate) fn parse(query: QueryString<'_>, now: Time) -> Result<Option<Time>, ApiError> {
    let (ttl, expires) = (query.text("ttl")?, query.text("expires")?);
    expiry(ttl.as_deref(), expires.as_deref(), now).map_err(ApiError::invalid)
}

/// The expiry from a time to live in seconds, or from a time in seconds since 1970.
///
/// # Errors
/// If both are present, or the number is out of range. The error states the range.
pub(crate) fn expiry(ttl: Option<&str>, expires: Option<&str>, now: Time) -> Result<Option<Time>, String> {
    match (ttl, expires) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("send ttl or expires, not both".to_owned()),
        (Some(text), None) => {
            let max_seconds = i64::try_from(Time::MAX_TTL.as_secs()).unwrap_or(i64::MAX);
            let seconds =
                number::parse("ttl", text, 1..=max_seconds).map_err(|error| format!("{error}; it is in seconds"))?;
            now.expiry_after(Duration::from_secs(seconds.unsigned_abs())).map(Some).map_err(|error| error.to_string())
        }
        (None, Some(text)) => {
            let second = number::parse("expires", text, 1..=Time::LAST_SECOND).map_err(|error| {
                let is_long = text.len() > 10 && text.bytes().all(|b| b.is_ascii_digit());
                let hint = if is_long { ", not milliseconds" } else { "" };
                format!("{error}; it is in seconds since 1970{hint}, and must be in the future")
            })?;
            // The text does not contain the current time, so that the same request gets the same response later.
            if second <= now.secs() {
                return Err(format!("expires must be in the future, got {second}; it is in seconds since 1970"));
            }
            Ok(Some(Time::from_secs(second)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_795_176_000);

    fn expiry_of(query: &str) -> Result<Option<Time>, String> {
        parse(QueryString::new(Some(query)).unwrap(), NOW).map_err(|error| error.text().to_owned())
    }

    #[test]
    fn expiry_must_be_in_the_future() {
        assert_eq!(expiry_of("ttl=60"), Ok(Some(Time::from_secs(1_795_176_060))));
        assert_eq!(expiry_of("expires=1795176001"), Ok(Some(Time::from_secs(1_795_176_001))));
        assert_eq!(expiry_of(""), Ok(None));
        assert_eq!(expiry_of("expires=9223372036"), Ok(Some(Time::from_secs(9_223_372_036))));
        assert_eq!(expiry_of("ttl=3153600000"), Ok(Some(Time::from_secs(1_795_176_000 + 3_153_600_000))));
        for bad in ["ttl=0", "ttl=-1", "ttl=x", "ttl=3153600001", "expires=1795176000", "expires=9223372037"] {
            assert!(expiry_of(bad).is_err(), "{bad}");
        }
        assert!(expiry_of("ttl=1&expires=1895176000").is_err());
    }

    #[test]
    fn values_out_of_range_are_errors_with_the_range() {
        let range = "ttl must be 1 to 3153600000, got 99999999999999999999; it is in seconds";
        assert_eq!(expiry_of("ttl=99999999999999999999").unwrap_err(), range);
        let past = expiry_of("expires=1000").unwrap_err();
        assert_eq!(past, "expires must be in the future, got 1000; it is in seconds since 1970");
        let millis = expiry_of("expires=1795176060000").unwrap_err();
        assert!(millis.contains("it is in seconds since 1970, not milliseconds"), "{millis}");
        assert!(expiry_of("expires=").unwrap_err().contains("got \"\"; write a whole number in digits"));
    }
}
