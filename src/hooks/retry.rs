//! Decides whether and when a request is sent again. This file neither waits nor sends.

use std::time::Duration;

use super::settings::DeliveryLimits;

/// The result of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DeliveryResult {
    /// The receiver has accepted the items.
    Delivered,
    /// Another attempt may succeed, but not before the time that the receiver asked for.
    RetryLater { why: String, retry_after: Option<Duration> },
    /// Another attempt would fail too.
    GiveUp { why: String },
}

impl DeliveryResult {
    /// The result for a status that is not a success. 5xx, 429, 408 and 425 may be temporary, others are not.
    pub(crate) fn from_error_status(status: u16, retry_after: Option<Duration>) -> Self {
        let why = format!("the receiver responded with status {status}");
        match status {
            408 | 425 | 429 | 500..=599 => Self::RetryLater { why, retry_after },
            _ => Self::GiveUp { why },
        }
    }
}

/// The pause after that many attempts; `None`: no more attempts.
///
/// The pause doubles with each attempt. `jitter` shortens it by up to a half, so that requests which failed together
/// are not sent again together. It is never shorter than `retry_after`. `age` is the age of the oldest item.
pub(crate) fn backoff(
    limits: &DeliveryLimits,
    attempts: u32,
    age: Duration,
    retry_after: Option<Duration>,
    jitter: u16,
) -> Option<Duration> {
    if attempts >= limits.max_attempts {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(30);
    let max_pause = limits.initial_backoff.saturating_mul(1 << doublings).min(limits.max_backoff);
    let jittered = max_pause / 2 + (max_pause / 2).mul_f64(f64::from(jitter) / f64::from(u16::MAX));
    let pause = jittered.max(retry_after.unwrap_or_default());
    (age.saturating_add(pause) <= limits.max_age).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> DeliveryLimits {
        DeliveryLimits {
            max_attempts: 20,
            max_age: Duration::from_secs(100),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
            ..DeliveryLimits::default()
        }
    }

    fn millis(attempts: u32, age: u64, retry_after: Option<u64>, jitter: u16) -> Option<u128> {
        let retry_after = retry_after.map(Duration::from_secs);
        backoff(&limits(), attempts, Duration::from_secs(age), retry_after, jitter).map(|pause| pause.as_millis())
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_jitter_halves_them() {
        let highest: Vec<_> = (1..7).map(|attempts| millis(attempts, 0, None, u16::MAX).unwrap()).collect();
        assert_eq!(highest, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        let lowest: Vec<_> = (1..5).map(|attempts| millis(attempts, 0, None, 0).unwrap()).collect();
        assert_eq!(lowest, [500, 1000, 2000, 4000]);
    }

    #[test]
    fn retry_after_can_make_the_pause_longer_but_not_shorter() {
        assert_eq!(millis(1, 0, Some(60), 0), Some(60_000));
        assert_eq!(millis(4, 0, Some(1), 0), Some(4000));
    }

    #[test]
    fn attempts_and_age_are_limited() {
        assert_eq!(millis(20, 0, None, 0), None);
        assert!(millis(19, 0, None, 0).is_some());
        assert_eq!(millis(1, 100, None, 0), None);
        assert_eq!(millis(1, 10, Some(91), 0), None);
        assert!(millis(u32::MAX - 1, 0, None, 0).is_none());
    }

    #[test]
    fn only_temporary_failures_are_retried() {
        let result = |status| DeliveryResult::from_error_status(status, None);
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(result(status), DeliveryResult::RetryLater { .. }), "{status}");
        }
        for status in [300, 301, 307, 400, 401, 403, 404, 410, 413, 422] {
            assert!(matches!(result(status), DeliveryResult::GiveUp { .. }), "{status}");
        }
    }
}
