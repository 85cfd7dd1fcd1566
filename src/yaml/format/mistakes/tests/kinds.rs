//! A table: a text, the lines to be reported, and a word of the report.

use super::reported;

type Case = (&'static str, &'static [u64], &'static str);

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (text, lines, word) in cases {
        let reports = reported(text.as_bytes());
        let named: Vec<u64> = reports.iter().map(|(line, _)| *line).collect();
        if named != *lines || !reports.iter().any(|(_, text)| text.contains(word)) {
            wrong.push(format!("{text:?}: wanted {lines:?} and {word:?}, got {reports:#?}"));
        }
        for (line, what) in &reports {
            // The line is quoted, unless nothing in it is visible.
            let quoted = text.lines().nth(usize::try_from(*line).unwrap() - 1).unwrap_or_default().trim();
            let head: String = quoted.chars().take_while(|c| c.is_ascii_graphic() || *c == ' ').take(20).collect();
            if !what.contains(head.trim()) || quoted.len() < 40 && !what.contains('`') {
                wrong.push(format!("{text:?}: does not quote line {line}: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_in_keys_and_colons_are_reported() {
    check(&[
        ("a: 1\nhello world\nb: 2\n", &[2], "write `key: value`"),
        ("hello world\n", &[1], "no colon"),
        ("a: 1\nkey\n", &[2], "no colon"),
        ("a: 1\nkey", &[2], "no colon"),
        ("~\n...\nb: 1\nhello\n", &[4], "no colon"),
        ("a:1\nb: 2\n", &[1], "write `a: 1`"),
        ("b: 2\nhttp://example.org/x\n", &[2], "write `key: http://example.org/x`"),
        ("b: 2\n\"a\":1\n", &[2], "no colon and space"),
        ("a = 1\nb: 2\n", &[1], "write `a: 1`"),
        ("b: 2\nurl=http://x\n", &[2], "write `url: http://x`"),
        ("b: 2\n\"a\" = 1\n", &[2], "write `\"a\": 1`"),
        ("b: 2\n; note\n", &[2], "begin a comment with `#`"),
        ("b: 2\n// note\nc: 3\n", &[2], "begin a comment with `#`"),
        ("b: 2\n[section]\nc: 3\n", &[2], "no key"),
        ("b: 2\n-----\nc: 3\n", &[2], "---"),
        ("- a\n", &[1], "list"),
        ("- a\n- b\n- c\n", &[1], "list"),
        ("a: 1\n- b\n", &[2], "list"),
        ("a: 1\n: 1\n", &[2], "key is missing"),
        ("a: 1\n\"\": 1\n", &[2], "bad key"),
        ("a: 1\n..: 1\n", &[2], "cannot be"),
        ("a: 1\n.: 1\n", &[2], "cannot be"),
        ("a: 1\n\"x\\u0007y\": 1\n", &[2], "control"),
        ("a: 1\n<<: {value: 2}\n", &[2], "merge key"),
        ("a: 1\n<<: *b\n", &[2], "merge key"),
        ("a: 1\n@b: 2\n", &[2], "put the key in quotes"),
        ("a: 1\n*b: 2\n", &[2], "`\"*b\": 2`"),
        ("a: 1\nb: 2\na: 3\n", &[3], "line 1"),
        ("a: 1\n\"a\": {value: 3}\nb: 1\na: 4\n", &[2, 4], "twice"),
        ("a: 1\n\"b: 2\nc: 3\n", &[2], "not closed"),
        ("a: 1\n'b: 2\nc: 3\n", &[2], "not closed"),
        ("%x\na: 1\n", &[1], "directive"),
        ("a: 1\n}\nb: 2\n", &[2], "closes nothing"),
    ]);
    let long = "k".repeat(1025);
    let reports = reported(format!("a: 1\n{long}: 1\n").as_bytes());
    assert!(reports.len() == 1 && reports[0].0 == 2 && reports[0].1.contains("1024"), "{reports:?}");
    assert!(reports[0].1.len() < 200, "shortened: {reports:?}");
}

#[test]
fn mistakes_in_indentation_are_reported() {
    check(&[
        ("a:\n\tvalue: 1\n", &[2], "tab"),
        ("a:\n  value: 1\n\tupdated: 2026-11-20T12:00:00Z\nb: 1\n", &[3], "tab"),
        ("a: 1\n\tb: 2\nc: 3\n", &[2], "tab"),
        ("\ta: 1\nb: 2\n", &[1], "tab"),
        ("a: 1\n  b: 2\nc: 3\n", &[2], "remove the spaces"),
        ("a: 1\n b: 2\n c: 3\nd: 4\n", &[2, 3], "indented more"),
        ("  a: 1\nb: 2\nc: 3\n", &[1], "remove the spaces"),
        ("  a: 1\n  b: 2\nc: 3\n", &[3], "2 spaces"),
        ("a:\n  value: 1\n   updated: 2026-11-20T12:00:00Z\n", &[3], "2 spaces"),
        ("a:\n  value: 1\n updated: 2026-11-20T12:00:00Z\n  type: text/html\n", &[3], "2 spaces"),
        ("a:\n    value: 1\n  updated: 2026-11-20T12:00:00Z\n  type: text/html\n", &[2], "2 spaces"),
        ("a: \"x\"\n  b: 2\n", &[2], "indented"),
        ("a: {value: 1}\n  b: 2\n", &[2], "indented"),
        ("a: |\nfirst line\nsecond line\nb: 1\n", &[2], "not indented"),
        ("a: |\n    x\n  y\nb: 1\n", &[3], "4 spaces"),
        ("a: |\n     \n  y\nb: 1\n", &[2], "more spaces"),
        ("a: x # note\n  y\nb: 1\n", &[2], "comment"),
        ("a:\n  value: \"x\n  y\"\nb: 1\n", &[3], "more spaces"),
        ("a: {\n\"value\": 1\n}\nb: 1\n", &[2], "spaces"),
    ]);
}

#[test]
fn mistakes_in_quotes_are_reported() {
    check(&[
        ("a: \"open\nb: 1\n", &[1], "not closed"),
        ("a: \"open\nb: \"x\"\nc: 1\n", &[1], "not closed"),
        ("x: 1\na: 'open\nb: 'x'\nc: 1\n", &[2], "not closed"),
        ("a: \"open\n\n\nb: 1\nc: \"2\"\nhello\n", &[1, 6], "not closed"),
        ("a:\n  value: \"open\n  type: \"text/html\"\nb: 1\n", &[2], "not closed"),
        ("a: \"open\n", &[1], "not closed"),
        ("a: \"C:\\\"\nb: \"x\"\n", &[1], "backslash"),
        ("a: \"21.5\" C\nb: 1\n", &[1], "`a: \"21.5 C\"`"),
        ("a: \"say \"hi\"\"\nb: 1\n", &[1], "`a: 'say \"hi\"'`"),
        ("a: 'it's'\nb: 1\n", &[1], "`a: 'it''s'`"),
        ("a: \"x\n  y\" z\nb: 1\n", &[2], "after a closing quote"),
        ("\"a\": \"x\",\n\"b\": \"y\"\n", &[1], "ends with a comma"),
        ("a: \"x\"# note\nb: 1\n", &[1], "space before"),
        ("b: 1\na: \"C:\\Users\"\n", &[2], "single quotes"),
        ("b: 1\na: \"\\d+\"\n", &[2], "double the backslash"),
        ("a: \"x\n  \\q\"\nb: 1\n", &[2], "`\\q`"),
        ("b: 1\na: {value: \"\\d+\"}\n", &[2], "backslash"),
        ("b: 1\na: {value: \"x, type: y}\nc: \"1\"\n", &[2], "not closed"),
        ("b: 1\na: “x: y”\n", &[2], "typographic"),
        ("b: 1\na: {value: 1, “typ”: x}\n", &[2], "did you mean `type`"),
    ]);
}

#[test]
fn mistakes_in_brackets_are_reported() {
    check(&[
        ("a: {value: 1\nb: 2\n", &[1], "not closed"),
        ("a: [1, 2\nb: 3\n", &[1], "`[`"),
        ("b: 1\na: {value: 1,\nc: {value: 2}\n", &[2], "not closed"),
        ("a: {value: 1}}\nb: 2\n", &[1], "too many"),
        ("a: [1, 2]]\nb: 2\n", &[1], "`]` too many"),
        ("a: ]\nb: 2\n", &[1], "in quotes"),
        ("a: {value: [1, 2}\nb: 2\n", &[1], "not closed"),
        ("a: {value: 1 updated: 2026-11-20T12:00:00Z}\nb: 2\n", &[1], "comma"),
        ("a: {\n  value: 1\n  type: text/html\n  }\nb: 2\n", &[2], "comma"),
        ("a: {\n  value: \"1\"\n  type: text/html\n  }\nb: 2\n", &[2], "comma"),
        ("a: {value: 1,, type: x}\nb: 2\n", &[1], "comma too many"),
        ("a: {value: 1} x\nb: 2\n", &[1], "after the closing bracket"),
        ("a: {value: b: c}\nb: 2\n", &[1], "in quotes"),
        ("a: {value: @x}\nb: 2\n", &[1], "in quotes"),
        ("a: {\n  value: 1,\n  type: text/html\nb: 2\n", &[1], "not closed"),
    ]);
}

#[test]
fn mistakes_in_values_are_reported() {
    check(&[
        ("x: 1\na: b: c\n", &[2], "`a: \"b: c\"`"),
        ("x: 1\na: b:\n", &[2], "second colon"),
        ("x: 1\na: @x\n", &[2], "`a: \"@x\"`"),
        ("x: 1\na: `x`\n", &[2], "backtick"),
        ("x: 1\na: %x\n", &[2], "`a: \"%x\"`"),
        ("x: 1\na: &x\n", &[2], "anchors"),
        ("x: 1\na: &x 1\nb: *x\n", &[2, 3], "alias"),
        ("x: 1\na: *x\n", &[2], "alias"),
        ("x: 1\na: !x\n", &[2], "tags"),
        ("x: 1\na: !!str 1\n", &[2], "tags"),
        ("x: 1\na: |x\n", &[2], "`a: \"|x\"`"),
        ("x: 1\na: >x\n", &[2], "`a: \">x\"`"),
        ("x: 1\na: ,x\n", &[2], "in quotes"),
        ("x: 1\na: - b\n", &[2], "list"),
        ("x: 1\na: ? b\n", &[2], "in quotes"),
    ]);
}

#[test]
fn mistakes_in_fields_are_reported() {
    check(&[
        ("x: 1\na: {valeu: 1, type: text/html}\n", &[2], "did you mean `value`"),
        ("x: 1\na:\n  type: text/html\n  Value: 1\n", &[4], "did you mean `value`"),
        ("x: 1\na:\n  type: text/html\n", &[2], "neither"),
        ("x: 1\na:\n  value: 1\n  expire: 2026-11-20T12:00:00Z\n", &[4], "did you mean `expires`"),
        ("x: 1\na:\n  value: 1\n  Type: text/html\n", &[4], "did you mean `type`"),
        ("x: 1\na: {value: 1, base64: MQ==}\n", &[2], "value"),
        ("x: 1\na:\n  value: 1\n  type: text/html\n  base64: MQ==\n", &[5], "value"),
        ("x: 1\na: {base64: \"???\"}\n", &[2], "base64"),
        ("x: 1\na:\n  value: 1\n  expires: soon\n", &[4], "soon"),
        ("x: 1\na: {value: 1, updated: 9999-12-31T23:59:59Z}\n", &[2], "too late"),
        ("x: 1\na:\n  value: 1\n  value: 2\n", &[4], "twice"),
        ("x: 1\na: {value: 1, type: html}\n", &[2], "html"),
        ("a:\n  value: 1\n  expires: soon\n  modified: never\nb: 1\n", &[3, 4], "never"),
    ]);
}

#[test]
fn mistakes_in_characters_are_reported() {
    check(&[
        ("a: 1\nb:\u{a0}2\n", &[2], "no-break space"),
        ("a: 1\nb:\u{200b}2\n", &[2], "U+200B"),
        ("a: 1\nb:\u{3000}2\n", &[2], "U+3000"),
        ("a: 1\nb：2\n", &[2], "U+FF1A"),
        ("a: 1\nb： 2\nc：3\n", &[2, 3], "U+FF1A"),
        ("a: 1\nb:\u{7}2\n", &[2], "\\x07"),
        ("a: 1\nb: x\0y\nc: 3\n", &[2], "character 5"),
        ("a: 1\n\u{feff}b: 2\n", &[2], "U+FEFF"),
    ]);
}

#[test]
fn mistakes_in_documents_are_reported() {
    check(&[
        ("--- a: 1\nb: 2\n", &[1], "after `---`"),
        ("a: 1\n--- b\nc: 1\n", &[2], "after `---`"),
        ("a: 1\n...\n---\nb: 2\nc 3\n...\n", &[5], "no colon"),
        ("a: \"x\n---\nb: 2\n", &[1], "not closed"),
        ("a 1\n---\nb 2\n", &[1, 3], "no colon"),
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\nc: 3\n", &[2], "merge of git"),
        ("a:\n<<<<<<< HEAD\n  value: 1\n=======\n  value: 2\n>>>>>>> other\nc: 3\n", &[2], "merge of git"),
        ("{\n  \"a\": 1\n  \"b\": 2\n}\n", &[2], "comma"),
        ("{\n  \"a\": 1,,\n  \"b\": 2\n}\n", &[2], "comma too many"),
        ("{\n  \"a\": 1,\n  // note\n  \"b\": 2 \"c\": 3\n}\n", &[3, 4], "comment"),
        ("{\n  \"a\": 1,\n  \"b\": \"x\n}\n", &[3], "not closed"),
        ("{\n  \"a\": \"x,\n  \"b\": \"y\"\n}\n", &[2], "not closed"),
        ("{\n  \"a\": {\"value\": 1,\n  \"b\": {\"value\": 2}\n}\n", &[2], "not closed"),
        ("{\n  \"a\": 1,\n  \"b\": 2\n", &[3], "add `}`"),
        ("{\n  \"a\": 1\n}\n}\n", &[4], "too many"),
        ("{\n  \"a\": 1,\n  \"b\": {\"value\": 1, \"valeu\": 2},\n  \"a\": 2\n}\n", &[3, 4], "twice"),
        ("{\"a\": 1}\n{\"b\": 2}\n", &[2], "whole document"),
    ]);
}

#[test]
fn files_of_other_formats_are_reported() {
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    for (bytes, line, word) in [
        (b"a: 1\nb: caf\xe9\nc: 3\n".to_vec(), 2, "UTF-8"),
        (utf16("\u{feff}a: 1\r\nb: 2\r\n", u16::to_le_bytes), 1, "UTF-16"),
        (utf16("\u{feff}a: 1\nb: 2\n", u16::to_be_bytes), 1, "UTF-16"),
        (utf16("a: 1\r\nb: 2\r\n", u16::to_le_bytes), 1, "UTF-16"),
        (utf16("a: 1\nb: 2\n", u16::to_be_bytes), 1, "UTF-16"),
        (b"{\\rtf1\\ansi\\deff0\n{\\fonttbl{\\f0 Times;}}\n\\f0\\fs24 a: 1\\par\n}\n".to_vec(), 1, "word processor"),
        (b"PK\x03\x04\x14\x00\x06\x00\n\x00\xff\x00\n".to_vec(), 1, "zip"),
        (b"<!DOCTYPE html>\n<html>\n<body>\nx\n</body>\n</html>\n".to_vec(), 1, "web page"),
        (b"\n<html lang=en>\n</html>\n".to_vec(), 1, "web page"),
        (vec![0; 4096], 1, "NUL"),
        (b"%PDF-1.4\nx\n".to_vec(), 1, "PDF"),
    ] {
        let reports = reported(&bytes);
        // A text with a NUL at its end is a torn tail to the reader of a file, which is tested elsewhere.
        let Some((at, text)) = reports.first() else {
            assert!(bytes.ends_with(b"\0"), "{bytes:?}");
            continue;
        };
        assert!(reports.len() == 1 && *at == line && text.contains(word), "{bytes:?}: {reports:?}");
    }
}
