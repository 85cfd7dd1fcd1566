//! Strings that stores, file formats and protocols are likely to get wrong.
//!
//! Each is an example of a known kind of fault: read as another type, cut, trimmed, folded, decoded twice.

use bytes::Bytes;

use crate::model::Key;

/// Words that YAML 1.1 or 1.2, JSON or a person may not read as text. Each is used in three letter cases.
const WORDS: &str = "\
    yes no on off y n true false null .inf -.inf +.inf .nan nan inf undefined none nil infinity";

/// Numbers, dates, and text that looks like them.
const NUMBERS: &str = "\
    0 -0 +1 007 08 0o17 0x10 0b101 1_000 1,000 1e3 1E+3 -1e-3 1. .5 1.0 1.50 12:30:45 12:30 190:20:30 1:1 \
    2026-11-20 2026-11-20T12:00:00Z 2026-1-2 9223372036854775807 9223372036854775808 -9223372036854775809 1e400 \
    0.1e-400 1__0 0x 0xFFFFFFFFFFFFFFFFF +.5 1/2 ٣ Ⅷ ½ 21.5 1.2.3 127.0.0.1 ::1";

/// Syntax of YAML, JSON, CSV, HTML, URLs, shells and SQL.
const MARKS: &[&str] = &[
    "2026-11-20 12:00:00 +1",
    "~",
    "<<",
    "=",
    "-",
    "--",
    "---",
    "----",
    "--- a",
    "...",
    "....",
    "... a",
    "?",
    "? b",
    ":",
    ": c",
    "::",
    "- a",
    "-a",
    "a: b",
    "a:",
    "a :b",
    ":a",
    "a:b",
    "a: ",
    " # c",
    "# c",
    "#",
    "a #b",
    "a#b",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "{a",
    "[a",
    "{a: b}",
    "[a, b]",
    "a, b",
    ",",
    ",a",
    "a,b",
    "a}",
    "a]",
    "&a",
    "*a",
    "&",
    "*",
    "!",
    "!!",
    "!a",
    "!!binary",
    "!!str a",
    "!<tag:a> b",
    "%YAML",
    "%YAML 1.2",
    "%TAG ! tag:a,2000:",
    "%",
    "%41",
    "%zz",
    "%2F",
    "%00",
    "%25",
    "a+b",
    "|",
    ">",
    "|-",
    ">+",
    "| a",
    "@",
    "@a",
    "`",
    "`a`",
    "'",
    "''",
    "'a'",
    "'a",
    "a'",
    "it's",
    "\"",
    "\"\"",
    "\"a\"",
    "\"a",
    "a\"",
    "\\",
    "\\\\",
    "a\\",
    "\\n",
    "\\u0041",
    "\\x41",
    "\"\\\"",
    "' #",
    "\": ",
    "\", \"b\": \"c",
    "}, b: {value: 1}",
    "a: {value: 1}",
    "value: 1",
    "base64: YQ==",
    "{value: x, updated: never}",
    "# kvs bucket: default",
    "?k=a&b=c",
    "a=b",
    "a&b",
    "&amp;",
    "&lt;",
    "<img src=x onerror=alert(1)>",
    "<script>",
    "</script>",
    "<!--",
    "]]>",
    "'; drop table kv; --",
    "$(id)",
    "${HOME}",
    "`id`",
    "; rm",
    "| cat",
    "> x",
    "a/b",
    "/",
    "//",
    "/a",
    "a/",
    "a//b",
    "../a",
    "./a",
    "a/../b",
    "..a",
    "a..",
    "C:\\a",
    "con",
    "nul",
    "~a",
    ".",
    "..",
    ".a",
    "__proto__",
    "constructor",
    "toString",
    "auth",
    "k",
    "key",
    "value",
    "wait",
    "%s%n",
    "{0}",
    "{{a}}",
    "a;b",
    "a|b",
    "a\u{a0}b",
    "'\u{2019}'",
];

/// Spaces that get lost, and non-ASCII characters that are mistaken for others, for nothing or for line ends.
const UNSEEN: &[&str] = &[
    " ",
    "  ",
    " a",
    "a ",
    " a ",
    "  a",
    "a  b",
    "a  ",
    "\u{a0}",
    "\u{a0}a",
    "a\u{a0}",
    "\u{2003}",
    "\u{3000}a",
    "\u{2028}",
    "a\u{2028}b",
    "\u{2029}",
    "a\u{2029}",
    "\u{feff}",
    "\u{feff}a",
    "a\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{200b}",
    "a\u{200b}",
    "\u{200d}",
    "\u{202e}abc",
    "\u{2066}a\u{2069}",
    "\u{ad}",
    "é",
    "e\u{301}",
    "Å",
    "\u{212b}",
    "ß",
    "ẞ",
    "İ",
    "ı",
    "ſ",
    "ﬀ",
    "𝒳",
    "🙂",
    "👩‍👩‍👧‍👦",
    "🇩🇪",
    "𠀀",
    "\u{10ffff}",
    "\u{e000}",
    "\u{d7ff}",
    "日本語",
    "العربية",
    "עברית",
    "ไทย",
    "हिन्दी",
    "Ω",
    "\u{301}",
    "a\u{301}\u{301}\u{301}",
    "\u{fdd0}",
    "\u{1fffe}",
    "\u{e0001}",
    "\u{7ff}",
    "\u{800}",
    "\u{10000}",
];

/// Values that are not valid keys: line ends, tabs and other control characters.
const VALUES: &[&str] = &[
    "",
    "\n",
    "a\n",
    "\na",
    "a\nb",
    "a\n\nb",
    "a\n\n",
    "\n\n",
    "a\r\nb",
    "\r",
    "a\rb",
    "\r\n",
    " \n ",
    "a \n b",
    "  a\n b\n",
    "a\n  b",
    "\t",
    "\ta",
    "a\t",
    "a\tb",
    " \t ",
    "\t\n",
    "\0",
    "a\0b",
    "\0\0",
    "\u{1}",
    "\u{7}",
    "\u{8}",
    "\u{b}",
    "\u{c}",
    "\u{1a}",
    "\u{1b}[31m",
    "\u{1f}",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "a\u{85}b",
    "\u{85}\n",
    "\u{9f}",
    "\u{9b}m",
    "---\n",
    "...\n",
    "\n---\n",
    "a\n...\n",
    "a\n...\n---\nb: c\n",
    "- a\n- b\n",
    "a: b\nc: d\n",
    "? a\n: b\n",
    "# a\nb",
    "|\n a",
    ">\n a\n",
    "\"\n\"",
    "{\n}",
    "%YAML 1.2\n---\n",
    "<<: *a\n",
    "\\\n",
    "a\\\nb",
    "'\n'",
    "{\"a\": [1, 2.0, null]}\n",
    "<p>\n</p>",
    "a,b\r\n\"c\",d\r\n",
    "\u{feff}a\n",
    "\n \n",
    "\n\u{2028}\n",
];

/// Bytes that are not UTF-8.
const BYTES: &[&[u8]] = &[
    b"\xff",
    b"\xfe\xff",
    b"\xff\xfea\0",
    b"a\xffb",
    b"\x80",
    b"\xc0\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf0\x9f\x99",
    b"\xef\xbb",
    b"caf\xe9",
    b"\x1f\x8b\x08\0\0\0\0\0",
    b"\x89PNG\r\n\x1a\n",
    b"\0\xff\0\xff",
    b"\xff\n...\n---\n",
];

/// More than 300 different strings. All are valid values; those that [`Key::new`] accepts are also keys.
#[must_use]
pub fn hostile_strings() -> Vec<Bytes> {
    let mut all: Vec<Bytes> = [MARKS, UNSEEN, VALUES].concat().into_iter().map(Bytes::from).collect();
    all.extend(NUMBERS.split(' ').map(Bytes::from));
    for word in WORDS.split(' ') {
        let (first, rest) = word.split_at(1);
        all.extend([word.to_owned(), word.to_uppercase(), first.to_uppercase() + rest].map(Bytes::from));
    }
    all.extend(BYTES.iter().map(|bytes| Bytes::from(*bytes)));
    all.push((0..=u8::MAX).collect());
    all.extend(long().into_iter().map(Bytes::from));
    all.sort();
    all.dedup();
    all
}

/// The [`hostile_strings`] that are valid keys.
#[must_use]
pub fn hostile_keys() -> Vec<Key> {
    hostile_strings().iter().filter_map(|bytes| Key::new(std::str::from_utf8(bytes).ok()?).ok()).collect()
}

/// Keys of the maximum length, which escaping makes longer, and long lines.
fn long() -> Vec<String> {
    let fill = |part: &str| part.repeat(Key::MAX_BYTES / part.len());
    let mut all: Vec<String> =
        ["k", "\"", "\\", "'", ":", "\u{feff}", "é", "\u{2028}", "🙂", "a ", "a: ", "- ", "#"].map(fill).into();
    all.push("k".repeat(Key::MAX_BYTES - 1));
    all.push(format!(" {} ", "k".repeat(Key::MAX_BYTES - 2)));
    all.push(format!("yes{}", " ".repeat(Key::MAX_BYTES - 3)));
    all.push("a line ".repeat(9000));
    all.push("a line\n".repeat(5000));
    all.push("\"\\\n".repeat(5000));
    all.push("é".repeat(40_000));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_300_different_strings_and_keys() {
        let strings = hostile_strings();
        assert!(strings.is_sorted_by(|a, b| a < b));
        assert!(strings.len() >= 300, "{}", strings.len());
        assert!(hostile_keys().len() >= 300, "{}", hostile_keys().len());
        assert!(strings.iter().any(|s| std::str::from_utf8(s).is_err()));
        assert!(hostile_keys().iter().any(|k| k.as_str().len() == Key::MAX_BYTES));
    }
}
