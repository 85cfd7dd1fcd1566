//! Files that a person edited, as images before and after.

use super::super::line::{Given, Line};
use super::*;

fn line(key: &str, value: &str, updated: Option<&str>) -> Line {
    let mut given = Given::text(value.to_owned());
    given.updated = updated.map(|time| time.parse().unwrap());
    Line { key: Key::new(key).unwrap(), given: Some(given), revision: None }
}

fn image(lines: Vec<Line>, origin: Origin<'_>, modified: i64) -> (Image, bool) {
    let mut image = Image::default();
    let mut unstamped = Unstamped::default();
    image.take(lines, &mut unstamped);
    let stamped = image.stamp(unstamped, origin, modified);
    (image, stamped)
}

#[test]
fn what_a_person_wrote_is_newest_in_its_order() {
    let old = "2026-11-20T12:00:00Z";
    let (image, stamped) =
        image(vec![line("b", "1", None), line("a", "2", None), line("c", "3", Some(old))], Origin::Ours, 7);
    let revision = |key: &str| image.entries.get(key).unwrap().revision;
    assert!(stamped && revision("c") < revision("b") && revision("b") < revision("a"));
    assert_eq!(image.revision, revision("a"));
}

#[test]
fn the_file_and_the_state_before_say_what_revision_an_entry_by_hand_has() {
    let lines = |a: &str| vec![line("a", a, None), line("b", "2", None)];
    let (first, _) = image(lines("1"), Origin::Ours, 7);
    let (edited, stamped) = image(lines("9"), Origin::Edited(&first), 8_000_000_000);
    let entry = |image: &Image, key: &str| image.entries.get(key).unwrap().clone();
    assert_eq!(entry(&edited, "b"), entry(&first, "b"), "it was not changed");
    assert!(stamped && entry(&edited, "a").revision > first.revision);
    let (again, _) = image(lines("9"), Origin::Edited(&first), 8_000_000_000);
    assert_eq!(again.entries, edited.entries);
    let (unknown, _) = image(lines("9"), Origin::Unknown, 8_000_000_000);
    assert!(unknown.entries.values().all(|entry| entry.revision > first.revision && entry.created == entry.updated()));
}

#[test]
fn two_values_have_two_revisions_also_with_one_time_of_change() {
    let mut seen = std::collections::HashSet::new();
    for n in 0..200 {
        for modified in [i64::MIN, -1, 0, 1, 1_000_000_000] {
            let (image, _) = image(vec![line("a", &n.to_string(), None)], Origin::Ours, modified);
            let revision = image.entries.values().next().unwrap().revision;
            let least = revision_at(modified);
            assert!(revision > least && revision.number() - least.number() <= (1 << (DIGEST_BITS + 1)));
            seen.insert(revision);
        }
    }
    assert_eq!(seen.len(), 2 * 200, "times before 1970 count as its beginning, as does one a nanosecond later");
}

#[test]
fn a_value_changed_under_its_old_time_gets_a_new_revision() {
    let time = Some("2026-11-20T12:00:00Z");
    let (old, _) = image(vec![line("b", "2", time), line("c", "4", time)], Origin::Ours, 7);
    let (new, stamped) =
        image(vec![line("b", "3", time), line("c", "4", time)], Origin::Edited(&old), 9_999_999_999_999_999);
    assert!(stamped && new.entries.get("b").unwrap().revision > old.revision);
    assert_eq!(new.entries.get("c"), old.entries.get("c"));
}

#[test]
fn an_old_text_that_is_saved_loses_no_later_write() {
    let at = |n: u64| Revision::new(n * 1_000_000_000).time().to_string();
    let (before, _) = image(
        vec![line("a", "new", Some(&at(9))), line("b", "2", Some(&at(2))), line("c", "3", Some(&at(8)))],
        Origin::Ours,
        7,
    );
    let lost = |lines: Vec<Line>, told: u64| {
        let mut saved = Image::default();
        saved.take(lines, &mut Unstamped::default());
        let lost = saved.overwritten(&before, Revision::new(told * 1_000_000_000), Time::from_nanos(0));
        (lost.entries.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), lost.returned.len())
    };
    // The header says up to when the editor had read.
    assert_eq!(lost(vec![line("b", "2", Some(&at(2)))], 5).0, ["a", "c"]);
    assert_eq!(lost(vec![line("a", "old", Some(&at(1))), line("c", "3", Some(&at(8)))], 5).0, ["a"]);
    assert_eq!(lost(vec![line("a", "old", Some(&at(1)))], 0).0, ["a", "b", "c"], "it is not known what was read");
    // What had been read was removed, or changed, on purpose.
    assert!(lost(vec![line("a", "new", Some(&at(9)))], 0).0.is_empty());
    assert!(lost(vec![], 9).0.is_empty());
    assert!(lost(vec![line("a", "mine", Some(&at(9)))], 0).0.is_empty());
    // A key that had been deleted since is back.
    assert_eq!(lost(vec![line("d", "4", Some(&at(3)))], 5), (vec!["a".into(), "c".into()], 1));
}
