//! Entries that are YAML but not valid: the errors of the reader, with better advice.

use super::lines::{LineRange, MAX_MISTAKES, Mistakes, indent, parse};
use super::quoting::{is_blank, quote};
use crate::yaml::format::handwritten;
use crate::yaml::format::parse_error::{INVALID_YAML, ParseError, ParseErrorKind};

/// The fields of an entry.
pub(crate) const FIELDS: [&str; 9] =
    ["value", "base64", "json", "type", "ttl", "updated", "created", "modified", "expires"];

/// The message of an error, with the field that was probably meant or other advice, after the quoted line.
pub(crate) fn explain(part: LineRange<'_>, error: &ParseError) -> String {
    let at = usize::try_from(error.line.saturating_sub(part.first)).unwrap_or(usize::MAX);
    let meant = match &error.kind {
        ParseErrorKind::UnknownField(name) => similar(name),
        ParseErrorKind::MissingValue => near_value(part.line(at)),
        _ => None,
    };
    let text = match (meant, advice(error)) {
        (Some(meant), _) => format!("{}; did you mean `{meant}`?", error.text),
        (None, Some(advice)) => format!("{}; {advice}", error.text),
        (None, None) => error.text.clone(),
    };
    match part.lines.get(at).filter(|quoted| error.line > 0 && !is_blank(quoted)) {
        Some(quoted) if !text.starts_with('`') => format!("{}: {text}", quote(quoted)),
        _ => text,
    }
}

/// Advice, if the message of the YAML parser or of a key has none.
fn advice(error: &ParseError) -> Option<&'static str> {
    match error.kind {
        ParseErrorKind::InvalidKey => Some("write another key"),
        ParseErrorKind::InvalidYaml => {
            let message = error.text.strip_prefix(INVALID_YAML).unwrap_or(&error.text);
            Some(if message.contains("indent") {
                "indent the line like its neighbours, by spaces"
            } else if message.contains("recursion") {
                "write the deeply nested part as a text in quotes"
            } else if message.contains("directive") {
                "put a text that begins with % in quotes"
            } else {
                "write `key: value`, and put a text with special characters in quotes"
            })
        }
        _ => None,
    }
}

/// The field that a name was meant to be.
fn similar(name: &str) -> Option<&'static str> {
    let name = name.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let meant = match name.as_str() {
        "val" | "data" | "text" | "content" => Some("value"),
        "b64" | "bytes" | "binary" => Some("base64"),
        "content-type" | "content_type" | "mime" | "contenttype" => Some("type"),
        "expiry" | "until" | "exp" => Some("expires"),
        _ => None,
    };
    meant.or_else(|| {
        let (steps, field) = FIELDS.iter().map(|field| (distance(&name, field), *field)).min()?;
        (steps <= 2 && steps < field.len() - 1).then_some(field)
    })
}

/// The number of letters to add, remove, change or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(20).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let get = |row: Option<&Vec<usize>>, at: usize| row.and_then(|row| row.get(at)).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let above = rows.last();
            let mut steps =
                (get(above, j) + usize::from(x != y)).min(get(above, j + 1) + 1).min(get(Some(&row), j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                steps = steps.min(get(rows.get(i - 1), j - 1) + 1);
            }
            row.push(steps);
        }
        rows.push(row);
    }
    get(rows.last(), b.len())
}

/// Reports the errors of an entry, field by field: a wrong field is left out, and the rest is read again.
pub(crate) fn report(chunk: LineRange<'_>, found: &mut Mistakes) {
    let mut lines = chunk.lines.to_vec();
    let reported: Vec<u64> = found.errors.range(chunk.first..).map(|(line, _)| *line).collect();
    for line in &reported {
        leave_out(&mut lines, chunk, *line);
    }
    let mut last = 0;
    for round in 0..MAX_MISTAKES {
        let rest = LineRange { lines: &lines, ..chunk };
        let text = rest.text();
        if parse(&text).is_err() {
            return;
        }
        let Err(error) = handwritten::read(&text, chunk.first) else { return };
        let is_first = round == 0 && reported.is_empty();
        let line = chunk.within(line_to_fix(chunk, &error));
        // If fields were left out, a missing value is not a mistake of its own.
        if !is_first && (line <= last || line == chunk.first || error.kind == ParseErrorKind::MissingValue) {
            return;
        }
        found.add(line, explain(chunk, &ParseError { line, ..error }));
        last = line;
        if line == chunk.first {
            return;
        }
        leave_out(&mut lines, chunk, line);
    }
}

/// The line that a person would fix: that of a misspelt field if the value is missing.
fn line_to_fix(chunk: LineRange<'_>, error: &ParseError) -> u64 {
    if error.kind != ParseErrorKind::MissingValue {
        return error.line;
    }
    let near = (0..chunk.lines.len()).find(|n| near_value(chunk.line(*n)).is_some());
    near.map_or(chunk.first, |n| chunk.number(n))
}

/// The field for a value that a name in this line probably means.
fn near_value(line: &str) -> Option<&'static str> {
    let names = line.split(['{', ',']).filter_map(|field| Some(field.split_once(':')?.0.trim()));
    names
        .filter(|name| !FIELDS.contains(name))
        .filter_map(similar)
        .find(|meant| FIELDS.iter().take(3).any(|f| f == meant))
}

/// Leaves a field out: its line, and the lines that are indented more.
fn leave_out(lines: &mut [&str], chunk: LineRange<'_>, line: u64) {
    let at = usize::try_from(line.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
    let Some(field) = lines.get(at).copied() else { return };
    let own = indent(field);
    for (n, line) in lines.iter_mut().enumerate().skip(at) {
        if n > at && !is_blank(line) && indent(line) <= own {
            return;
        }
        *line = "";
    }
}
