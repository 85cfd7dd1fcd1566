//! Entries that are YAML and yet cannot be taken: what the reader says of them, put so that a person sees the cure.

use super::super::hand;
use super::quoting::{is_blank, quote};
use super::region::indent;
use super::{Found, MOST, Part, parse};

/// The fields of an entry, as a person may have meant them.
pub(super) const FIELDS: [&str; 9] =
    ["value", "base64", "json", "type", "ttl", "updated", "created", "modified", "expires"];

/// What the reader or the parser says of a line, with the line.
pub(super) fn told(part: Part<'_>, line: u64, text: &str) -> String {
    let mut text = text.to_owned();
    let at = usize::try_from(line.saturating_sub(part.first)).unwrap_or(usize::MAX);
    let name = unknown_field(&text).filter(|_| !text.contains("did you mean"));
    let value = || text.contains("neither ").then(|| near_value(part.line(at))).flatten();
    if let Some(meant) = name.and_then(similar).or_else(value) {
        text = format!("{text}; did you mean `{meant}`?");
    }
    if let Some(advice) = advice(&text) {
        text = format!("{text}; {advice}");
    }
    match part.lines.get(at).filter(|quoted| line > 0 && !is_blank(quoted)) {
        Some(quoted) if !text.starts_with('`') => format!("{}: {text}", quote(quoted)),
        _ => text,
    }
}

fn unknown_field(text: &str) -> Option<&str> {
    let (_, name) = text.split_once("unknown field \"")?;
    name.split_once('"').map(|(name, _)| name)
}

/// What to write where only the parser knows what is wrong.
fn advice(text: &str) -> Option<&'static str> {
    let Some(told) = text.strip_prefix("this is no YAML: ") else {
        return match text {
            _ if text.contains(';') => None,
            _ if text.contains("bad key") => Some("write another key"),
            _ if text.contains(" has both ") || text.contains("is given twice") => Some("remove one"),
            _ if text.contains(" has neither ") => Some("write `value: ...`"),
            _ => None,
        };
    };
    Some(if told.contains("indent") {
        "indent the line like its neighbours, by spaces"
    } else if told.contains("recursion") {
        "write what is nested so deep as a text in quotes"
    } else if told.contains("directive") {
        "put a text that begins with % in quotes"
    } else {
        "write `key: value`, and put a text with special characters in quotes"
    })
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

/// How many letters must be added, removed, changed or swapped with their neighbour.
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

/// Reports what the reader says of an entry, field by field: a field that is wrong is left out, and the rest read again.
pub(super) fn judge(chunk: Part<'_>, found: &mut Found) {
    let mut lines = chunk.lines.to_vec();
    let reported: Vec<u64> = found.faults.range(chunk.first..).map(|(line, _)| *line).collect();
    for line in &reported {
        leave_out(&mut lines, chunk, *line);
    }
    let mut last = 0;
    for round in 0..MOST {
        let rest = Part { lines: &lines, ..chunk };
        let text = rest.text();
        if parse(&text).is_err() {
            return;
        }
        let Err(fault) = hand::read(&text, chunk.first) else { return };
        let is_first = round == 0 && reported.is_empty();
        let line = chunk.within(place(chunk, fault.line, &fault.text));
        // What is missing without the fields left out is no mistake of its own.
        if !is_first && (line <= last || line == chunk.first || fault.text.contains("neither")) {
            return;
        }
        found.add(line, told(chunk, line, &fault.text));
        last = line;
        if line == chunk.first {
            return;
        }
        leave_out(&mut lines, chunk, line);
    }
}

/// The line that a person would mend: the key if a field is missing, the second of two fields that exclude each other.
fn place(chunk: Part<'_>, line: u64, text: &str) -> u64 {
    if text.contains("neither ") {
        let near = (0..chunk.lines.len()).find(|n| near_value(chunk.line(*n)).is_some());
        return near.map_or(chunk.first, |n| chunk.number(n));
    }
    if text.contains(" has both ") {
        let holds = |line: &str| ["value", "base64", "json"].iter().any(|name| has_field(line, name));
        let second = (0..chunk.lines.len()).filter(|n| holds(chunk.line(*n))).nth(1);
        return second.map_or(line, |n| chunk.number(n));
    }
    line
}

/// The field with the value that a name in this line was meant to be.
fn near_value(line: &str) -> Option<&'static str> {
    let names = line.split(['{', ',']).filter_map(|field| Some(field.split_once(':')?.0.trim()));
    names
        .filter(|name| !FIELDS.contains(name))
        .filter_map(similar)
        .find(|meant| FIELDS.iter().take(3).any(|f| f == meant))
}

fn has_field(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).unwrap_or_default();
        let after = line.get(at + name.len()..).unwrap_or_default().trim_start_matches(['"', '\'']);
        (before.is_empty() || before.ends_with([' ', '{', ',', '"', '\'', '\t'])) && after.starts_with(':')
    })
}

/// Leaves a field out: its line and what is indented more.
fn leave_out(lines: &mut [&str], chunk: Part<'_>, line: u64) {
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
