//! Several mistakes in one file.

use proptest::prelude::*;

use super::{lines, mistakes, newlines, read, reported, split};
use crate::yaml::format::mistakes::RawDocument;
use crate::yaml::format::mistakes::lines::MAX_MISTAKES;

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "\
# a file with many mistakes
a: 1
hello world
b: \"open
c: \"fine
  over lines\"
d: x: y
e: |
  key: \"value
  {[@
f:
  value: \"open
  type: text/html
  expires: soon
g: {value: 1 type: text/html}
a: 2
h:
  - one
   two
i: fine
\tj: 1
k = 1
l: plain
  goes on here
m: {value: 1
n: {value: x,
    type: text/html}
o
";
    let reports = reported(text.as_bytes());
    let named: Vec<u64> = reports.iter().map(|(line, _)| *line).filter(|line| !(17..=19).contains(line)).collect();
    assert_eq!(named, [3, 4, 7, 12, 15, 16, 21, 22, 25, 28], "{reports:#?}");
}

#[test]
fn at_most_twenty_mistakes_are_reported() {
    let text = "hello world\n".repeat(50) + "a: 1\n";
    assert_eq!(lines(text.as_bytes()), (1..=20).collect::<Vec<u64>>());
    let bytes = b"a: \xff\n".repeat(50);
    assert_eq!(lines(&bytes), (1..=20).collect::<Vec<u64>>());
}

#[test]
fn mistake_in_one_entry_reports_no_other_entry() {
    for entry in VALID {
        for broken in ["hello world\n", "x: \"open\n", "x: {value: 1\n", "x: b: c\n", "x: 'it's'\n"] {
            let key = |n: usize| entry.replace("KEY", &format!("k{n}"));
            let above = newlines(key(1).as_bytes());
            let text = format!("{}{broken}{}", key(1), key(2));
            assert_eq!(lines(text.as_bytes()), [above + 1], "{text}: {:#?}", reported(text.as_bytes()));
        }
    }
}

#[test]
fn large_document_is_analysed_in_time() {
    let entries = |n: usize| (0..n).map(|n| format!("k{n}:\n  value: \"{n}\n    x\"\n")).collect::<String>();
    let started = std::time::Instant::now();
    assert_eq!(lines(format!("{}hello\n", entries(8_000)).as_bytes()), [24_001]);
    for text in ["a: \"x\n", "a: {\n", "a: [\n", "- ", "a: {[", "{\"a\": \"x\n", "  a: \"\n", "a:\n\t- x\n"] {
        assert!(!lines(text.repeat(2_000).as_bytes()).is_empty(), "{text:?}");
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    // In a longer one only the first mistake is reported, with its line quoted.
    let long = format!("{}hello\n{}b b\n", entries(1), "# long\n".repeat(200_000));
    let reports = reported(long.as_bytes());
    assert!(reports.len() == 1 && reports[0].1.contains('`'), "{reports:?}");
}

/// Entries in all forms that a person may write. None must be reported because of another.
const VALID: [&str; 14] = [
    "KEY: word\n",
    "KEY: \"two\n  \n  lines: x\"\n",
    "KEY: 'it''s: \n  \"odd'\n",
    "KEY: |\n  key: \"value\n\n  {[@ hello\n    - x\n",
    "KEY: >-\n   folded\n\n   text: '\n",
    "KEY:\n  value: \"x\n    y\"\n  type: text/html\n",
    "KEY:\n    # note\n    value: |\n      text: {\n    type: text/html\n\n",
    "KEY: {value: x,\n  type: text/html}\n",
    "KEY: {value: \"x\", updated: 2026-11-20T12:00:00Z}\n",
    "KEY: plain\n  goes on\n",
    "KEY: x # note: \"\n# another: {\n\n",
    "\"KEY\": 1\n",
    "? KEY\n: 1\n",
    "KEY: ~\n",
];

/// A line `KEY: word` with a mistake in it.
const BROKEN: [&str; 20] = [
    "KEY word",
    "KEY:word",
    "KEY = word",
    "KEY=word",
    "KEY：word",
    "KEY:\u{a0}word",
    "KEY: \"word",
    "KEY: 'word",
    "KEY: \"wo\"rd\"",
    "KEY: \"word\" x",
    "KEY: \"w\\ord\"",
    "KEY: @word",
    "KEY: *word",
    "KEY: word: x",
    "KEY: {value: word",
    "KEY: [word",
    "KEY: {value: word}}",
    "KEY: {value: word type: text/html}",
    "\"KEY: word",
    "KEY\0: word",
];

proptest! {
    #[test]
    fn exactly_the_broken_line_is_reported(
        kinds in proptest::collection::vec(0..VALID.len(), 0..8),
        at in 0_usize..9,
        kind in 0..BROKEN.len(),
        is_field in any::<bool>(),
        crlf in any::<bool>(),
    ) {
        let mut entries: Vec<String> =
            kinds.iter().enumerate().map(|(n, kind)| VALID[*kind].replace("KEY", &format!("k{n}"))).collect();
        let at = at.min(entries.len());
        let broken = if is_field {
            format!("x:\n  type: text/html\n  {}\n  value: x\n", BROKEN[kind].replace("KEY", "updated"))
        } else {
            format!("{}\n", BROKEN[kind].replace("KEY", "x"))
        };
        let line = newlines(entries[..at].concat().as_bytes()) + if is_field { 3 } else { 1 };
        entries.insert(at, broken);
        let mut text = entries.concat();
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        prop_assert_eq!(lines(text.as_bytes()), [line], "{}: {:#?}", text, reported(text.as_bytes()));
    }

    #[test]
    fn any_bytes_have_one_to_twenty_mistakes_in_line_order(
        bytes in any::<Vec<u8>>(),
        text in "[-.#?:{}\\[\\],~\"'|>&*!@%<=a-c \t\r\n\\\\\u{a0}：é\0]{0,80}",
        words in proptest::collection::vec(
            "(a|b|value|: |:|\n|\n  |\n    |\"|'|- |\\{|\\}|\\[|\\]|, |\t|#| # |\\|\n|x|1)",
            0..40,
        ),
        line in 1_u64..5,
    ) {
        for bytes in [bytes.as_slice(), text.as_bytes(), words.concat().as_bytes()] {
            let whole = RawDocument { text: bytes, line, start: 0, end: bytes.len(), ended: true };
            for raw in split(bytes).documents.into_iter().chain([whole]) {
                let Err(error) = read(&raw) else { continue };
                let reports = mistakes(&raw, error);
                prop_assert!((1..=MAX_MISTAKES).contains(&reports.len()));
                prop_assert!(reports.is_sorted_by(|a, b| a.line < b.line), "{:?}", reports);
                let last = raw.line + newlines(raw.text);
                prop_assert!(reports.iter().all(|error| (raw.line..=last).contains(&error.line)), "{:?}", reports);
                let is_one_line = |text: &str| !text.is_empty() && !text.contains('\n');
        prop_assert!(reports.iter().all(|error| is_one_line(&error.text)), "{:?}", reports);
            }
        }
    }
}
