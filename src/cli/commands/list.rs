//! `kvs list`: prints keys and values, for people or for programs.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::{ago, count, in_words};
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::format::Format;
use crate::cli::output::{Output, terminal_width};
use crate::model::{Clock, Entry, Key, Projection, Scan, SystemClock, Time, escaped};

/// The number of entries that are read from the store at a time.
const PAGE_ENTRIES: usize = 1000;
/// The least width of the columns KEY and VALUE, in cells.
const MIN_COLUMN_CELLS: usize = 8;
/// Separates two columns.
const GAP: &str = "  ";

const EXAMPLES: &str = "\
Examples:
  kvs list                               all keys
  kvs list kitchen/ --limit 10           the first ten with this prefix
  kvs list --keys | wc -l
  kvs list --json | jq -r '.[] | select(.expires) | .key'";

/// Show keys and values, ordered by key
///
/// On a terminal, prints a table as wide as the terminal ($COLUMNS, if set), with ages in words; values that are too
/// long end with `…`. Otherwise prints a line for each key: the key, a tab, the value. In the value a backslash is
/// `\\`, a newline `\n`, a tab `\t`, another control character `\u{..}`, and a byte that is not UTF-8 `\xNN`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only keys with this prefix
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Print only keys, one per line
    #[arg(long, conflicts_with = "json")]
    keys: bool,
    /// Print a JSON list with all data of each entry, as for `kvs import`
    #[arg(long)]
    json: bool,
    /// The most keys to print
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<usize>,
    /// Print the last key first
    #[arg(long)]
    reverse: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let client = existing::client(settings).await?;
    let mut query = Scan {
        prefix: args.prefix,
        reverse: args.reverse,
        projection: if args.keys { Projection::Keys } else { Projection::Entries },
        ..Scan::default()
    };
    let mut remaining = args.limit.unwrap_or(usize::MAX);
    let mut output = Output::new();
    let mut kept = Vec::new();
    let keep = args.json || (Output::is_terminal() && !args.keys);
    while remaining > 0 {
        query.limit = remaining.min(PAGE_ENTRIES);
        let page = client.scan(query.clone()).await?;
        remaining = remaining.saturating_sub(page.entries.len());
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
    if args.json {
        let entries = kept.iter().map(|(key, entry)| (key, entry));
        Format::Json.write(entries, output.writer()).map_err(Failure::stdout)?;
    } else if keep {
        for line in table(&kept, SystemClock.now(), terminal_width()) {
            output.line(&line)?;
        }
    }
    output.finish()
}

/// The entries as lines with aligned columns, at most so many cells wide. EXPIRES is omitted if no entry expires,
/// UPDATED if there is no room.
fn table(entries: &[(Key, Entry)], now: Time, cells: usize) -> Vec<String> {
    if entries.is_empty() {
        return vec!["(empty)".to_owned()];
    }
    // Rounded to the nearest second, so that a new ttl of three hours is not shown as two.
    let remaining = |expiry: Time| format!("in {}", in_words(expiry.since(now) + Duration::from_millis(500)));
    let key = |(key, _): &(Key, Entry)| fitted(key.as_str(), cells);
    let value = |(_, entry): &(Key, Entry)| fitted(&escaped(beginning(&entry.value, cells)), cells);
    let age = |(_, entry): &(Key, Entry)| ago(now.since(entry.updated()));
    let expiry = |(_, entry): &(Key, Entry)| entry.expires.map_or(String::new(), remaining);
    let mut keys = column("KEY", entries.iter().map(key));
    let mut values = column("VALUE", entries.iter().map(value));
    let mut others = vec![column("UPDATED", entries.iter().map(age))];
    if entries.iter().any(|(_, entry)| entry.expires.is_some()) {
        others.push(column("EXPIRES", entries.iter().map(expiry)));
    }
    let room = |others: &[Vec<String>]| cells.saturating_sub(others.iter().map(|c| width(c) + GAP.len()).sum());
    let min_room = 2 * MIN_COLUMN_CELLS + GAP.len();
    while room(&others) < min_room && !others.is_empty() {
        others.remove(0);
    }
    // Values are cut before keys, because keys can be copied from the table.
    let room = room(&others).saturating_sub(GAP.len()).max(2 * MIN_COLUMN_CELLS);
    let for_values = room.saturating_sub(width(&keys)).max(MIN_COLUMN_CELLS.min(width(&values)));
    for value in &mut values {
        *value = fitted(value, for_values);
    }
    let for_keys = room.saturating_sub(width(&values)).max(MIN_COLUMN_CELLS);
    for key in &mut keys {
        *key = fitted(key, for_keys);
    }
    let mut lines = keys;
    for column in std::iter::once(values).chain(others) {
        let width = width(&lines);
        for (line, cell) in lines.iter_mut().zip(column) {
            let blanks = width - line.width();
            line.extend(std::iter::repeat_n(' ', blanks));
            line.push_str(GAP);
            line.push_str(&cell);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn column(head: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(head.to_owned()).chain(cells).collect()
}

/// The width of the widest text, in cells.
fn width(texts: &[String]) -> usize {
    texts.iter().map(|text| text.width()).max().unwrap_or(0)
}

/// The beginning of a value that can be visible in so many cells.
fn beginning(value: &[u8], cells: usize) -> &[u8] {
    // A character has at most four bytes, and few have no width.
    value.get(..cells.saturating_mul(16)).unwrap_or(value)
}

/// The text, or its beginning and an ellipsis, in at most so many cells.
fn fitted(text: &str, cells: usize) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= cells
    };
    text.chars().take_while(fits).chain(['…']).collect()
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
    fn a_table_is_aligned_and_has_ages_in_words() {
        let entries = [
            (Key::new("a").unwrap(), entry("one\ntwo", 940, None)),
            (Key::new("kitchen/ä").unwrap(), entry("2", 1000, Some(8200))),
        ];
        let lines = table(&entries, Time::from_secs(1000), 80);
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
    fn a_table_is_as_wide_as_the_terminal_with_any_content() {
        let long = "v".repeat(500);
        let texts = [
            ("plain", long),
            ("wide", "漢".repeat(300)),
            ("emoji", "🙂".repeat(300)),
            ("combined", "e\u{301}".repeat(300)),
            ("short", "1".to_owned()),
        ];
        for expires in [None, Some(2_000_000)] {
            let entry = |(key, value): &(&str, String)| (Key::new(key).unwrap(), entry(value, 940, expires));
            let entries: Vec<_> = texts.iter().map(entry).collect();
            let widest = |cells| width(&table(&entries, Time::from_secs(1000), cells));
            for cells in [24, 40, 80, 160] {
                assert!(widest(cells) <= cells && widest(cells) + 4 >= cells, "{cells} cells, {}", widest(cells));
            }
            let table = table(&entries, Time::from_secs(1000), 80);
            assert!(table[1].starts_with("plain     vvvvv") && table[1].contains("…  1 minute ago"), "{table:#?}");
            assert!(table[5].starts_with("short     1   "), "{table:#?}");
            let second = table.iter().skip(1).map(|line| line.split("1 minute").next().unwrap().width());
            assert!(second.collect::<std::collections::HashSet<_>>().len() == 1, "the columns are aligned: {table:#?}");
        }
    }

    #[test]
    fn a_long_key_is_cut_only_after_the_values() {
        let entries = [(Key::new(&"k".repeat(40)).unwrap(), entry(&"v".repeat(40), 940, None))];
        let lines = |cells| table(&entries, Time::from_secs(1000), cells);
        assert!(lines(80)[1].starts_with(&format!("{}  vvv", "k".repeat(40))));
        assert!(lines(60)[1].starts_with(&format!("{}…  vvvvvvv…", "k".repeat(35))), "{:?}", lines(60));
        assert!(lines(1).len() == 2, "nothing breaks");
    }

    #[test]
    fn only_long_texts_are_cut() {
        assert_eq!(fitted("ääää", 4), "ääää");
        assert_eq!(fitted("äääää", 4), "äää…");
        assert_eq!(fitted("漢漢漢", 5), "漢漢…");
        assert_eq!(fitted("漢漢漢", 4), "漢…");
        assert_eq!(fitted("abc", 0), "…");
    }
}
