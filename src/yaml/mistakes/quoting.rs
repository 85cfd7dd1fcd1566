//! Quotes: those of YAML, scanned, and those around a line that is reported.

/// So many characters of a line are quoted.
const SHORT: usize = 60;

/// A line as a report quotes it: without its indentation, not too long, and with what cannot be seen made visible.
pub(super) fn quote(line: &str) -> String {
    let line = line.trim_matches([' ', '\t', '\r']);
    let mut out = String::from("`");
    for (n, c) in line.chars().enumerate() {
        if n == SHORT {
            out.push('…');
            break;
        }
        push_visible(&mut out, c);
    }
    out.push('`');
    out
}

/// The same for a line of which not all bytes are UTF-8.
pub(super) fn quote_bytes(line: &[u8]) -> String {
    let mut text = String::new();
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quote(&text)
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' => out.push(' '),
        _ if c.is_control() && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        _ if is_hidden(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        _ => out.push(c),
    }
}

/// Whether a character looks like a space or like nothing, and is no space to YAML.
pub(super) fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{1680}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{2064}'
        | '\u{3000}' | '\u{feff}' | '\u{85}')
}

/// A line to write instead, in backticks; none if it would be long, so that no other line is shown than that of the person.
pub(super) fn instead(line: &str) -> Option<String> {
    (line.chars().count() <= SHORT && !line.chars().any(char::is_control)).then(|| format!("`{}`", line.trim()))
}

/// A value in quotes.
pub(super) fn in_quotes(value: &str) -> String {
    if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") }
}

/// "write `key: "value"`", or the same in words.
pub(super) fn put_in_quotes(key: &str, value: &str) -> String {
    let line = format!("{key}: {}", in_quotes(value.trim()));
    instead(&line).map_or_else(|| "put the value in quotes".into(), |line| format!("put it in quotes: {line}"))
}

/// A scalar in quotes, scanned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    /// The offset behind the closing quote, if there is one.
    pub(super) end: Option<usize>,
    /// Where the first backslash stands that begins no escape.
    pub(super) bad_escape: Option<usize>,
}

/// Scans the scalar whose opening quote stands at `at`.
pub(super) fn scan(text: &str, at: usize) -> Quoted {
    let bytes = text.as_bytes();
    let mut bad_escape = None;
    let mut next = at + 1;
    let double = bytes.get(at) == Some(&b'"');
    while let Some(byte) = bytes.get(next) {
        match byte {
            b'"' if double => return Quoted { end: Some(next + 1), bad_escape },
            b'\\' if double => {
                if !is_escape(bytes.get(next + 1..).unwrap_or_default()) {
                    bad_escape = bad_escape.or(Some(next));
                }
                next += 2;
            }
            b'\'' if !double => {
                if bytes.get(next + 1) != Some(&b'\'') {
                    return Quoted { end: Some(next + 1), bad_escape };
                }
                next += 2;
            }
            _ => next += 1,
        }
    }
    Quoted { end: None, bad_escape }
}

/// Whether what follows a backslash makes an escape of it.
fn is_escape(rest: &[u8]) -> bool {
    let hex = |n: usize| rest.get(1..=n).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    match rest.first() {
        Some(b'x') => hex(2),
        Some(b'u') => hex(4),
        Some(b'U') => hex(8),
        Some(b) => b"0abt\tnvfre \"/\\N_LP\n\r".contains(b),
        None => false,
    }
}

/// The key and the value of a line: what stands around the first colon that YAML takes for one.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
    if line.starts_with(['"', '\'']) {
        let (key, rest) = line.split_at_checked(scan(line, 0).end?)?;
        return rest.trim_start().strip_prefix(':').filter(|rest| is_end(rest)).map(|value| (key, value));
    }
    let comment = line.find(" #").unwrap_or(line.len());
    let colon = line.match_indices(':').map(|(at, _)| at).find(|at| line.get(at + 1..).is_some_and(is_end))?;
    (colon < comment).then_some(())?;
    Some((line.get(..colon)?.trim_end(), line.get(colon + 1..)?))
}

/// Whether nothing but a comment stands here.
pub(super) fn is_blank(text: &str) -> bool {
    let trimmed = text.trim_start_matches([' ', '\t', '\r']);
    trimmed.is_empty() || trimmed.starts_with('#') && (trimmed.len() < text.len() || text.starts_with('#'))
}
