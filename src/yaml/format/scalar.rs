//! Single YAML scalars: writing any text so that all YAML readers read the same text, and reading back fast what was
//! written so. Other spellings, by a person, are left to [`handwritten`](super::handwritten).

use std::borrow::Cow;

/// Words that some YAML 1.1 or 1.2 readers take for a boolean or for null.
const KEYWORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Appends `text` as a scalar: plain if no reader can mistake it, else in double quotes.
pub(crate) fn write(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_quoted(out, text);
    }
}

/// Whether all YAML 1.1 and 1.2 readers take the bare text for a string, as a key and inside `{}`.
///
/// It must be words of letters, digits, `_`, `.`, `/` and `-`, with single spaces between them. If it begins with a
/// letter it is not a number; if it begins with a digit, it must contain a letter that no number or time has.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !first.is_ascii_alphanumeric() || !(last.is_ascii_alphanumeric() || *last == b'_') || bytes.len() > 128 {
        return false;
    }
    let mut before = b' ';
    for &b in bytes {
        let inside = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-');
        if !inside && (b != b' ' || before == b' ') {
            return false;
        }
        before = b;
    }
    if first.is_ascii_digit() {
        return bytes.iter().any(|b| matches!(b | 32, b'g'..=b'n' | b'p'..=b's' | b'u'..=b'w'));
    }
    !(bytes.len() <= 5 && KEYWORDS.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Whether all readers print this character, so that it needs no escape. Line breaks are excluded.
pub(crate) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{10000}'.. => true,
        '\u{e000}'..='\u{fffd}' => c != '\u{feff}',
        _ => false,
    }
}

/// Appends `text` in double quotes, with the escapes of JSON, so that the line has only printable characters.
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut copied = 0;
    for (at, c) in text.char_indices() {
        let escape: Cow<'static, str> = match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            c if is_printable(c) => continue,
            _ => format!("\\u{:04x}", u32::from(c)).into(),
        };
        out.extend_from_slice(text.get(copied..at).unwrap_or_default().as_bytes());
        out.extend_from_slice(escape.as_bytes());
        copied = at + c.len_utf8();
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default().as_bytes());
    out.push(b'"');
}

/// Reads a scalar in the form of [`write`] at the start of `text`, and returns it with the rest; `None` for any other
/// form.
pub(crate) fn read(text: &str) -> Option<(Cow<'_, str>, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        return read_quoted(rest);
    }
    let end = text
        .bytes()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-' | b' ')))
        .unwrap_or(text.len());
    let (scalar, rest) = text.split_at_checked(end)?;
    is_plain(scalar).then_some((Cow::Borrowed(scalar), rest))
}

/// Reads the text after an opening quote up to the closing one.
fn read_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let at = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (head, tail) = text.split_at_checked(at)?;
    if let Some(rest) = tail.strip_prefix('"') {
        return clean(head).then_some((Cow::Borrowed(head), rest));
    }
    let mut whole = String::from(head);
    let mut rest = tail;
    loop {
        // Here `rest` begins with a quote or a backslash.
        if let Some(after) = rest.strip_prefix('"') {
            return clean(text.get(..text.len() - after.len())?).then_some((Cow::Owned(whole), after));
        }
        let escape = rest.get(1..)?;
        let used = match escape.bytes().next()? {
            b'"' => push(&mut whole, '"'),
            b'\\' => push(&mut whole, '\\'),
            b'n' => push(&mut whole, '\n'),
            b'r' => push(&mut whole, '\r'),
            b't' => push(&mut whole, '\t'),
            b'u' => {
                let digits = escape.get(1..5).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                push(&mut whole, char::from_u32(u32::from_str_radix(digits, 16).ok()?)?) + 4
            }
            _ => return None,
        };
        rest = escape.get(used..)?;
        let at = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
        let (head, tail) = rest.split_at_checked(at)?;
        whole.push_str(head);
        rest = tail;
    }
}

fn push(whole: &mut String, c: char) -> usize {
    whole.push(c);
    1
}

/// Whether the text can be in quotes as it is: control characters are always escaped.
fn clean(raw: &str) -> bool {
    !raw.bytes().any(|b| b < b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn scalars_are_plain_only_if_no_reader_can_mistake_them() {
        for plain in ["kitchen/temp", "1GM35N000010", "Living Room", "a", "v1.2.3-rc", "x_", "yesno"] {
            assert_eq!(written(plain), plain);
        }
        for quoted in [
            "",
            "yes",
            "No",
            "NULL",
            "y",
            "1",
            "1.5",
            "1e5",
            "0x1f",
            "0o17",
            "1_000",
            "12:30",
            "2026-11-20",
            "~",
            "-",
            "a b ",
            " a",
            "a  b",
            "a:",
            "#a",
            "a #b",
            "<<",
            "=",
            "1e",
            "0b1",
            ".inf",
            "nan",
            "a-",
            "a/",
            "ä",
            "2001-12-14t21",
        ] {
            assert!(written(quoted).starts_with('"'), "{quoted}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_here_and_by_serde_yaml(text in any::<String>()) {
            let line = written(&text);
            let (back, rest) = read(&line).unwrap();
            prop_assert_eq!(&*back, text.as_str());
            prop_assert_eq!(rest, "");
            let other: serde_yaml::Value = serde_yaml::from_str(&line).unwrap();
            prop_assert_eq!(other, serde_yaml::Value::String(text));
        }

        #[test]
        fn texts_like_numbers_and_keywords_stay_text(text in "[-+.0-9a-fA-FxXoOeE_:yYnNtTzZ ]{0,12}") {
            let line = written(&text);
            let other: serde_yaml::Value = serde_yaml::from_str(&line).unwrap();
            prop_assert_eq!(other, serde_yaml::Value::String(text));
        }
    }
}
