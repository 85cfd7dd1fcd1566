//! The positions of entries and comments in a text.

use std::ops::Range;

use proptest::prelude::*;

use crate::yaml::format::handwritten::{Placed, layout, read};

/// The key, the text of its lines and its comments, of every entry.
fn places(text: &str) -> Vec<(String, &str, Vec<&str>)> {
    let entries = layout(text, 1).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    let place = |placed: Placed| {
        let comments = placed.comments.iter().map(|comment| &text[comment.clone()]).collect();
        (placed.line.key.as_str().to_owned(), &text[placed.lines], comments)
    };
    entries.into_iter().map(place).collect()
}

#[test]
fn hash_within_a_text_is_not_a_comment() {
    for lines in [
        "a: a#b\n",
        "a: \"x # y\"\n",
        "a: 'it''s # y'\n",
        "a: \"\\\" # x\"\n",
        "a: \"x\n  # y\"\n",
        "a: |\n  x # y\n  # z\n\n  # z\n",
        "a: |\n # y\n  # z\n",
        "a: >-\n  # x\n",
        "a: |1\n  # x\n # x\n",
        "a: |+\n  # x\n\n\n",
        "a: |+\n\n",
        "a: [\"#\", '#', a#b, { \"#\": 1 }]\n",
        "? \"#\"\n: \"#\"\n",
        "? |\n  # a\n: 1\n",
        "\"#\": 1\n",
        "a:\n  - |\n    # x\n  - \"#\"\n",
    ] {
        let text = format!("\n# before\n{lines}b: 1");
        match read(&text, 1) {
            Ok(_) => assert_eq!(places(&text)[0].1..places(&text)[0].1, lines..lines, "{text:?}"),
            // No key has a line feed.
            Err(error) => assert!(error.text.contains("control"), "{text:?}: {error:?}"),
        }
        assert!(layout(&text, 1).is_err() || places(&text).iter().all(|place| place.2.is_empty()), "{text:?}");
    }
}

#[test]
fn closing_bracket_is_found_after_a_comma() {
    for lines in ["a: {b: 1, # c\n  # }\n  }\n", "a: [1,\n  ]\n", "a: {b\n  , # c\n\n  }\n"] {
        assert_eq!(places(&format!("{lines}# d\nb: 1\n"))[0].1, lines);
    }
    assert_eq!(layout("{a: 1,\n b, # c\n}\n", 1).unwrap()[0].lines, 0..17);
}

#[test]
fn entries_of_a_flow_mapping_share_its_lines() {
    let text = "# x\n--- {a: 1, # one\n \"b\":[2], # two\n c: {value: x}} # all\n\n# y\n";
    let entries = layout(text, 1).unwrap();
    for (entry, comment) in entries.iter().zip(["# one", "# two", "# all"]) {
        assert!(!entry.block && entry.indent == 4);
        assert_eq!(&text[entry.lines.clone()], "--- {a: 1, # one\n \"b\":[2], # two\n c: {value: x}} # all\n");
        let comments: Vec<_> = entry.comments.iter().map(|comment| &text[comment.clone()]).collect();
        assert_eq!(comments, [comment]);
    }
    assert_eq!(entries.len(), 3);
}

/// Entries with the key `K`, their comments between `«` and `»`.
const ENTRIES: [&str; 34] = [
    "K: 1\n",
    "K: 1 «# ü»\n",
    "K: a#b\t«# c # d»\n",
    "K:\n",
    "K: ~ «#»\n",
    "K: «# c»\n",
    "K: «# c»\n  «# d»\n\n  x\n",
    "K: x\n  y#z\n\n  日本 «# c»\n",
    "K: \"x # y\" «# c»\n",
    "K: \"x\\\" # é\n  # y\n\n  z\" «# c»\n",
    "K: 'it''s # x'\n",
    "K: 'x\n  # y' «# c»\n",
    "\"K\" : 1\n",
    "'K': 'x'\n",
    "K: |\n  x\n\n  # y\n   # z\n",
    "K: | «# c»\n  # x\n",
    "K: >- «# c \"»\n  x\n  y\n",
    "K: |+\n  # x\n\n \n",
    "K: >+2 «# c»\n   x\n\n",
    "K: |+ «# c»\n\n\n",
    "K: |-2\n    x\n  # y\n",
    "K: |2-\n  \n  x\n",
    "K: [1, 2] «# c»\n",
    "K: [1, «# one»\n  \"#\", «# two»\n  «# three»\n  {x: |, y}] «# c»\n",
    "K: {value: \"#\", type: a/b} «# c»\n",
    "K: «# h»\n  «# i»\n  value: x «# j»\n  «# k»\n\n  type: a/b\n",
    "K: «# h»\n  json: «# i»\n    - |\n      # x\n\n    «# j»\n    - b: 'c' «# k»\n",
    "K:\n  - 1 «# c»\n  -\n  «# d»\n  - x:\n    y: «# e»\n      - - z\n        -\n",
    "K:\n- 1\n- |\n # x\n-\n",
    "? K\n: 1 «# c»\n",
    "? K «# a»\n«# b»\n: «# c»\n  x\n",
    "? «# a»\n  \"K\"\n:\n",
    "? K «# ? :»\n",
    "K:\t{\"x\":[1,{\"y\":\t\"#\"}]}\t«# c»\n",
];

/// What may be between entries. Deeper comments would belong to a block before them.
const BETWEEN: [&str; 7] = ["", "\n", "# c\n", " # c: |\n", "\n\n# c\n \n", " \n# ? k\n\n", "# \"é\n # {\n"];

/// What may come before the first entry.
const BEFORE: [&str; 6] = ["", "\u{feff}", "---\n", "%YAML 1.2\n# c\n---\n", "--- # c\n", "\u{feff}# c\n\n---\n"];

/// A text, with the lines and the comments of each of its entries.
type Built = (String, Vec<(Range<usize>, Vec<Range<usize>>)>);

fn build(before: usize, pieces: &[(usize, usize)], indent: usize, line_end: &str, whole: bool) -> Built {
    let shift = |text: &str| {
        let shifted = |line: &str| if line.trim().is_empty() { line.to_owned() } else { " ".repeat(indent) + line };
        let lines: Vec<String> = text.split('\n').map(shifted).collect();
        lines.join(line_end)
    };
    let mut text = BEFORE[before].replace('\n', line_end);
    let mut places = Vec::new();
    for (n, &(entry, between)) in pieces.iter().enumerate() {
        let start = text.len();
        let mut comments = Vec::new();
        for part in shift(&ENTRIES[entry].replace('K', &format!("k{n}ä"))).split('«') {
            let (comment, rest) = part.split_once('»').unwrap_or(("", part));
            if !comment.is_empty() {
                comments.push(text.len()..text.len() + comment.len());
            }
            text += comment;
            text += rest;
        }
        places.push((start..text.len(), comments));
        let kept = ENTRIES[entry].contains('+');
        let between = BETWEEN[between].trim_start_matches(|c: char| kept && matches!(c, ' ' | '\n'));
        text += &shift(between);
    }
    if !whole && pieces.last().is_some_and(|last| !ENTRIES[last.0].contains('+')) {
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        if let Some((lines, _)) = places.last_mut() {
            lines.end = lines.end.min(text.len());
        }
    }
    (text, places)
}

/// Texts of typical parts of YAML, in any order.
fn soups() -> impl Strategy<Value = String> {
    const PARTS: [&str; 37] = [
        "a", "b", "c", ": ", ":", "\n", "\n", "\n", "\n  ", "\n  ", "\n    ", " ", "- ", "-", "# x", " # y", "|\n  ",
        "|+\n", ">-\n  ", "|2", "\"", "'", "{", "}", "[", "]", ", ", "? ", "\r\n", "\r", "---\n", "é", "\u{feff}", "~",
        "a: ", "\nb: ", "\nc: ",
    ];
    proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..24).prop_map(|parts| parts.concat())
}

fn lines_and_givens(text: &str) -> Vec<crate::yaml::format::handwritten::ParsedLine> {
    layout(text, 1)
        .unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
        .into_iter()
        .map(|placed| placed.line)
        .collect()
}

fn begins_a_line(text: &str, at: usize) -> bool {
    let before = &text[..at];
    before.is_empty()
        || before == "\u{feff}"
        || before.ends_with('\n')
        || before.ends_with('\r') && !text[at..].starts_with('\n')
}

fn without(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut rest = String::new();
    let mut at = 0;
    for range in ranges {
        rest += &text[at..range.start];
        at = range.end;
    }
    rest + &text[at..]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_entry_is_found_where_it_was_put(
        before in 0..BEFORE.len(),
        pieces in proptest::collection::vec((0..ENTRIES.len(), 0..BETWEEN.len()), 1..6),
        indent in 0..4_usize,
        line_end in proptest::sample::select(&["\n", "\n", "\r\n", "\r"][..]),
        whole in any::<bool>(),
    ) {
        let (text, places) = build(before, &pieces, indent, line_end, whole);
        let entries = layout(&text, 1).map_err(|error| TestCaseError::fail(format!("{error:?} in {text:?}")))?;
        prop_assert_eq!(entries.len(), places.len());
        for (n, (entry, (lines, comments))) in entries.iter().zip(&places).enumerate() {
            prop_assert_eq!(entry.line.key.as_str(), format!("k{n}ä"));
            prop_assert_eq!(&text[entry.lines.clone()], &text[lines.clone()], "{:?}", text);
            prop_assert_eq!((&entry.lines, &entry.comments), (lines, comments), "{:?}", text);
            prop_assert_eq!((entry.indent, entry.block), (indent, true));
        }
    }

    #[test]
    fn text_outside_all_entries_has_no_entries(text in soups()) {
        let Ok(lines) = read(&text, 1) else { return Ok(()) };
        let entries = layout(&text, 1).unwrap();
        prop_assert_eq!(lines.iter().map(|(line, _)| line.clone()).collect::<Vec<_>>(), lines_and_givens(&text));
        let mut at = 0;
        for entry in &entries {
            let Range { start, end } = entry.lines.clone();
            prop_assert!(begins_a_line(&text, start) && (begins_a_line(&text, end) || end == text.len()), "{:?}", text);
            prop_assert!(start < end && (at <= start || !entry.block), "{:?}", text);
            at = end;
            for comment in &entry.comments {
                prop_assert!(start <= comment.start && comment.end <= end && text[comment.clone()].starts_with('#'));
                prop_assert!(!text[comment.clone()].contains(['\n', '\r']));
            }
            if entry.block {
                let own = &text[entry.lines.clone()];
                prop_assert_eq!(lines_and_givens(own), [entry.line.clone()], "{:?} in {:?}", own, text);
                let first = own.trim_start_matches(' ');
                prop_assert_eq!(own.len() - first.len(), entry.indent);
            }
        }
        let Some(first) = entries.first() else { return Ok(()) };
        let block = first.block;
        let comments = entries.iter().flat_map(|entry| entry.comments.clone());
        prop_assert_eq!(lines_and_givens(&without(&text, comments)), lines_and_givens(&text), "{:?}", text);
        let taken = entries.iter().take(if block { usize::MAX } else { 1 }).map(|entry| entry.lines.clone());
        prop_assert_eq!(lines_and_givens(&without(&text, taken)), [], "{:?}", text);
    }
}
