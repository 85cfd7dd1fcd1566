//! Any bytes as one line of text, for lists that people read.

/// Escapes control characters, so that a value can neither break a line nor control the terminal. A byte that is not
/// UTF-8 becomes `\xNN`, a backslash becomes two.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing into a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_values_are_one_line_and_distinct() {
        assert_eq!(escaped(b"plain \xc3\xa4"), "plain ä");
        assert_eq!(escaped(b"a\tb\nc\rd\\n"), "a\\tb\\nc\\rd\\\\n");
        assert_eq!(escaped(b"\x1b[31m"), "\\u{1b}[31m");
        assert_eq!(escaped(b"\xff\x00ok"), "\\xff\\u{0}ok");
    }
}
