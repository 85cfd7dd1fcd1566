//! The stored count of a client: the number of its wrong secrets, the end of its pause, and the marks of its last
//! secrets. Pure: no store, no clock.

use std::time::Duration;

use super::mark::Mark;
use crate::model::{Entry, Time};

/// The number of wrong secrets after which the first pause begins.
pub(crate) const FREE_WRONG_SECRETS: u32 = 5;
/// The longest pause, in seconds.
const MAX_PAUSE_SECONDS: u64 = 60;
/// After this time without a wrong secret the count starts again from zero.
pub(crate) const RESET_AFTER: Duration = Duration::from_secs(15 * 60);
/// After this time without a write the whole entry expires, with its marks.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// How many marks of wrong secrets are kept.
const MAX_WRONG_MARKS: usize = 16;
/// How many marks of right secrets are kept. So many devices, each with its own secret, can share one address.
const MAX_RIGHT_MARKS: usize = 256;

/// A count. Its stored form is `wrong=5 last=2026-11-20T12:00:00Z until=2026-11-20T12:00:01Z tried=0a1b2c,3d4e5f
/// right=99aabb`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    wrong: u32,
    /// The time of the last wrong secret.
    last: Time,
    until: Time,
    /// Marks of wrong secrets, the latest first.
    wrong_marks: Vec<Mark>,
    /// Marks of right secrets, the latest first.
    right_marks: Vec<Mark>,
}

impl Count {
    /// Parses a stored count. A field that cannot be parsed is ignored, because a person may have edited it.
    pub(crate) fn parse(entry: &Entry) -> Self {
        let text = String::from_utf8_lossy(&entry.value);
        let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let marks = |name: &str| field(name).into_iter().flat_map(|list| list.split(',')).filter_map(Mark::parse);
        Self {
            wrong: field("wrong").and_then(|t| t.parse().ok()).unwrap_or(0),
            last: field("last").and_then(|t| t.parse().ok()).unwrap_or(entry.updated()),
            until: field("until").and_then(|t| t.parse().ok()).unwrap_or_default(),
            wrong_marks: marks("tried").take(MAX_WRONG_MARKS).collect(),
            right_marks: marks("right").take(MAX_RIGHT_MARKS).collect(),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("wrong={}", self.wrong);
        for (name, time) in [("last", self.last), ("until", self.until)] {
            if time != Time::default() {
                text += &format!(" {name}={time}");
            }
        }
        for (name, marks) in [("tried", &self.wrong_marks), ("right", &self.right_marks)] {
            if !marks.is_empty() {
                let marks: Vec<_> = marks.iter().map(Mark::to_string).collect();
                text += &format!(" {name}={}", marks.join(","));
            }
        }
        text
    }

    /// When the entry expires if it is written now. Without a pause and without a right secret to remember, that is
    /// when the count starts again from zero.
    pub(crate) fn expires(&self, now: Time) -> Time {
        now.plus(if self.wrong < FREE_WRONG_SECRETS && self.right_marks.is_empty() { RESET_AFTER } else { RETENTION })
    }

    /// Whether the entry must be written again so that it does not expire while the client keeps sending a right
    /// secret.
    pub(crate) fn needs_refresh(entry: &Entry, now: Time) -> bool {
        now.since(entry.updated()) >= RETENTION / 2
    }

    pub(crate) fn wrong(&self) -> u32 {
        self.wrong
    }

    /// Whether there are no wrong secrets, or all are too old to count.
    pub(crate) fn is_reset(&self, now: Time) -> bool {
        self.wrong == 0 || now.since(self.last) >= RESET_AFTER
    }

    /// Seconds left of the pause, rounded up.
    pub(crate) fn pause(&self, now: Time) -> Option<u64> {
        let left = self.until.since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        (self.wrong >= FREE_WRONG_SECRETS && seconds > 0).then(|| seconds.min(pause_after(self.wrong)))
    }

    /// The count with its pause started again; `None` if that is not needed. It is needed if the clock was set back:
    /// then more of the pause is left than its whole length.
    pub(crate) fn with_restarted_pause(&self, now: Time) -> Option<Self> {
        let whole = Duration::from_secs(pause_after(self.wrong));
        let is_too_long = self.wrong >= FREE_WRONG_SECRETS && self.until.since(now) > whole;
        is_too_long.then(|| Self { last: now, until: now.plus(whole), ..self.clone() })
    }

    /// Whether a secret with this mark had the same result before.
    pub(crate) fn has_mark(&self, mark: Mark, is_right: bool) -> bool {
        if is_right { self.right_marks.contains(&mark) } else { self.wrong_marks.contains(&mark) }
    }

    /// The count after one more secret.
    pub(crate) fn with_secret(&self, mark: Mark, is_right: bool, now: Time) -> Self {
        let mut this = self.clone();
        let (marks, max_marks) =
            if is_right { (&mut this.right_marks, MAX_RIGHT_MARKS) } else { (&mut this.wrong_marks, MAX_WRONG_MARKS) };
        marks.insert(0, mark);
        marks.truncate(max_marks);
        if is_right {
            return this;
        }
        this.wrong = if self.is_reset(now) { 1 } else { self.wrong.saturating_add(1) };
        this.last = now;
        this.until = if this.wrong < FREE_WRONG_SECRETS {
            Time::default()
        } else {
            now.plus(Duration::from_secs(pause_after(this.wrong)))
        };
        this
    }
}

/// The pause after this number of wrong secrets, in seconds.
fn pause_after(wrong: u32) -> u64 {
    1_u64.checked_shl(wrong.saturating_sub(FREE_WRONG_SECRETS)).unwrap_or(MAX_PAUSE_SECONDS).clamp(1, MAX_PAUSE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Revision};

    fn entry(value: &str) -> Entry {
        Entry {
            value: value.to_owned().into(),
            content_type: ContentType::default(),
            revision: Revision::default(),
            created: Time::default(),
            modified: None,
            expires: None,
        }
    }

    fn mark(n: u32) -> Mark {
        Mark::parse(&format!("{n:06x}")).unwrap()
    }

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn count_is_the_same_after_it_is_stored() {
        let mut count = Count::default();
        for n in 0..20 {
            count = count.with_secret(mark(n), n % 3 == 0, at(n.into()));
            assert_eq!(Count::parse(&entry(&count.to_text())), count);
        }
        assert_eq!((count.wrong_marks.len(), count.right_marks.len(), count.wrong), (13, 7, 13));
        assert_eq!(Count::parse(&entry("hello wrong=x until=soon tried=1,zz")), Count::default());
        let old = Count::parse(&entry("wrong=7 until=2026-11-20T12:00:01Z"));
        assert_eq!((old.wrong, old.until), (7, "2026-11-20T12:00:01Z".parse().unwrap()));
    }

    #[test]
    fn only_the_latest_marks_are_kept() {
        let count = (0..30).fold(Count::default(), |count, n| count.with_secret(mark(n), false, at(0)));
        assert!((14..30).all(|n| count.has_mark(mark(n), false) && !count.has_mark(mark(n), true)));
        assert!(!count.has_mark(mark(13), false));
        // Many devices share one address, each with its own secret.
        let count = (0..300).fold(Count::default(), |count, n| count.with_secret(mark(n), true, at(0)));
        assert!((44..300).all(|n| count.has_mark(mark(n), true)) && !count.has_mark(mark(43), true));
    }

    #[test]
    fn pause_continues_when_the_clock_is_set_back() {
        let count = (0..8).fold(Count::default(), |count, n| count.with_secret(mark(n), false, at(0)));
        assert_eq!((count.pause(at(0)), count.pause(at(7)), count.pause(at(8))), (Some(8), Some(1), None));
        assert_eq!((count.with_restarted_pause(at(0)), count.with_restarted_pause(at(9))), (None, None));
        // An hour back: the pause starts again and lasts its full time.
        assert_eq!(count.pause(at(-3600)), Some(8));
        let back = count.with_restarted_pause(at(-3600)).unwrap();
        assert_eq!((back.pause(at(-3600)), back.pause(at(-3593)), back.pause(at(-3592))), (Some(8), Some(1), None));
        assert_eq!(back.with_secret(mark(9), false, at(-3592)).pause(at(-3592)), Some(16));
    }

    #[test]
    fn entry_is_kept_while_there_is_a_pause_or_a_right_secret() {
        let wrong = |times| (0..times).fold(Count::default(), |count, n| count.with_secret(mark(n), false, at(0)));
        assert_eq!(wrong(FREE_WRONG_SECRETS - 1).expires(at(0)), at(0).plus(RESET_AFTER));
        assert_eq!(wrong(FREE_WRONG_SECRETS).expires(at(0)), at(0).plus(RETENTION));
        assert_eq!(wrong(0).with_secret(mark(1), true, at(0)).expires(at(0)), at(0).plus(RETENTION));
    }

    #[test]
    fn count_restarts_after_a_quiet_time() {
        let count = (0..8).fold(Count::default(), |count, n| count.with_secret(mark(n), false, at(0)));
        assert!(!count.is_reset(at(899)) && count.is_reset(at(900)));
        let later = count.with_secret(mark(9), false, at(900));
        assert_eq!((later.wrong, later.pause(at(900)), later.has_mark(mark(3), false)), (1, None, true));
        assert!(Count::default().with_secret(mark(1), true, at(0)).is_reset(at(0)));
    }
}
