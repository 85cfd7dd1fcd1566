//! The stored count of a client: the number of its wrong secrets, the end of its pause, and the marks of the secrets
//! that it sent last. Pure: no store, no clock.

use std::time::Duration;

use super::mark::Mark;
use crate::model::{Entry, Time};

/// The number of wrong secrets after which the first pause begins.
pub(crate) const FREE: u32 = 5;
/// The longest pause, in seconds.
const LONGEST: u64 = 60;
/// After this time without a wrong secret the count starts again from zero.
pub(crate) const QUIET: Duration = Duration::from_secs(15 * 60);
/// After this time without a write the whole entry expires, including the marks.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// How many marks of wrong secrets are kept.
const TRIED: usize = 16;
/// How many marks of right secrets are kept. So many devices, each with its own secret, can share one address.
const RIGHT: usize = 256;

/// A count. Its stored form is `wrong=5 last=2026-11-20T12:00:00Z until=2026-11-20T12:00:01Z tried=0a1b2c,3d4e5f
/// right=99aabb`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    wrong: u32,
    /// The time of the last wrong secret.
    last: Time,
    until: Time,
    /// Marks of wrong secrets, the latest first.
    tried: Vec<Mark>,
    /// Marks of right secrets, the latest first.
    right: Vec<Mark>,
}

impl Count {
    /// Reads a stored count. A field that cannot be parsed is ignored, because a person may have edited it.
    pub(crate) fn stored(entry: &Entry) -> Self {
        let text = String::from_utf8_lossy(&entry.value);
        let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let marks = |name: &str| field(name).into_iter().flat_map(|list| list.split(',')).filter_map(Mark::read);
        Self {
            wrong: field("wrong").and_then(|t| t.parse().ok()).unwrap_or(0),
            last: field("last").and_then(|t| t.parse().ok()).unwrap_or(entry.updated()),
            until: field("until").and_then(|t| t.parse().ok()).unwrap_or_default(),
            tried: marks("tried").take(TRIED).collect(),
            right: marks("right").take(RIGHT).collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("wrong={}", self.wrong);
        for (name, time) in [("last", self.last), ("until", self.until)] {
            if time != Time::default() {
                text += &format!(" {name}={time}");
            }
        }
        for (name, marks) in [("tried", &self.tried), ("right", &self.right)] {
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
        now.plus(if self.wrong < FREE && self.right.is_empty() { QUIET } else { REMEMBERED })
    }

    /// Whether the entry must be written again, so that a client that keeps sending a right secret is not forgotten.
    pub(crate) fn is_old(entry: &Entry, now: Time) -> bool {
        now.since(entry.updated()) >= REMEMBERED / 2
    }

    pub(crate) fn wrong(&self) -> u32 {
        self.wrong
    }

    /// Whether there are no wrong secrets, or all are too old to count.
    pub(crate) fn is_forgotten(&self, now: Time) -> bool {
        self.wrong == 0 || now.since(self.last) >= QUIET
    }

    /// Seconds left of the pause, rounded up.
    pub(crate) fn pause(&self, now: Time) -> Option<u64> {
        let left = self.until.since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        (self.wrong >= FREE && seconds > 0).then(|| seconds.min(pause_after(self.wrong)))
    }

    /// The count with its pause started again, if more of the pause is left than its whole length: then the clock was
    /// set back.
    pub(crate) fn set_back(&self, now: Time) -> Option<Self> {
        let whole = Duration::from_secs(pause_after(self.wrong));
        let ahead = self.wrong >= FREE && self.until.since(now) > whole;
        ahead.then(|| Self { last: now, until: now.plus(whole), ..self.clone() })
    }

    /// Whether a secret with this mark had the same result before.
    pub(crate) fn knows(&self, mark: Mark, is_right: bool) -> bool {
        if is_right { self.right.contains(&mark) } else { self.tried.contains(&mark) }
    }

    /// The count after one more secret.
    pub(crate) fn and(&self, mark: Mark, is_right: bool, now: Time) -> Self {
        let mut this = self.clone();
        let (marks, most) = if is_right { (&mut this.right, RIGHT) } else { (&mut this.tried, TRIED) };
        marks.insert(0, mark);
        marks.truncate(most);
        if is_right {
            return this;
        }
        this.wrong = if self.is_forgotten(now) { 1 } else { self.wrong.saturating_add(1) };
        this.last = now;
        this.until =
            if this.wrong < FREE { Time::default() } else { now.plus(Duration::from_secs(pause_after(this.wrong))) };
        this
    }
}

/// The pause after this number of wrong secrets, in seconds.
fn pause_after(wrong: u32) -> u64 {
    1_u64.checked_shl(wrong.saturating_sub(FREE)).unwrap_or(LONGEST).clamp(1, LONGEST)
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
        Mark::read(&format!("{n:06x}")).unwrap()
    }

    fn at(seconds: i64) -> Time {
        Time::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_count_survives_being_stored() {
        let mut count = Count::default();
        for n in 0..20 {
            count = count.and(mark(n), n % 3 == 0, at(n.into()));
            assert_eq!(Count::stored(&entry(&count.text())), count);
        }
        assert_eq!((count.tried.len(), count.right.len(), count.wrong), (13, 7, 13));
        assert_eq!(Count::stored(&entry("hello wrong=x until=soon tried=1,zz")), Count::default());
        let old = Count::stored(&entry("wrong=7 until=2026-11-20T12:00:01Z"));
        assert_eq!((old.wrong, old.until), (7, "2026-11-20T12:00:01Z".parse().unwrap()));
    }

    #[test]
    fn only_the_latest_marks_are_kept() {
        let count = (0..30).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert!((14..30).all(|n| count.knows(mark(n), false) && !count.knows(mark(n), true)));
        assert!(!count.knows(mark(13), false));
        // Many devices behind one address, each with its own secret.
        let count = (0..300).fold(Count::default(), |count, n| count.and(mark(n), true, at(0)));
        assert!((44..300).all(|n| count.knows(mark(n), true)) && !count.knows(mark(43), true));
    }

    #[test]
    fn a_pause_holds_when_the_clock_is_set_back() {
        let count = (0..8).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert_eq!((count.pause(at(0)), count.pause(at(7)), count.pause(at(8))), (Some(8), Some(1), None));
        assert_eq!((count.set_back(at(0)), count.set_back(at(9))), (None, None));
        // An hour back: the pause starts again and lasts its full time.
        assert_eq!(count.pause(at(-3600)), Some(8));
        let back = count.set_back(at(-3600)).unwrap();
        assert_eq!((back.pause(at(-3600)), back.pause(at(-3593)), back.pause(at(-3592))), (Some(8), Some(1), None));
        assert_eq!(back.and(mark(9), false, at(-3592)).pause(at(-3592)), Some(16));
    }

    #[test]
    fn the_count_restarts_after_a_quiet_time() {
        let count = (0..8).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert!(!count.is_forgotten(at(899)) && count.is_forgotten(at(900)));
        let later = count.and(mark(9), false, at(900));
        assert_eq!((later.wrong, later.pause(at(900)), later.knows(mark(3), false)), (1, None, true));
        assert!(Count::default().and(mark(1), true, at(0)).is_forgotten(at(0)));
    }
}
