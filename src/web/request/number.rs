//! Parses integers in a query or in JSON. An integer that is out of range is an error that states the range.

use std::ops::RangeInclusive;

/// How many characters of a value an error shows.
const MAX_SHOWN_CHARS: usize = 40;

/// Parses an integer: digits, perhaps after a minus sign.
///
/// # Errors
/// If it is not an integer or is out of range. The error states the range and the value.
pub(crate) fn parse(name: &str, text: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
    let (min, max) = (range.start(), range.end());
    let error = |why: &str| format!("{name} must be {min} to {max}, got {}{why}", quote(text));
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error("; write a whole number in digits"));
    }
    // A number that does not fit into an i64 is out of every range.
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| error(""))
}

/// A value from a request for an error text: shortened, and in quotes if it could be confused with the text around it.
pub(crate) fn quote(text: &str) -> String {
    let cut = text.char_indices().nth(MAX_SHOWN_CHARS).and_then(|(end, _)| text.get(..end));
    let (start, more) = cut.map_or((text, ""), |start| (start, "..."));
    let is_plain = !start.is_empty() && start.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:".contains(&b));
    // JSON has its own quotes and brackets.
    let is_json = start.starts_with(['"', '[', '{']);
    if is_plain || is_json { format!("{start}{more}") } else { format!("{start:?}{more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_errors_with_the_range() {
        for (text, number) in [("1", 1), ("007", 7), ("1000", 1000)] {
            assert_eq!(parse("limit", text, 1..=1000), Ok(number));
        }
        assert_eq!(parse("by", "-9223372036854775808", i64::MIN..=i64::MAX), Ok(i64::MIN));
        for text in ["0", "1001", "-1", "99999999999999999999", "-99999999999999999999"] {
            assert_eq!(parse("limit", text, 1..=1000), Err(format!("limit must be 1 to 1000, got {text}")));
        }
        for (text, quoted) in [
            ("", "\"\""),
            ("-", "-"),
            ("+5", "+5"),
            (" 5", "\" 5\""),
            ("1.5", "1.5"),
            ("5.0", "5.0"),
            ("1e9", "1e9"),
            ("0x10", "0x10"),
            ("\"60\"", "\"60\""),
            ("\u{665}", "\"\u{665}\""),
            ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ] {
            let expected = format!("limit must be 1 to 1000, got {quoted}; write a whole number in digits");
            assert_eq!(parse("limit", text, 1..=1000), Err(expected));
        }
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(quote(&"9".repeat(1000)), format!("{}...", "9".repeat(40)));
        assert_eq!(quote(&"ä".repeat(41)), format!("{:?}...", "ä".repeat(40)));
    }
}
