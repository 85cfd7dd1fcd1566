//! The table, as text and as Markdown.

use crate::row::{Goal, Row};

/// The texts of a row: part, work, peer, kvs, the figure of the peer, unit, ratio, range, goal.
type Cells = [String; 9];

const HEADINGS: [&str; 10] = ["part", "work", "peer", "kvs", "peer's", "unit", "ratio", "from-to", "goal", "verdict"];
const WIDTHS: [usize; 9] = [11, 42, 30, 8, 8, 6, 6, 15, 6];
/// The columns of numbers, which are aligned to the right.
const NUMBERS: [usize; 5] = [3, 4, 6, 7, 8];

/// Three significant digits, and thousands with a comma.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => with_commas(&format!("{value:.0}")),
    }
}

fn with_commas(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn cells(row: &Row) -> Cells {
    let (least, most) = row.range();
    let goal = match row.goal {
        Goal::Ratio(goal) => number(goal),
        Goal::Limit(limit) => format!("<= {limit}"),
        Goal::Open => String::new(),
    };
    [
        row.part.to_owned(),
        row.work.clone(),
        row.peer.to_owned(),
        number(row.ours()),
        row.peers().map(number).unwrap_or_default(),
        row.unit.to_owned(),
        row.ratio().map(number).unwrap_or_default(),
        format!("{}-{}", number(least), number(most)),
        goal,
    ]
}

fn verdict(row: &Row) -> &'static str {
    match (row.score(), row.shortfall()) {
        (None, _) => "",
        (_, None) => "met",
        (_, Some(_)) => "short",
    }
}

fn aligned(cells: [&str; 9], verdict: &str) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        if NUMBERS.contains(&at) {
            line += &format!("{cell:>width$}  ");
        } else {
            line += &format!("{cell:<width$}  ");
        }
    }
    line + verdict
}

/// One row as text.
pub(crate) fn line(row: &Row) -> String {
    aligned(cells(row).each_ref().map(String::as_str), verdict(row))
}

/// The table as text, with the reasons of what is short, and the notes, below it.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    let [headings @ .., last] = HEADINGS;
    out += &aligned(headings, last);
    out.push('\n');
    for row in rows {
        out += line(row).trim_end();
        out.push('\n');
    }
    let short: Vec<&Row> = rows.iter().filter(|row| row.shortfall().is_some()).collect();
    out += &format!("\n{} goals are met, {} are not:\n", met(rows), short.len());
    for row in short {
        out += &format!("  {}, {}: short, because {}\n", row.part, subject(row), row.shortfall().unwrap_or_default());
    }
    for (row, note) in noted(rows) {
        out += &format!("  Note on {}, {}: {note}\n", row.part, subject(row));
    }
    out
}

/// How many goals are met.
pub(crate) fn met(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.score().is_some() && row.shortfall().is_none()).count()
}

/// The rows that have a note.
pub(crate) fn noted(rows: &[Row]) -> impl Iterator<Item = (&Row, &str)> {
    rows.iter().filter_map(|row| Some((row, row.note.as_deref()?)))
}

/// The work and the peer.
pub(crate) fn subject(row: &Row) -> String {
    if row.peer.is_empty() { row.work.clone() } else { format!("{} / {}", row.work, row.peer) }
}

/// The rows as a table of Markdown.
pub(crate) fn markdown<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    let mut out = format!("| {} |\n|", HEADINGS.join(" | "));
    for at in 0..HEADINGS.len() {
        out += if NUMBERS.contains(&at) { "---:|" } else { "---|" };
    }
    out.push('\n');
    for row in rows {
        let verdict = row.shortfall().map_or(verdict(row).to_owned(), |reason| format!("short, because {reason}"));
        out += &format!("| {} | {verdict} |\n", cells(row).join(" | "));
    }
    out
}
