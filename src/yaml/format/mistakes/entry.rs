//! An entry that is not YAML: its line, its value, and the lines below.

use super::flow;
use super::lines::{LineRange, Mistakes, begin_with, indent, is_item};
use super::quoting::{in_quotes, instead, is_blank, put_in_quotes, quote, reserved, scan, split};

/// The lines below the first line of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Below {
    /// Fields, whose mistakes are not reported yet.
    Fields,
    /// Nothing, or something whose mistakes are reported.
    Done,
}

/// Reports the mistakes of an entry `key: value`, or `key:` with fields below.
pub(crate) fn line(chunk: LineRange<'_>, found: &mut Mistakes) -> Below {
    let line = chunk.line(0).trim_start_matches([' ', '\t']);
    let Some((key, value)) = split(line) else {
        found.add(chunk.first, without_colon(line));
        let below = chunk.lines.iter().skip(1).find(|line| !is_blank(line));
        let has_fields = below.is_some_and(|line| is_item(line) || split(line.trim_start()).is_some());
        return if has_fields && !line.contains(['"', '{', '[']) { Below::Fields } else { Below::Done };
    };
    if let Some(text) = bad_key(line, key, value) {
        found.add(chunk.first, text);
    } else if is_blank(value) {
        return Below::Fields;
    } else {
        self::value(chunk, chunk.line(0).len() - value.len(), found);
    }
    Below::Done
}

/// The error text for a line that has no colon where YAML expects one.
fn without_colon(line: &str) -> String {
    let q = quote(line);
    let write = |key: &str, value: &str| {
        let line = instead(&format!("{key}: {value}"));
        line.map_or_else(|| "write `key: value`".into(), |line| format!("write {line}"))
    };
    if line.starts_with(['"', '\'']) {
        let Some(end) = scan(line, 0).end else {
            return format!("{q} has a quote that is not closed; close the key with the same quote before the colon");
        };
        let (key, rest) = line.split_at_checked(end).unwrap_or_default();
        let rest = rest.trim();
        return match rest.strip_prefix(':').or_else(|| rest.strip_prefix('=')) {
            Some(value) if !value.is_empty() => {
                format!("{q} has no colon and space after the key; {}", write(key, value.trim()))
            }
            _ if rest.is_empty() => format!("{q} has no colon; write `key: value`"),
            _ => format!("{q} has text after a closing quote; put the whole key in quotes, then a colon and a space"),
        };
    }
    if is_item(line) {
        return format!("{q} is an item of a list among keys; write `key: value`");
    }
    if line.starts_with("//") || line.starts_with("/*") || line.starts_with(';') {
        return format!("{q} is not a comment in YAML; begin a comment with `#`");
    }
    match line.chars().next() {
        Some('{') => return format!("{q} has no key before the `{{`; write `key: {{value: ...}}`"),
        Some('%') => {
            return format!(
                "{q} begins with `%`, which is a directive in YAML; remove it, or begin a comment with `#`"
            );
        }
        Some('[') => return format!("{q} has no key before the `[`; write `key: value`"),
        Some(c @ ('}' | ']')) => return format!("{q} begins with `{c}`, which closes nothing; remove it"),
        _ => {}
    }
    if line.len() > 3 && line.bytes().all(|b| b == b'-') {
        return format!("{q} has no colon; a line that begins a document is `---`, a comment begins with `#`");
    }
    let colon = line.find(':');
    if let Some(at) = line.find('=').filter(|at| *at > 0 && colon.is_none_or(|colon| *at < colon)) {
        let (key, value) = line.split_at_checked(at).unwrap_or_default();
        let value = value.get(1..).unwrap_or_default().trim();
        return format!("{q} has `=` where a colon belongs; {}", write(key.trim(), value));
    }
    match colon.and_then(|at| line.split_at_checked(at)) {
        Some((_, rest)) if rest.starts_with("://") => {
            let line = instead(&format!("key: {line}")).unwrap_or_else(|| "`key: value`".into());
            format!("{q} has no key; write {line}")
        }
        Some((key, rest)) if !line.contains(" #") => {
            let value = rest.get(1..).unwrap_or_default();
            format!("{q} has no space after the colon; {}", write(key, value))
        }
        _ => format!("{q} has no colon; write `key: value`"),
    }
}

/// The error text for a key that is not valid as it is written.
fn bad_key(line: &str, key: &str, value: &str) -> Option<String> {
    let q = quote(line);
    if let Some(at) = scan(key, 0).bad_escape.filter(|_| key.starts_with('"')) {
        return Some(format!("{q} has {}", bad_escape(key, at)));
    }
    if key == "<<" {
        return Some(format!(
            "{q} is a merge key, which is not supported; write the entries out, or put the key << in quotes"
        ));
    }
    if key.len() > crate::model::Key::MAX_BYTES {
        let text = "write a shorter key";
        return Some(format!(
            "{q} has a key of {} bytes; a key has at most {}: {text}",
            key.len(),
            crate::model::Key::MAX_BYTES
        ));
    }
    let first = key.chars().next()?;
    let reserved = matches!(first, '@' | '`' | '%' | '&' | '*' | '!' | '|' | '>' | ',' | '{' | '[' | '}' | ']');
    reserved.then(|| {
        let line = instead(&format!("{}:{value}", in_quotes(key))).unwrap_or_else(|| "`\"key\": value`".into());
        format!("{q} begins with `{first}`, which has a meaning in YAML; put the key in quotes: {line}")
    })
}

fn bad_escape(text: &str, at: usize) -> String {
    let escape: String = text.get(at..).unwrap_or_default().chars().take(2).collect();
    format!(
        "`{escape}` within double quotes, which is not an escape; use single quotes, or double the backslash: \
         `\\{escape}`"
    )
}

/// The value of an entry: the text of the chunk, and the offset of the value in it.
struct ValueText<'a> {
    chunk: LineRange<'a>,
    text: &'a str,
    at: usize,
    /// The key on the same line, if there is one.
    key: &'a str,
}

/// Reports the mistakes of a value at an offset of the first line, and of the lines below.
pub(crate) fn value(chunk: LineRange<'_>, at: usize, found: &mut Mistakes) {
    let text = chunk.text();
    let skipped = text.get(at..).map_or(0, |rest| rest.len() - rest.trim_start_matches([' ', '\t']).len());
    let key = split(chunk.line(0).trim_start()).map_or("", |(key, _)| key);
    let value = ValueText { chunk, text: &text, at: at + skipped, key };
    match value.rest(value.at).chars().next() {
        Some('"' | '\'') => value.quoted(found),
        Some('{' | '[') => value.flow(found),
        Some('|' | '>') if is_block_head(value.first_line()) => value.block(found),
        _ => value.plain(found),
    }
}

/// Whether a value is the head of a block text, such as `|`, `>-` or `|2 # comment`.
pub(crate) fn is_block_head(value: &str) -> bool {
    let Some(rest) = value.strip_prefix(['|', '>']) else { return false };
    let marks = rest.len() - rest.trim_start_matches(|c: char| c == '+' || c == '-' || c.is_ascii_digit()).len();
    marks <= 2 && rest.get(marks..).is_some_and(is_blank)
}

impl ValueText<'_> {
    fn rest(&self, at: usize) -> &str {
        self.text.get(at..).unwrap_or_default()
    }

    /// The part of the value on the first line.
    fn first_line(&self) -> &str {
        self.rest(self.at).split('\n').next().unwrap_or_default()
    }

    /// The line of the chunk with this offset.
    fn line_of(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or(self.text).bytes().filter(|b| *b == b'\n').count()
    }

    fn add(&self, at: usize, text: &str, found: &mut Mistakes) {
        let line = self.line_of(at).min(self.chunk.lines.len().saturating_sub(1));
        found.add(self.chunk.number(line), format!("{} {text}", quote(self.chunk.line(line))));
    }

    fn quoted(&self, found: &mut Mistakes) {
        let quoted = scan(self.text, self.at);
        if let Some(at) = quoted.bad_escape {
            self.add(at, &format!("has {}", bad_escape(self.text, at)), found);
        }
        let is_double = self.rest(self.at).starts_with('"');
        let Some(end) = quoted.end else {
            let text = if is_double && self.first_line().trim_end().ends_with("\\\"") {
                "has a quote that is not closed: a backslash before a quote makes it part of the text; use single \
                 quotes, or double the backslash"
            } else {
                "has a quote that is not closed; close it at the end of the text"
            };
            return self.add(self.at, text, found);
        };
        let mark = if is_double { '"' } else { '\'' };
        let rest_of_line = self.rest(end).split('\n').next().unwrap_or_default();
        if rest_of_line.starts_with('#') {
            return self.add(end, "has no space before the `#`; write a space before a comment", found);
        }
        if is_blank(rest_of_line) {
            return self.below(self.line_of(end) + 1, false, found);
        }
        let (opened, closed) = (self.line_of(self.at), self.line_of(end));
        if closed > opened && self.chunk.line(closed).matches(mark).count() % 2 == 0 {
            return self.add(self.at, "has a quote that is not closed; close it at the end of the text", found);
        }
        if rest_of_line.trim() == "," {
            return self.add(end, "ends with a comma, which is only allowed between brackets; remove it", found);
        }
        let whole = self.first_line().trim_end();
        let inner = whole.get(1..whole.len().saturating_sub(1)).filter(|_| whole.len() > 2 && whole.ends_with(mark));
        let better = match inner {
            Some(inner) if is_double => format!("'{}'", inner.replace('\'', "''")),
            Some(inner) => format!("'{}'", inner.replace("''", "'").replace('\'', "''")),
            None => in_quotes(&whole.replace(mark, "")),
        };
        let line = self.instead(&better).map_or_else(String::new, |line| format!(", such as {line}"));
        let text = match (rest_of_line.contains(mark), is_double) {
            (true, true) => {
                format!("has quotes within quotes; put `\\` before those within, or use single quotes{line}")
            }
            (true, false) => format!("has a quote within single quotes; write it twice{line}"),
            _ => format!("has text after a closing quote; put all of it within the quotes{line}"),
        };
        self.add(end, &text, found);
    }

    fn instead(&self, value: &str) -> Option<String> {
        if self.key.is_empty() { instead(value) } else { instead(&format!("{}: {value}", self.key)) }
    }

    fn flow(&self, found: &mut Mistakes) {
        let read = flow::read(self.text, self.at);
        for (at, text) in &read.errors {
            self.add(*at, text, found);
        }
        let Some(end) = read.end else {
            if read.errors.is_empty() {
                let open = self.rest(read.open).chars().next().unwrap_or('{');
                let close = if open == '[' { ']' } else { '}' };
                self.add(read.open, &format!("opens `{open}`, which is not closed; close it with `{close}`"), found);
            }
            return;
        };
        let rest_of_line = self.rest(end).split('\n').next().unwrap_or_default();
        if is_blank(rest_of_line) && !rest_of_line.starts_with('#') {
            return self.below(self.line_of(end) + 1, false, found);
        }
        let text = match rest_of_line.trim_start().chars().next() {
            Some(c @ ('}' | ']' | ',')) => format!("has a `{c}` too many; remove it"),
            Some('#') => "has no space before the `#`; write a space before a comment".into(),
            _ => "has text after the closing bracket; remove it, or put the whole value in quotes".into(),
        };
        self.add(end, &text, found);
    }

    fn block(&self, found: &mut Mistakes) {
        let lines = || self.chunk.lines.iter().enumerate().skip(1);
        let Some((first, line)) = lines().find(|(_, line)| !line.trim().is_empty()) else { return };
        let depth = indent(line);
        for (n, line) in lines() {
            let own = indent(line);
            let text = if n < first && own > depth {
                "has more spaces than the text below it; remove them".into()
            } else if n >= first && line.get(own..).is_some_and(|rest| rest.starts_with('\t')) && own < depth.max(1) {
                "is indented by a tab, which YAML does not allow; write spaces instead of the tab".into()
            } else if n > first && own < depth && !is_blank(line) {
                format!("is indented less than the text above; begin it with {depth} spaces")
            } else {
                continue;
            };
            found.add(self.chunk.number(n), format!("{} {text}", quote(line)));
        }
    }

    fn plain(&self, found: &mut Mistakes) {
        let line = self.first_line();
        let comment = line.find(" #");
        let value = line.get(..comment.unwrap_or(line.len())).unwrap_or_default().trim();
        if let Some(what) = reserved(value) {
            let better = put_in_quotes(self.key, value);
            return self.add(self.at, &format!("{what}; {better}"), found);
        }
        if value.contains(": ") || value.contains(":\t") || value.ends_with(':') {
            let better = put_in_quotes(self.key, value);
            let text = format!("has a second colon with a space; {better}, or write each entry on a line of its own");
            return self.add(self.at, &text, found);
        }
        self.below(1, comment.is_some(), found);
    }

    /// Reports the lines below a value that cannot belong to it.
    fn below(&self, from: usize, after_comment: bool, found: &mut Mistakes) {
        let rest = || self.chunk.lines.iter().enumerate().skip(from).filter(|(_, line)| !is_blank(line));
        let Some((first, line)) = rest().next() else { return };
        let depth = indent(line);
        let mut is_reported = false;
        for (n, line) in rest().filter(|(_, line)| indent(line) <= depth && split(line.trim_start()).is_some()) {
            let text = "is indented more than the key above, which has its value already";
            let advice = begin_with(indent(self.chunk.line(0)));
            found.add(self.chunk.number(n), format!("{} {text}; {advice}", quote(line)));
            is_reported = true;
        }
        let is_closer = line.trim_start().starts_with(['}', ']']);
        if is_reported
            || !is_closer && !after_comment && from == 1 && !self.rest(self.at).starts_with(['"', '\'', '{', '['])
        {
            return;
        }
        let text = match line.trim_start().chars().next() {
            Some(c @ ('}' | ']')) => format!("has a `{c}` that closes nothing; remove it"),
            _ if after_comment => "goes on with a text after a comment; put the comment on a line of its own".into(),
            _ => "is below a value that has ended; remove it, or give it a key".into(),
        };
        found.add(self.chunk.number(first), format!("{} {text}", quote(line)));
    }
}
