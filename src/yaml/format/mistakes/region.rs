//! Cuts a document, or the fields of a key, into entries by their indentation, and tries each entry alone.

use super::lines::{LineRange, Mistakes, begin_with, indent, is_item, once, parse, reads, spaces};
use super::quoting::{is_blank, quote, scan, split};
use super::{entry, flow, meaning, odd};
use crate::model::Key;
use crate::yaml::format::handwritten;
use crate::yaml::format::parse_error::ParseError;

/// Deeper nesting is not examined.
const MAX_DEPTH: usize = 40;

/// The position of a chunk: in the document itself, or among the fields or items of a key.
#[derive(Clone, Copy)]
pub(crate) struct ChunkContext {
    base: usize,
    list: bool,
    /// 0 for the document itself.
    depth: usize,
}

/// Reports the mistakes of a document.
pub(crate) fn document(part: LineRange<'_>, found: &mut Mistakes) {
    let mut lines = part.lines.to_vec();
    if let Some(first) = lines.first_mut() {
        *first = first.strip_prefix('\u{feff}').unwrap_or(first);
    }
    let begin = head(&mut lines, part.first, found);
    let part = LineRange { lines: &lines, first: part.first }.slice(begin, lines.len());
    let begin = part.lines.iter().position(|line| !is_blank(line)).unwrap_or(0);
    let first = part.line(begin).trim_start();
    if first.starts_with('{') {
        flow::document(part.slice(begin, part.lines.len()), found);
    } else {
        region(part, 0, found);
    }
}

/// Skips directives and the line `---`. Returns the number of these lines.
fn head(lines: &mut [&str], first: u64, found: &mut Mistakes) -> usize {
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

/// The indentation of the entries of a region: that of the first, unless more of them have less.
fn base(part: LineRange<'_>, top: bool) -> Option<usize> {
    let marker = |line: &&&str| !(is_blank(line) || top && is_conflict(line));
    let indents = || part.lines.iter().filter(marker).map(|line| indent(line));
    let (first, least) = (indents().next()?, indents().min()?);
    let run = indents().take_while(|n| *n >= first).filter(|n| *n == first).count();
    let others = indents().filter(|n| *n == least).count();
    let is_usual = if top { run > others } else { run >= others };
    Some(if is_usual { first } else { least })
}

/// The kind of the chunk before another one in its region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Entry,
    /// An item of a list where a list is not allowed.
    Item,
    /// `key: |` without a text below it.
    EmptyBlock,
    /// A line of the text that was meant to be there.
    BlockText,
}

/// Reports the mistakes of the entries in a region.
pub(crate) fn region(part: LineRange<'_>, depth: usize, found: &mut Mistakes) {
    let Some(base) = base(part, depth == 0).filter(|_| depth < MAX_DEPTH) else { return };
    let first = part.lines.iter().find(|line| !is_blank(line) && indent(line) == base);
    let context = ChunkContext { base, list: depth > 0 && first.is_some_and(|line| is_item(line)), depth };
    let (mut at, mut before) = (0, Before::Entry);
    while at < part.lines.len() && !found.is_full() {
        let line = part.line(at);
        if is_blank(line) {
            at += 1;
        } else if let Some(end) = foreign_end(part, at, base, found) {
            (at, before) = (end, Before::Entry);
        } else {
            let chunk = part.slice(at, chunk_end(part, at, base));
            at += chunk.lines.len();
            let after = kind(chunk, context, before);
            match (before, after) {
                // The lines of a list are one mistake, and so are those of a text without indentation.
                (Before::Item, Before::Item) | (Before::BlockText, Before::BlockText) => {}
                (Before::EmptyBlock, Before::BlockText) => {
                    let text = "is not indented; begin each line of a text below `|` or `>` with two spaces";
                    found.add(chunk.first, format!("{} {text}", quote(line)));
                }
                _ => try_alone(chunk, context, found),
            }
            before = after;
        }
    }
}

fn kind(chunk: LineRange<'_>, context: ChunkContext, before: Before) -> Before {
    let line = chunk.line(0).trim_start();
    let value = split(line).map(|(_, value)| value.trim_start());
    if context.list {
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

/// Reports mistakes that span several entries, such as a merge conflict or brackets without indentation, and returns
/// their end.
fn foreign_end(part: LineRange<'_>, at: usize, base: usize, found: &mut Mistakes) -> Option<usize> {
    let line = part.line(at);
    if is_conflict(line) {
        let end = (at..part.lines.len()).find(|n| part.line(*n).starts_with(">>>>>>>")).unwrap_or(at);
        let text = "was left by a merge of git; keep one of the two texts and remove the lines `<<<<<<<`, `=======` \
                    and `>>>>>>>`";
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
    // Up to the closing line, if its indentation shows that it closes them.
    let mut open = 1;
    for (n, line) in part.lines.iter().enumerate().skip(at + 1) {
        open += balance(line);
        if open <= 0 {
            let closes = line.trim_start().starts_with(['}', ']']);
            let text = "is in the brackets opened above; begin each line in them with two spaces";
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

/// The end of a quoted text that continues on lines without indentation and colon.
fn unindented_text(part: LineRange<'_>, at: usize, base: usize, value: &str) -> Option<usize> {
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

/// Roughly, how many brackets a line opens minus how many it closes.
fn balance(line: &str) -> i64 {
    line.bytes().fold(0, |sum, b| match b {
        b'{' | b'[' => sum + 1,
        b'}' | b']' => sum - 1,
        _ => sum,
    })
}

/// The end of a chunk: the next line that is not deeper, unless it continues in another way.
fn chunk_end(part: LineRange<'_>, at: usize, base: usize) -> usize {
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

/// Tries one entry alone, and reports what is wrong with it.
fn try_alone(chunk: LineRange<'_>, context: ChunkContext, found: &mut Mistakes) {
    let line = chunk.line(0);
    let own = indent(line);
    if own != context.base {
        let (own, base) = (spaces(own), spaces(context.base));
        let text = format!("{} begins with {own}, its neighbours with {base}", quote(line));
        return found.add(chunk.first, format!("{text}; {}", begin_with(context.base)));
    }
    if odd::is_tabbed(line) {
        return found.add(chunk.first, odd::describe(line));
    }
    if line.starts_with('\u{feff}') {
        let text = "begins with a byte order mark (U+FEFF), which is invisible; delete the line and write it again";
        return found.add(chunk.first, format!("{} {text}", quote(line)));
    }
    let text = chunk.text();
    if context.depth == 0 {
        match handwritten::read(&text, chunk.first) {
            Ok(lines) if lines.len() == 1 && reads(&text, false) => {
                return lines.into_iter().for_each(|(line, _)| once(line.key, chunk, found));
            }
            _ => {}
        }
    }
    if !reads(&text, context.list) {
        let reported = found.errors.len();
        broken(chunk, context, found);
        if found.errors.len() == reported {
            let (line, what) = parse(&text).err().unwrap_or((0, "expected an entry of the form key: value".into()));
            let error = ParseError::invalid_yaml(chunk.within(chunk.first + line), what);
            found.add(error.line, meaning::explain(chunk, &error));
        }
    }
    if context.depth == 0 {
        meaning::report(chunk, found);
        let key = split(line).map(|(key, _)| key).filter(|key| !key.starts_with(['"', '\'']));
        if let Some(key) = key.and_then(|key| Key::new(key).ok()) {
            found.keys.entry(key).or_insert(chunk.first);
        }
    }
}

/// Reports the mistakes of an entry that is not YAML.
fn broken(chunk: LineRange<'_>, context: ChunkContext, found: &mut Mistakes) {
    let mended = match odd::mend(chunk, context.list, found) {
        odd::Mended::All => return,
        odd::Mended::Partly(lines) => lines,
    };
    let lines: Vec<&str> = mended.iter().map(String::as_str).collect();
    let chunk = LineRange { lines: &lines, ..chunk };
    if !context.list {
        if entry::line(chunk, found) == entry::Below::Fields {
            region(chunk.slice(1, chunk.lines.len()), context.depth + 1, found);
        }
        return;
    }
    let line = chunk.line(0);
    let Some(item) = line.trim_start().strip_prefix('-').filter(|_| is_item(line)) else {
        let text = "is among the items of a list; begin it with `- `";
        return found.add(chunk.first, format!("{} {text}", quote(line)));
    };
    // The text after the dash is indented as if the dash were a space.
    let first = " ".repeat(line.len() - item.len()) + item;
    let lines: Vec<&str> = std::iter::once(first.as_str()).chain(chunk.lines.iter().skip(1).copied()).collect();
    let chunk = LineRange { lines: &lines, ..chunk };
    if is_blank(&first) || is_item(&first) || split(first.trim_start()).is_some() {
        region(chunk, context.depth + 1, found);
    } else {
        entry::value(chunk, indent(&first), found);
    }
}
