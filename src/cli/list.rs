//! `kvs list`: what there is, for a person or for a program.

use std::time::Duration;

use clap::Args;

use super::failure::Done;
use super::format::Format;
use super::output::{Output, escaped, unwritten};
use super::settings::Settings;
use super::units::{ago, words};
use crate::model::{Clock, Entry, Key, Query, Shape, SystemClock, Time};

/// How many entries are asked of the store at a time.
const PAGE: usize = 1000;
/// How many characters of a value a table shows.
const SHOWN: usize = 48;

const EXAMPLES: &str = "\
Examples:
  kvs list                               everything in the bucket
  kvs list kitchen/ --limit 10           what begins so, the first ten
  kvs list --keys | wc -l
  kvs list --json | jq -r '.[] | select(.expires) | .key'";

/// Show keys and values, ordered by key
///
/// On a terminal a table, with ages in words. Else a line for each key: the key, a tab, the value; in it a backslash
/// stands as `\\`, a newline as `\n`, a tab as `\t`, other control characters as `\u{..}`, bytes that are no UTF-8 as
/// `\xNN`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// Only keys that begin so
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// The keys alone, one a line
    #[arg(long, conflicts_with = "json")]
    keys: bool,
    /// A JSON list of all that is known of each; `kvs import` takes it
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let client = settings.client()?;
    let mut query = Query {
        prefix: given.prefix,
        reverse: given.reverse,
        shape: if given.keys { Shape::Keys } else { Shape::Entries },
        ..Query::default()
    };
    let mut left = given.limit.unwrap_or(usize::MAX);
    let mut output = Output::new();
    let mut kept = Vec::new();
    let keep = given.json || (Output::is_terminal() && !given.keys);
    while left > 0 {
        query.limit = left.min(PAGE);
        let page = client.scan(query.clone()).await?;
        left = left.saturating_sub(page.entries.len());
        for (key, entry) in page.entries {
            match entry {
                Some(entry) if keep => kept.push((key, entry)),
                Some(entry) => output.line(&format!("{key}\t{}", escaped(&entry.value)))?,
                None => output.line(key.as_str())?,
            }
        }
        let Some(cursor) = page.cursor else { break };
        query.after = Some(cursor.as_str().to_owned());
    }
    if given.json {
        let entries = kept.iter().map(|(key, entry)| (key, entry));
        Format::Json.write(entries, output.writer()).map_err(unwritten)?;
    } else if keep {
        for line in table(&kept, SystemClock.now()) {
            output.line(&line)?;
        }
    }
    output.done()
}

/// The entries as lines of aligned columns. The column of ends is there only if something ends.
fn table(entries: &[(Key, Entry)], now: Time) -> Vec<String> {
    if entries.is_empty() {
        return vec!["nothing here".to_owned()];
    }
    let ends = entries.iter().any(|(_, entry)| entry.expires.is_some());
    let row = |key: &str, value: &str, updated: &str, end: &str| {
        let mut row = vec![key.to_owned(), value.to_owned(), updated.to_owned()];
        row.extend(ends.then(|| end.to_owned()));
        row
    };
    let mut rows = vec![row("KEY", "VALUE", "UPDATED", "EXPIRES")];
    for (key, entry) in entries {
        // To the nearest second, so that who has just said three hours does not read two.
        let left = |end: Time| format!("in {}", words(end.since(now) + Duration::from_millis(500)));
        let end = entry.expires.map_or(String::new(), left);
        rows.push(row(key.as_str(), &shown(&entry.value), &ago(now.since(entry.updated())), &end));
    }
    let mut widths = vec![0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.into_iter().map(line).collect()
}

/// The beginning of a value, on one line.
fn shown(value: &[u8]) -> String {
    // One character is at most four bytes long, so this is enough to see whether more follows.
    let text = escaped(value.get(..SHOWN * 4 + 4).unwrap_or(value));
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Revision};

    fn entry(value: &str, updated: i64, expires: Option<i64>) -> Entry {
        Entry {
            value: value.to_owned().into(),
            content_type: ContentType::default(),
            revision: Revision::from(Time::from_secs(updated)),
            created: Time::from_secs(updated),
            modified: None,
            expires: expires.map(Time::from_secs),
        }
    }

    #[test]
    fn a_table_is_aligned_and_tells_ages_in_words() {
        let entries = [
            (Key::new("a").unwrap(), entry("one\ntwo", 940, None)),
            (Key::new("kitchen/ä").unwrap(), entry("2", 1000, Some(8200))),
        ];
        let lines = table(&entries, Time::from_secs(1000));
        assert_eq!(
            lines,
            [
                "KEY        VALUE     UPDATED       EXPIRES",
                "a          one\\ntwo  1 minute ago",
                "kitchen/ä  2         just now      in 2 hours",
            ]
        );
    }

    #[test]
    fn long_values_are_cut_and_short_ones_are_not() {
        assert_eq!(shown("ä".repeat(SHOWN).as_bytes()), "ä".repeat(SHOWN));
        let cut = shown("🙂".repeat(10_000).as_bytes());
        assert_eq!(cut.chars().count(), SHOWN);
        assert!(cut.ends_with('…'));
    }
}
