//! YAML quotes, and quoting a line in a report.

/// A line in a report is cut after this many characters.
const MAX_QUOTED_CHARS: usize = 60;

/// A line for a report: without its indentation, not too long, and with invisible characters made visible.
pub(crate) fn quote(line: &str) -> String {
    let line = line.trim_matches([' ', '\t', '\r']);
    let mut out = String::from("`");
    for (n, c) in line.chars().enumerate() {
        if n == MAX_QUOTED_CHARS {
            out.push('…');
            break;
        }
        push_visible(&mut out, c);
    }
    out.push('`');
    out
}

/// Like [`quote`], for a line that is not all UTF-8.
pub(crate) fn quote_bytes(line: &[u8]) -> String {
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

/// Whether a character looks like a space or like nothing, but is not a space in YAML.
pub(crate) fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{1680}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{2064}'
        | '\u{3000}' | '\u{feff}' | '\u{85}')
}

/// A corrected line, in backticks; `None` if it would be long. Reports show only short lines besides that of the
/// person.
pub(crate) fn instead(line: &str) -> Option<String> {
    (line.chars().count() <= MAX_QUOTED_CHARS && !line.chars().any(char::is_control))
        .then(|| format!("`{}`", line.trim()))
}

/// A value in quotes.
pub(crate) fn in_quotes(value: &str) -> String {
    if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") }
}

/// Advice such as "put it in quotes: `key: "value"`".
pub(crate) fn put_in_quotes(key: &str, value: &str) -> String {
    let line = format!("{key}: {}", in_quotes(value.trim()));
    instead(&line).map_or_else(|| "put the value in quotes".into(), |line| format!("put it in quotes: {line}"))
}

/// A scanned scalar in quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    /// The offset after the closing quote, if there is one.
    pub(crate) end: Option<usize>,
    /// The offset of the first backslash that begins no escape.
    pub(crate) bad_escape: Option<usize>,
}

/// Scans the scalar with an opening quote at `at`.
pub(crate) fn scan(text: &str, at: usize) -> Quoted {
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

/// Whether a backslash and these bytes are an escape.
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

/// The key and the value of a line: before and after the first colon that counts in YAML.
pub(crate) fn split(line: &str) -> Option<(&str, &str)> {
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

/// Whether a text is blank or a comment.
pub(crate) fn is_blank(text: &str) -> bool {
    let trimmed = text.trim_start_matches([' ', '\t', '\r']);
    trimmed.is_empty() || trimmed.starts_with('#') && (trimmed.len() < text.len() || text.starts_with('#'))
}

/// Why a value cannot begin like this without quotes.
pub(crate) fn reserved(value: &str) -> Option<String> {
    let first = value.chars().next()?;
    let is_mark = value.get(1..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
    let why = match first {
        '&' => "an anchor, which is not supported",
        '*' => "an alias, which is not supported",
        '!' => "a tag, which is not supported",
        '|' | '>' => "the sign that the text follows on the lines below",
        '@' | '`' => "a reserved character",
        '%' => "a directive",
        '}' | ']' => "the end of brackets that were not opened",
        ',' => "the end of a field",
        '-' if is_mark => "an item of a list",
        '?' if is_mark => "a long key",
        ':' if is_mark => "a second colon",
        _ => return None,
    };
    let first = if first == '`' { "a backtick".into() } else { format!("`{first}`") };
    Some(format!("has a value that begins with {first}, in YAML {why}"))
}
