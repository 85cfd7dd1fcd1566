//! Whether to try again, and when. Nothing here waits or sends.

use std::time::Duration;

use super::settings::Bounds;

/// What came of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Trying again makes sense, not before that time if the receiver named one.
    Later {
        /// What went wrong.
        why: String,
        /// What the receiver asked for.
        after: Option<Duration>,
    },
    /// Trying again would end the same way.
    Never {
        /// What went wrong.
        why: String,
    },
}

impl Verdict {
    /// Of an answer that is no success: 5xx, 429, 408 and 425 may change, others will not.
    pub(super) fn of_failure(status: u16, after: Option<Duration>) -> Self {
        let why = format!("it answered {status}");
        match status {
            408 | 425 | 429 | 500..=599 => Self::Later { why, after },
            _ => Self::Never { why },
        }
    }
}

/// How long to wait after that many tries: twice as long from try to try, and by chance between a half and the whole of
/// it, so that those who failed together do not come again together. Never less than the receiver asked for. None: no more tries.
pub(super) fn pause(
    bounds: &Bounds,
    (tries, age): (u32, Duration),
    asked: Option<Duration>,
    chance: u16,
) -> Option<Duration> {
    if tries >= bounds.tries {
        return None;
    }
    let doublings = tries.saturating_sub(1).min(30);
    let whole = bounds.first_pause.saturating_mul(1 << doublings).min(bounds.longest_pause);
    let some = whole / 2 + (whole / 2).mul_f64(f64::from(chance) / f64::from(u16::MAX));
    let pause = some.max(asked.unwrap_or_default());
    (age.saturating_add(pause) <= bounds.age).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            tries: 20,
            age: Duration::from_secs(100),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(10),
            ..Bounds::default()
        }
    }

    fn millis(tries: u32, age: u64, asked: Option<u64>, chance: u16) -> Option<u128> {
        let asked = asked.map(Duration::from_secs);
        pause(&bounds(), (tries, Duration::from_secs(age)), asked, chance).map(|pause| pause.as_millis())
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let highest: Vec<_> = (1..7).map(|tries| millis(tries, 0, None, u16::MAX).unwrap()).collect();
        assert_eq!(highest, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        let lowest: Vec<_> = (1..5).map(|tries| millis(tries, 0, None, 0).unwrap()).collect();
        assert_eq!(lowest, [500, 1000, 2000, 4000]);
    }

    #[test]
    fn the_receiver_may_ask_for_longer_but_not_for_shorter() {
        assert_eq!(millis(1, 0, Some(60), 0), Some(60_000));
        assert_eq!(millis(4, 0, Some(1), 0), Some(4000));
    }

    #[test]
    fn tries_and_age_are_bounded() {
        assert_eq!(millis(20, 0, None, 0), None);
        assert!(millis(19, 0, None, 0).is_some());
        assert_eq!(millis(1, 100, None, 0), None);
        assert_eq!(millis(1, 10, Some(91), 0), None);
        assert!(millis(u32::MAX - 1, 0, None, 0).is_none());
    }

    #[test]
    fn what_may_change_is_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(Verdict::of_failure(status, None), Verdict::Later { .. }), "{status}");
        }
        for status in [300, 301, 307, 400, 401, 403, 404, 410, 413, 422] {
            assert!(matches!(Verdict::of_failure(status, None), Verdict::Never { .. }), "{status}");
        }
    }
}
