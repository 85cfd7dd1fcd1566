//! When an entry ends: a time to live, or a moment.

use std::time::Duration;

use super::form::Question;
use super::reply::Refusal;
use crate::model::Time;

/// `ttl=SECONDS` or `expires=UNIX`, if one of them is asked for.
pub(crate) fn asked(question: Question<'_>, now: Time) -> Result<Option<Time>, Refusal> {
    checked((question.number("ttl", 1)?, question.number("expires", 0)?), now)
}

/// The end that a time to live in seconds, or a second since 1970, stands for.
pub(crate) fn checked(given: (Option<u64>, Option<u64>), now: Time) -> Result<Option<Time>, Refusal> {
    match given {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::invalid("give ttl or expires, not both")),
        (Some(seconds), None) => Ok(Some(now.plus(Duration::from_secs(seconds)))),
        (None, Some(second)) => {
            let end = Time::from_secs(i64::try_from(second).unwrap_or(i64::MAX));
            if end <= now {
                return Err(Refusal::invalid("expires lies in the past; it is in seconds since 1970"));
            }
            Ok(Some(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_lie_in_the_future() {
        let now = Time::from_secs(1000);
        let end = |q| asked(Question::new(Some(q)).unwrap(), now);
        assert_eq!(end("ttl=60").unwrap(), Some(Time::from_secs(1060)));
        assert_eq!(end("expires=1001").unwrap(), Some(Time::from_secs(1001)));
        assert_eq!(end("").unwrap(), None);
        assert!(end("ttl=99999999999999999999").unwrap().is_some());
        for bad in ["ttl=0", "ttl=-1", "ttl=x", "expires=1000", "expires=", "ttl=1&expires=2000"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }
}
