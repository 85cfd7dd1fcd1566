//! `kvs list`: what there is, for a person or for a program.

use std::time::Duration;

use clap::Args;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::existing;
use super::failure::Done;
use super::format::Format;
use super::output::{Output, columns, escaped, unwritten};
use super::settings::Settings;
use super::units::{ago, count, words};
use crate::model::{Clock, Entry, Key, Query, Shape, SystemClock, Time};

/// How many entries are asked of the store at a time.
const PAGE: usize = 1000;
/// So many cells a table leaves for keys, and for values, however narrow the terminal is.
const LEAST: usize = 8;
/// What stands between two columns.
const GAP: &str = "  ";

const EXAMPLES: &str = "\
Examples:
  kvs list                               everything in the bucket
  kvs list kitchen/ --limit 10           what begins so, the first ten
  kvs list --keys | wc -l
  kvs list --json | jq -r '.[] | select(.expires) | .key'";

/// Show keys and values, ordered by key
///
/// On a terminal a table, as wide as the terminal ($COLUMNS, if set), with ages in words; values that are too long end with
/// `…`. Else a line for each key: the key, a tab, the value; in it a backslash
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
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<usize>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let client = existing::client(settings).await?;
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
        for line in table(&kept, SystemClock.now(), columns()) {
            output.line(&line)?;
        }
    }
    output.done()
}

/// The entries as lines of aligned columns, which fit into that many cells. The column of ends is there only if something
/// ends, that of ages only if keys and values have room beside it.
fn table(entries: &[(Key, Entry)], now: Time, cells: usize) -> Vec<String> {
    if entries.is_empty() {
        return vec!["nothing here".to_owned()];
    }
    // To the nearest second, so that who has just said three hours does not read two.
    let left = |end: Time| format!("in {}", words(end.since(now) + Duration::from_millis(500)));
    let key = |(key, _): &(Key, Entry)| fitted(key.as_str(), cells);
    let value = |(_, entry): &(Key, Entry)| fitted(&escaped(beginning(&entry.value, cells)), cells);
    let age = |(_, entry): &(Key, Entry)| ago(now.since(entry.updated()));
    let end = |(_, entry): &(Key, Entry)| entry.expires.map_or(String::new(), left);
    let mut keys = column("KEY", entries.iter().map(key));
    let mut values = column("VALUE", entries.iter().map(value));
    let mut others = vec![column("UPDATED", entries.iter().map(age))];
    if entries.iter().any(|(_, entry)| entry.expires.is_some()) {
        others.push(column("EXPIRES", entries.iter().map(end)));
    }
    let room = |others: &[Vec<String>]| cells.saturating_sub(others.iter().map(|c| width(c) + GAP.len()).sum());
    let least = 2 * LEAST + GAP.len();
    while room(&others) < least && !others.is_empty() {
        others.remove(0);
    }
    // Values give way first: a key that is cut cannot be copied from here.
    let room = room(&others).saturating_sub(GAP.len()).max(2 * LEAST);
    let for_values = room.saturating_sub(width(&keys)).max(LEAST.min(width(&values)));
    for value in &mut values {
        *value = fitted(value, for_values);
    }
    let for_keys = room.saturating_sub(width(&values)).max(LEAST);
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

/// The width in cells of the widest of them.
fn width(texts: &[String]) -> usize {
    texts.iter().map(|text| text.width()).max().unwrap_or(0)
}

/// As much of a value as can matter for so many cells.
fn beginning(value: &[u8], cells: usize) -> &[u8] {
    // One character is at most four bytes long, and few take no cell of their own.
    value.get(..cells.saturating_mul(16)).unwrap_or(value)
}

/// A text, or its beginning with an ellipsis, which takes at most so many cells.
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
    fn a_table_is_aligned_and_tells_ages_in_words() {
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
    fn a_table_is_as_wide_as_the_terminal_whatever_stands_in_it() {
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
    fn a_long_key_is_cut_only_where_values_have_given_way() {
        let entries = [(Key::new(&"k".repeat(40)).unwrap(), entry(&"v".repeat(40), 940, None))];
        let lines = |cells| table(&entries, Time::from_secs(1000), cells);
        assert!(lines(80)[1].starts_with(&format!("{}  vvv", "k".repeat(40))));
        assert!(lines(60)[1].starts_with(&format!("{}…  vvvvvvv…", "k".repeat(35))), "{:?}", lines(60));
        assert!(lines(1).len() == 2, "nothing breaks");
    }

    #[test]
    fn long_texts_are_cut_and_short_ones_are_not() {
        assert_eq!(fitted("ääää", 4), "ääää");
        assert_eq!(fitted("äääää", 4), "äää…");
        assert_eq!(fitted("漢漢漢", 5), "漢漢…");
        assert_eq!(fitted("漢漢漢", 4), "漢…");
        assert_eq!(fitted("abc", 0), "…");
    }
}
