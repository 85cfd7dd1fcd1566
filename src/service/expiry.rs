//! When an entry ends: a time to live, or a moment.

use std::time::Duration;

use super::form::Question;
use super::number;
use super::reply::Refusal;
use crate::model::Time;

/// `ttl=SECONDS` or `expires=UNIX`, if one of them is asked for.
pub(crate) fn asked(question: Question<'_>, now: Time) -> Result<Option<Time>, Refusal> {
    let (ttl, expires) = (question.text("ttl")?, question.text("expires")?);
    read((ttl.as_deref(), expires.as_deref()), now).map_err(Refusal::invalid)
}

/// The end that a time to live in seconds, or a second since 1970, stands for, as they were written.
///
/// # Errors
/// Both, or a number that leads to the past or beyond all time; the text states the range.
pub(crate) fn read((ttl, expires): (Option<&str>, Option<&str>), now: Time) -> Result<Option<Time>, String> {
    match (ttl, expires) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("give ttl or expires, not both".to_owned()),
        (Some(text), None) => {
            let most = i64::try_from(Time::LONGEST_TTL.as_secs()).unwrap_or(i64::MAX);
            let seconds = number::read("ttl", text, 1..=most).map_err(|error| format!("{error}; it is in seconds"))?;
            now.expiry_after(Duration::from_secs(seconds.unsigned_abs())).map(Some).map_err(|error| error.to_string())
        }
        (None, Some(text)) => {
            let range = now.secs().saturating_add(1)..=Time::LAST_SECOND;
            let second = number::read("expires", text, range).map_err(|error| {
                let is_long = text.len() > 10 && text.bytes().all(|b| b.is_ascii_digit());
                let not = if is_long { ", not milliseconds" } else { "" };
                format!("{error}; it is in seconds since 1970{not}, and lies in the future")
            })?;
            Ok(Some(Time::from_secs(second)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_795_176_000);

    fn end(query: &str) -> Result<Option<Time>, String> {
        asked(Question::new(Some(query)).unwrap(), NOW).map_err(|refusal| refusal.text().to_owned())
    }

    #[test]
    fn ends_lie_in_the_future() {
        assert_eq!(end("ttl=60"), Ok(Some(Time::from_secs(1_795_176_060))));
        assert_eq!(end("expires=1795176001"), Ok(Some(Time::from_secs(1_795_176_001))));
        assert_eq!(end(""), Ok(None));
        assert_eq!(end("expires=9223372036"), Ok(Some(Time::from_secs(9_223_372_036))));
        assert_eq!(end("ttl=3153600000"), Ok(Some(Time::from_secs(1_795_176_000 + 3_153_600_000))));
        for bad in ["ttl=0", "ttl=-1", "ttl=x", "ttl=3153600001", "expires=1795176000", "expires=9223372037"] {
            assert!(end(bad).is_err(), "{bad}");
        }
        assert!(end("ttl=1&expires=1895176000").is_err());
    }

    #[test]
    fn what_is_out_of_range_is_told_with_the_range() {
        let range = "ttl must be 1 to 3153600000, got 99999999999999999999; it is in seconds";
        assert_eq!(end("ttl=99999999999999999999").unwrap_err(), range);
        let past = end("expires=1000").unwrap_err();
        assert!(past.starts_with("expires must be 1795176001 to 9223372036, got 1000; "), "{past}");
        assert!(past.ends_with("it is in seconds since 1970, and lies in the future"), "{past}");
        let millis = end("expires=1795176060000").unwrap_err();
        assert!(millis.contains("it is in seconds since 1970, not milliseconds"), "{millis}");
        assert!(end("expires=").unwrap_err().contains("got \"\"; write a whole number in digits"));
    }
}
