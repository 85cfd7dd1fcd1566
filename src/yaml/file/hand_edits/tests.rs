//! Files that a person edited, as states before and after.

use super::*;
use crate::yaml::format::parsed::{ParsedEntry, ParsedLine};
use crate::yaml::format::reader::Document;

fn line(key: &str, value: &str, updated: Option<&str>) -> ParsedLine {
    let mut parsed = ParsedEntry::text(value.to_owned());
    parsed.updated = updated.map(|time| time.parse().unwrap());
    ParsedLine { key: Key::new(key).unwrap(), parsed: Some(parsed), revision: None }
}

fn state(lines: Vec<ParsedLine>, origin: FileOrigin<'_>, modified: i64) -> (BucketState, bool) {
    let mut state = BucketState::default();
    let mut unstamped = Unstamped::default();
    state.apply(Document { lines, ..Document::default() }, &mut unstamped);
    let stamped = state.stamp(unstamped, origin, modified);
    (state, stamped)
}

#[test]
fn handwritten_entries_are_newest_in_file_order() {
    let old = "2026-11-20T12:00:00Z";
    let (state, stamped) =
        state(vec![line("b", "1", None), line("a", "2", None), line("c", "3", Some(old))], FileOrigin::Ours, 7);
    let revision = |key: &str| state.entries.get(key).unwrap().revision;
    assert!(stamped && revision("c") < revision("b") && revision("b") < revision("a"));
    assert_eq!(state.revision, revision("a"));
}

#[test]
fn handwritten_revisions_depend_on_file_and_previous_state() {
    let lines = |a: &str| vec![line("a", a, None), line("b", "2", None)];
    let (first, _) = state(lines("1"), FileOrigin::Ours, 7);
    let (edited, stamped) = state(lines("9"), FileOrigin::Edited(&first), 8_000_000_000);
    let entry = |state: &BucketState, key: &str| state.entries.get(key).unwrap();
    assert_eq!(entry(&edited, "b"), entry(&first, "b"), "it was not changed");
    assert!(stamped && entry(&edited, "a").revision > first.revision);
    let (again, _) = state(lines("9"), FileOrigin::Edited(&first), 8_000_000_000);
    assert_eq!(again.entries, edited.entries);
    let (unknown, _) = state(lines("9"), FileOrigin::Unknown, 8_000_000_000);
    assert!(unknown.entries.iter().all(|view| view.revision > first.revision && view.created == view.revision.time()));
}

#[test]
fn different_values_of_one_time_get_different_revisions() {
    let mut seen = std::collections::HashSet::new();
    for n in 0..200 {
        for modified in [i64::MIN, -1, 0, 1, 1_000_000_000] {
            let (state, _) = state(vec![line("a", &n.to_string(), None)], FileOrigin::Ours, modified);
            let revision = state.entries.iter().next().unwrap().revision;
            let least = revision_at(modified);
            assert!(revision > least && revision.number() - least.number() <= (1 << (DIGEST_BITS + 1)));
            seen.insert(revision);
        }
    }
    assert_eq!(seen.len(), 2 * 200, "times before 1970 count as its beginning, as does one a nanosecond later");
}

#[test]
fn value_changed_under_its_old_time_gets_a_new_revision() {
    let time = Some("2026-11-20T12:00:00Z");
    let (old, _) = state(vec![line("b", "2", time), line("c", "4", time)], FileOrigin::Ours, 7);
    let (new, stamped) =
        state(vec![line("b", "3", time), line("c", "4", time)], FileOrigin::Edited(&old), 9_999_999_999_999_999);
    assert!(stamped && new.entries.get("b").unwrap().revision > old.revision);
    assert_eq!(new.entries.get("c"), old.entries.get("c"));
}

#[test]
fn saving_an_old_text_keeps_later_writes() {
    let at = |n: u64| Revision::new(n * 1_000_000_000).time().to_string();
    let (before, _) = state(
        vec![line("a", "new", Some(&at(9))), line("b", "2", Some(&at(2))), line("c", "3", Some(&at(8)))],
        FileOrigin::Ours,
        7,
    );
    let lost = |lines: Vec<ParsedLine>, header_revision: u64| {
        let mut saved = BucketState::default();
        saved.apply(Document { lines, ..Document::default() }, &mut Unstamped::default());
        let lost = saved.overwritten(&before, Revision::new(header_revision * 1_000_000_000), Time::from_nanos(0));
        (lost.entries.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), lost.returned.len())
    };
    // The header shows up to which write the editor had read.
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
