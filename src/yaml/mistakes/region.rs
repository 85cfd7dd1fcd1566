//! A document, or the fields below a key, cut into entries at their indentation, and each entry tried alone.

use std::borrow::Cow;

use super::super::hand;
use super::quoting::{is_blank, quote, scan, split};
use super::{Found, Part, Root, entry, flow, meaning, odd, parse};
use crate::model::Key;

/// What is nested deeper is not looked into.
const DEEPEST: usize = 40;

/// Where a chunk stands: in the document itself, or among the fields or the items below some key.
#[derive(Clone, Copy)]
pub(super) struct Place {
    base: usize,
    list: bool,
    /// 0 for the document itself.
    depth: usize,
}

/// Reports the mistakes of a document.
pub(super) fn document(part: Part<'_>, found: &mut Found) {
    let mut lines = part.lines.to_vec();
    if let Some(first) = lines.first_mut() {
        *first = first.strip_prefix('\u{feff}').unwrap_or(first);
    }
    let begin = head(&mut lines, part.first, found);
    let part = Part { lines: &lines, first: part.first }.cut(begin, lines.len());
    let begin = part.lines.iter().position(|line| !is_blank(line)).unwrap_or(0);
    let first = part.line(begin).trim_start();
    if first.starts_with('{') {
        flow::document(part.cut(begin, part.lines.len()), found);
    } else {
        region(part, 0, found);
    }
}

/// Passes over what stands before the entries: directives and the line `---`. Returns how many lines these are.
fn head(lines: &mut [&str], first: u64, found: &mut Found) -> usize {
    let is_start =
        |line: &str| line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
    let idle = |line: &&str| is_blank(line) || line.starts_with('%');
    let Some(at) = lines.iter().position(|line| !idle(line)) else { return 0 };
    let Some(line) = lines.get_mut(at).filter(|line| is_start(line)) else { return 0 };
    let rest = line.get(3..).unwrap_or_default();
    if is_blank(rest) {
        return at + 1;
    }
    if rest.trim_start().starts_with('{') {
        *line = rest;
        return at;
    }
    found.add(first + at as u64, format!("{} has text after `---`; write the text on the next line", quote(line)));
    at + 1
}

/// How many spaces a line begins with.
pub(super) fn indent(line: &str) -> usize {
    line.bytes().take_while(|b| *b == b' ').count()
}

pub(super) fn is_item(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t']);
    line == "-" || line.starts_with("- ") || line.starts_with("-\t")
}

/// The indentation that the entries of a region have: that of the first, unless more of them have less.
fn base(part: Part<'_>, top: bool) -> Option<usize> {
    let marker = |line: &&&str| !(is_blank(line) || top && is_conflict(line));
    let indents = || part.lines.iter().filter(marker).map(|line| indent(line));
    let (first, least) = (indents().next()?, indents().min()?);
    let run = indents().take_while(|n| *n >= first).filter(|n| *n == first).count();
    let others = indents().filter(|n| *n == least).count();
    let is_usual = if top { run > others } else { run >= others };
    Some(if is_usual { first } else { least })
}

/// What stands before a chunk in its region, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Entry,
    /// An item of a list where no list may stand.
    Item,
    /// `key: |` without any text below.
    EmptyBlock,
    /// A line of the text that was meant to stand there.
    BlockText,
}

/// Reports the mistakes of the entries in a region.
pub(super) fn region(part: Part<'_>, depth: usize, found: &mut Found) {
    let Some(base) = base(part, depth == 0).filter(|_| depth < DEEPEST) else { return };
    let first = part.lines.iter().find(|line| !is_blank(line) && indent(line) == base);
    let place = Place { base, list: depth > 0 && first.is_some_and(|line| is_item(line)), depth };
    let (mut at, mut before) = (0, Before::Entry);
    while at < part.lines.len() && !found.is_full() {
        let line = part.line(at);
        if is_blank(line) {
            at += 1;
        } else if let Some(end) = foreign_end(part, at, base, found) {
            (at, before) = (end, Before::Entry);
        } else {
            let chunk = part.cut(at, chunk_end(part, at, base));
            at += chunk.lines.len();
            let after = kind(chunk, place, before);
            match (before, after) {
                // The lines of a list are one mistake, and so are those of a text that is not indented.
                (Before::Item, Before::Item) | (Before::BlockText, Before::BlockText) => {}
                (Before::EmptyBlock, Before::BlockText) => {
                    let text = "is not indented; begin each line of a text below `|` or `>` with two spaces";
                    found.add(chunk.first, format!("{} {text}", quote(line)));
                }
                _ => try_alone(chunk, place, found),
            }
            before = after;
        }
    }
}

fn kind(chunk: Part<'_>, place: Place, before: Before) -> Before {
    let line = chunk.line(0).trim_start();
    let value = split(line).map(|(_, value)| value.trim_start());
    if place.list {
        Before::Entry
    } else if is_item(line) {
        Before::Item
    } else if value.is_none() && matches!(before, Before::EmptyBlock | Before::BlockText) {
        Before::BlockText
    } else if value.is_some_and(entry::is_block_head) && chunk.lines.iter().skip(1).all(|line| is_blank(line)) {
        Before::EmptyBlock
    } else {
        Before::Entry
    }
}

/// Reports what spans several entries, a conflict of a merge or brackets that are not indented, and returns its end.
fn foreign_end(part: Part<'_>, at: usize, base: usize, found: &mut Found) -> Option<usize> {
    let line = part.line(at);
    if is_conflict(line) {
        let end = (at..part.lines.len()).find(|n| part.line(*n).starts_with(">>>>>>>")).unwrap_or(at);
        let text = "was left by a merge of git; keep one of the two texts and remove the lines `<<<<<<<`, `=======` and \
                    `>>>>>>>`";
        found.add(part.number(at), format!("{} {text}", quote(line)));
        let below = |n: &usize| is_blank(part.line(*n)) || indent(part.line(*n)) > base;
        return Some((end + 1..part.lines.len()).find(|n| !below(n)).unwrap_or(part.lines.len()));
    }
    let (_, value) = split(line.trim_start())?;
    let next = part.line(at + 1);
    if let Some(end) = unindented_text(part, at, base, value.trim_start()) {
        let text = "is a part of the text in quotes that begins above; begin it with more spaces than the line above";
        found.add(part.number(at + 1), format!("{} {text}", quote(next)));
        return Some(end);
    }
    if !matches!(value.trim(), "{" | "[") || indent(next) > base || is_blank(next) {
        return None;
    }
    // Up to the line that closes them, if that says so by its indentation.
    let mut open = 1;
    for (n, line) in part.lines.iter().enumerate().skip(at + 1) {
        open += balance(line);
        if open <= 0 {
            let closes = line.trim_start().starts_with(['}', ']']);
            let text = "stands in the brackets opened above; begin each line in them with two spaces";
            return closes.then(|| {
                if n > at + 1 {
                    found.add(part.number(at + 1), format!("{} {text}", quote(next)));
                }
                n + 1
            });
        }
    }
    None
}

/// Where a text in quotes ends that goes on in lines without a colon, which are not indented.
fn unindented_text(part: Part<'_>, at: usize, base: usize, value: &str) -> Option<usize> {
    let mark = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if scan(value, 0).end.is_some() {
        return None;
    }
    for (n, line) in part.lines.iter().enumerate().skip(at + 1) {
        if split(line).is_some() || n == at + 1 && indent(line) > base {
            return None;
        }
        if line.contains(mark) {
            return (line.trim_end().ends_with(mark) && line.matches(mark).count() == 1).then_some(n + 1);
        }
    }
    None
}

fn is_conflict(line: &str) -> bool {
    ["<<<<<<<", ">>>>>>>", "|||||||", "======="]
        .iter()
        .any(|mark| line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
}

/// How many brackets a line opens more than it closes, roughly.
fn balance(line: &str) -> i64 {
    line.bytes().fold(0, |sum, b| match b {
        b'{' | b'[' => sum + 1,
        b'}' | b']' => sum - 1,
        _ => sum,
    })
}

/// Where the chunk that begins at a line ends: at the next line that is not deeper, unless that goes on in some other way.
fn chunk_end(part: Part<'_>, at: usize, base: usize) -> usize {
    let first = part.line(at);
    let limit = indent(first).max(base);
    let value = split(first.trim_start()).map(|(_, value)| value);
    let takes_items = value.is_some_and(is_blank);
    let mut open = value.map_or(0, |value| if value.trim_start().starts_with(['{', '[']) { balance(value) } else { 0 });
    let is_explicit = first.trim_start().starts_with("? ");
    for (n, line) in part.lines.iter().enumerate().skip(at + 1) {
        let content = line.trim_start_matches([' ', '\t']);
        let is_tabbed = line.get(indent(line)..).is_some_and(|rest| rest.starts_with('\t'));
        let goes_on = is_blank(line)
            || is_tabbed
            || indent(line) > limit
            || takes_items && indent(line) == limit && is_item(line)
            || open > 0 && content.starts_with(['}', ']'])
            || is_explicit && indent(line) == limit && (content == ":" || content.starts_with(": "));
        if !goes_on {
            return n;
        }
        open += balance(line);
    }
    part.lines.len()
}

/// Whether a text is an entry, or an item of a list, to YAML.
pub(super) fn reads(text: &str, list: bool) -> bool {
    let begins = |c| text.lines().find(|line| !is_blank(line)).is_some_and(|line| line.trim_start().starts_with(c));
    match parse(text) {
        Ok(Root::Mapping) => !list && !begins('{'),
        Ok(Root::List) => list && !begins('['),
        _ => false,
    }
}

/// Tries one entry alone, and reports what is wrong with it.
fn try_alone(chunk: Part<'_>, place: Place, found: &mut Found) {
    let line = chunk.line(0);
    let own = indent(line);
    if own != place.base {
        let (own, base) = (spaces(own), spaces(place.base));
        let text = format!("{} begins with {own}, its neighbours with {base}", quote(line));
        return found.add(chunk.first, format!("{text}; {}", begin_with(place.base)));
    }
    if odd::is_tabbed(line) {
        return found.add(chunk.first, odd::describe(line));
    }
    if line.starts_with('\u{feff}') {
        let text = "begins with a byte order mark (U+FEFF), which cannot be seen; delete the line and write it anew";
        return found.add(chunk.first, format!("{} {text}", quote(line)));
    }
    let text = chunk.text();
    if place.depth == 0 {
        match hand::read(&text, chunk.first) {
            Ok(lines) if lines.len() == 1 && reads(&text, false) => {
                return lines.into_iter().for_each(|(line, _)| once(line.key, chunk, found));
            }
            _ => {}
        }
    }
    if !reads(&text, place.list) {
        let reported = found.faults.len();
        broken(chunk, place, found);
        if found.faults.len() == reported {
            let (line, what) = parse(&text).err().unwrap_or((0, "expected an entry of the form key: value".into()));
            let line = chunk.within(chunk.first + line);
            found.add(line, meaning::told(chunk, line, &format!("this is no YAML: {what}")));
        }
    }
    if place.depth == 0 {
        meaning::judge(chunk, found);
        let key = split(line).map(|(key, _)| key).filter(|key| !key.starts_with(['"', '\'']));
        if let Some(key) = key.and_then(|key| Key::new(key).ok()) {
            found.keys.entry(key).or_insert(chunk.first);
        }
    }
}

/// What to do with the indentation of a line.
pub(super) fn begin_with(n: usize) -> String {
    if n == 0 { "remove the spaces before it".into() } else { format!("begin it with {}", spaces(n)) }
}

fn spaces(n: usize) -> Cow<'static, str> {
    match n {
        0 => "no space".into(),
        1 => "1 space".into(),
        n => format!("{n} spaces").into(),
    }
}

/// Reports a key that stands in a line before.
pub(super) fn once(key: Key, chunk: Part<'_>, found: &mut Found) {
    if let Some(first) = found.keys.get(&key) {
        let text = format!("{} gives a key twice: it stands in line {first} too; remove one", quote(chunk.line(0)));
        return found.add(chunk.first, text);
    }
    found.keys.insert(key, chunk.first);
}

/// Reports the mistakes of an entry that is no YAML.
fn broken(chunk: Part<'_>, place: Place, found: &mut Found) {
    let mended = match odd::mend(chunk, place.list, found) {
        odd::Mended::All => return,
        odd::Mended::Partly(lines) => lines,
    };
    let lines: Vec<&str> = mended.iter().map(String::as_str).collect();
    let chunk = Part { lines: &lines, ..chunk };
    if !place.list {
        return entry::line(chunk, place.depth, found);
    }
    let line = chunk.line(0);
    let Some(item) = line.trim_start().strip_prefix('-').filter(|_| is_item(line)) else {
        let text = "stands among the items of a list; begin it with `- `";
        return found.add(chunk.first, format!("{} {text}", quote(line)));
    };
    // What stands behind the dash is indented as if the dash were a space.
    let first = " ".repeat(line.len() - item.len()) + item;
    let lines: Vec<&str> = std::iter::once(first.as_str()).chain(chunk.lines.iter().skip(1).copied()).collect();
    let chunk = Part { lines: &lines, ..chunk };
    if is_blank(&first) || is_item(&first) || split(first.trim_start()).is_some() {
        region(chunk, place.depth + 1, found);
    } else {
        entry::value(chunk, indent(&first), found);
    }
}
