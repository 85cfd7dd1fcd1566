//! What the store remembers of a client: how many of its secrets were wrong, until when it is paused, and the marks of the
//! secrets that it sent last. Pure: no store, no clock.

use std::time::Duration;

use super::mark::Mark;
use crate::model::{Entry, Time};

/// Wrong secrets that are answered without a pause before them.
pub(super) const FREE: u32 = 5;
/// The longest pause, in seconds.
const LONGEST: u64 = 60;
/// After this time without a wrong secret their number is forgotten.
pub(super) const QUIET: Duration = Duration::from_secs(15 * 60);
/// After this time all is forgotten, the marks too, unless it is written again.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Marks of wrong secrets, the last ones.
const TRIED: usize = 16;
/// Marks of right ones: as many devices with secrets of their own may share one address.
const RIGHT: usize = 256;

/// As it is stored: `wrong=5 last=2026-11-20T12:00:00Z until=2026-11-20T12:00:01Z tried=0a1b2c,3d4e5f right=99aabb`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Count {
    wrong: u32,
    /// When the last wrong one came.
    last: Time,
    until: Time,
    /// Marks of wrong secrets, the last one first.
    tried: Vec<Mark>,
    /// Marks of right ones.
    right: Vec<Mark>,
}

impl Count {
    /// What is not understood counts as nothing: a person may have edited it.
    pub(super) fn stored(entry: &Entry) -> Self {
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

    pub(super) fn text(&self) -> String {
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

    /// When the entry ends, if it is written now. One that has neither a pause to hold nor a right secret to know again
    /// goes with its number.
    pub(super) fn expires(&self, now: Time) -> Time {
        now.plus(if self.wrong < FREE && self.right.is_empty() { QUIET } else { REMEMBERED })
    }

    /// Whether an entry is to be written again, so that a client that goes on sending a right secret stays known.
    pub(super) fn is_old(entry: &Entry, now: Time) -> bool {
        now.since(entry.updated()) >= REMEMBERED / 2
    }

    pub(super) fn wrong(&self) -> u32 {
        self.wrong
    }

    /// Whether its wrong secrets, if there were any, are too long ago to count.
    pub(super) fn is_forgotten(&self, now: Time) -> bool {
        self.wrong == 0 || now.since(self.last) >= QUIET
    }

    /// Seconds left of the pause, rounded up.
    pub(super) fn pause(&self, now: Time) -> Option<u64> {
        let left = self.until.since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        (self.wrong >= FREE && seconds > 0).then(|| seconds.min(pause_after(self.wrong)))
    }

    /// The same, paused from now on, if it says more than any pause lasts: the clock was set back since.
    pub(super) fn set_back(&self, now: Time) -> Option<Self> {
        let whole = Duration::from_secs(pause_after(self.wrong));
        let ahead = self.wrong >= FREE && self.until.since(now) > whole;
        ahead.then(|| Self { last: now, until: now.plus(whole), ..self.clone() })
    }

    /// Whether a secret with this mark was judged so before.
    pub(super) fn knows(&self, mark: Mark, is_right: bool) -> bool {
        if is_right { self.right.contains(&mark) } else { self.tried.contains(&mark) }
    }

    /// With one more secret, judged now.
    pub(super) fn and(&self, mark: Mark, is_right: bool, now: Time) -> Self {
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

/// The pause that the wrong secret of this number begins, in seconds.
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
    fn a_count_is_read_as_it_was_written() {
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
    fn the_last_marks_are_known() {
        let count = (0..30).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert!((14..30).all(|n| count.knows(mark(n), false) && !count.knows(mark(n), true)));
        assert!(!count.knows(mark(13), false));
        // A household of devices, each with a secret of its own.
        let count = (0..300).fold(Count::default(), |count, n| count.and(mark(n), true, at(0)));
        assert!((44..300).all(|n| count.knows(mark(n), true)) && !count.knows(mark(43), true));
    }

    #[test]
    fn a_pause_holds_when_the_clock_is_set_back() {
        let count = (0..8).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert_eq!((count.pause(at(0)), count.pause(at(7)), count.pause(at(8))), (Some(8), Some(1), None));
        assert_eq!((count.set_back(at(0)), count.set_back(at(9))), (None, None));
        // An hour back: it is paused, for as long as a pause of this number lasts.
        assert_eq!(count.pause(at(-3600)), Some(8));
        let back = count.set_back(at(-3600)).unwrap();
        assert_eq!((back.pause(at(-3600)), back.pause(at(-3593)), back.pause(at(-3592))), (Some(8), Some(1), None));
        assert_eq!(back.and(mark(9), false, at(-3592)).pause(at(-3592)), Some(16));
    }

    #[test]
    fn after_a_quiet_time_it_begins_anew() {
        let count = (0..8).fold(Count::default(), |count, n| count.and(mark(n), false, at(0)));
        assert!(!count.is_forgotten(at(899)) && count.is_forgotten(at(900)));
        let later = count.and(mark(9), false, at(900));
        assert_eq!((later.wrong, later.pause(at(900)), later.knows(mark(3), false)), (1, None, true));
        assert!(Count::default().and(mark(1), true, at(0)).is_forgotten(at(0)));
    }
}
