//! Single YAML scalars: writing any text so that every YAML reader takes it for that text, and reading back fast what
//! was written so. What a person wrote in another way is not read here but in [`hand`](super::hand).

use std::borrow::Cow;

/// Words that some YAML 1.1 or 1.2 reader takes for a boolean or for nothing.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Appends `text` as a scalar: plain where no reader can mistake it, else in double quotes.
pub(super) fn write(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_quoted(out, text);
    }
}

/// Whether every YAML 1.1 and 1.2 reader takes the bare text for a string, as a key and inside `{}`.
///
/// Words of letters, digits, `_`, `.`, `/` and `-`, with single spaces between them. Beginning with a letter they are no
/// number; beginning with a digit they are none if a letter stands in them that no number or time has.
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
    !(bytes.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)))
}

/// Whether all readers print this character, so that it can be written as it is. A line break is not among them.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{10000}'.. => true,
        '\u{e000}'..='\u{fffd}' => c != '\u{feff}',
        _ => false,
    }
}

/// Appends `text` in double quotes, escaped as JSON does it, and so that the line holds only what all readers print.
pub(super) fn write_quoted(out: &mut Vec<u8>, text: &str) {
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

/// Reads a scalar as [`write`] writes it from the front of `text`, and returns it with what follows; none if what stands
/// there was not written so.
pub(super) fn read(text: &str) -> Option<(Cow<'_, str>, &str)> {
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

/// Reads what stands behind an opening quote, up to and with the closing one.
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

/// Whether a line could hold this text as it is: tabs and other control characters are not written raw.
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
    fn plain_only_where_no_reader_can_mistake_it() {
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
        fn what_looks_like_a_number_or_a_word_stays_text(text in "[-+.0-9a-fA-FxXoOeE_:yYnNtTzZ ]{0,12}") {
            let line = written(&text);
            let other: serde_yaml::Value = serde_yaml::from_str(&line).unwrap();
            prop_assert_eq!(other, serde_yaml::Value::String(text));
        }
    }
}
