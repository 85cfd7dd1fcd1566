//! Characters that look like others: tabs in an indentation, special spaces, full-width colons, typographic quotes,
//! control characters. They are the mistake if an entry can be read after they are replaced.

use super::lines::{LineRange, Mistakes, indent, is_item, reads};
use super::quoting::{is_blank, is_hidden, quote, split};

/// More lines than this are not tried one by one.
const MAX_TRIED_LINES: usize = 64;

/// Whether the replacements explain all mistakes of a chunk.
pub(crate) enum Mended {
    All,
    /// They do not. These are its lines, without the characters that are always a mistake.
    Partly(Vec<String>),
}

/// Reports the lines of a chunk that have such characters.
pub(crate) fn mend(chunk: LineRange<'_>, list: bool, found: &mut Mistakes) -> Mended {
    let replaced = [hidden, quotes, all].iter().any(|fix| explains(chunk, list, fix, found));
    if replaced || [2, 4, 8, 1].iter().any(|width| explains(chunk, list, &|line| tabs(line, *width), found)) {
        return Mended::All;
    }
    let mut lines = Vec::new();
    for (n, line) in chunk.lines.iter().enumerate() {
        if line.contains('\0') {
            found.add(chunk.number(n), describe(line));
        }
        let content = line.trim_start_matches([' ', '\t']);
        let is_spoilt = is_tabbed(line) && (n == 0 || is_item(content) || split(content).is_some());
        if is_spoilt {
            found.add(chunk.number(n), describe(line));
        }
        let line = line.replace('\0', " ");
        lines.push(if is_spoilt { tabs(&line, 2) } else { line });
    }
    Mended::Partly(lines)
}

/// Whether a chunk can be read after the replacement. Reports each line that needs it.
fn explains(chunk: LineRange<'_>, list: bool, fix: &dyn Fn(&str) -> String, found: &mut Mistakes) -> bool {
    let mut lines: Vec<String> = chunk.lines.iter().map(|line| fix(line)).collect();
    let changed: Vec<usize> =
        (0..lines.len()).filter(|n| lines.get(*n).map(String::as_str) != Some(chunk.line(*n))).collect();
    if changed.is_empty() || changed.len() > MAX_TRIED_LINES || !reads(&(lines.join("\n") + "\n"), list) {
        return false;
    }
    let mut is_reported = false;
    for at in &changed {
        let Some(line) = lines.get_mut(*at) else { continue };
        let fixed = std::mem::replace(line, chunk.line(*at).to_owned());
        if !reads(&(lines.join("\n") + "\n"), list) {
            found.add(chunk.number(*at), describe(chunk.line(*at)));
            is_reported = true;
        }
        if let Some(line) = lines.get_mut(*at) {
            *line = fixed;
        }
    }
    if let Some(at) = changed.first().filter(|_| !is_reported) {
        found.add(chunk.number(*at), describe(chunk.line(*at)));
    }
    true
}

pub(crate) fn is_tabbed(line: &str) -> bool {
    line.get(indent(line)..).is_some_and(|rest| rest.starts_with('\t')) && !is_blank(line)
}

fn tabs(line: &str, width: usize) -> String {
    if !is_tabbed(line) {
        return line.into();
    }
    let content = line.trim_start_matches([' ', '\t']);
    let head = line.get(..line.len() - content.len()).unwrap_or_default();
    head.replace('\t', &" ".repeat(width)) + content
}

fn is_colon(c: char) -> bool {
    matches!(c, '：' | '﹕' | '︓' | '∶' | '꞉' | 'ː' | '׃' | '։')
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t' && c != '\u{85}'
}

fn hidden(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        match c {
            _ if is_colon(c) => out.push_str(": "),
            '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}' | '\u{2060}'..='\u{2064}' if out.ends_with(' ') => {}
            _ if is_hidden(c) || is_control(c) => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

fn quotes(line: &str) -> String {
    line.replace(['“', '”', '„', '‟', '«', '»', '＂'], "\"").replace(['‘', '’', '‚', '‛', '＇'], "'")
}

fn all(line: &str) -> String {
    quotes(&hidden(line))
}

/// The odd character of a line, and what to write instead.
pub(crate) fn describe(line: &str) -> String {
    let q = quote(line);
    if let Some(c) = line.chars().find(|c| is_control(*c)) {
        let code = u32::from(c);
        let name = if code == 0 { " (NUL)" } else { "" };
        let at = line.chars().take_while(|other| *other != c).count() + 1;
        return format!("{q} holds the control character \\x{code:02x}{name} at character {at}; remove it");
    }
    if let Some(c) = line.chars().find(|c| is_colon(*c)) {
        return format!("{q} has `{c}` (U+{:04X}), which is not a colon in YAML; write `:` and a space", u32::from(c));
    }
    if is_tabbed(line) {
        return format!("{q} is indented by a tab, which YAML does not allow; write spaces instead of the tab");
    }
    if let Some(c) = line.chars().find(|c| is_hidden(*c)) {
        let code = u32::from(c);
        let name = match code {
            0xa0 => "a no-break space",
            0x200b..=0x200f | 0xfeff | 0xad | 0x2060..=0x2064 => "an invisible character",
            _ => "a special space",
        };
        return format!("{q} holds {name} (U+{code:04X}); write an ordinary space instead of it");
    }
    format!("{q} has typographic quotes, which are not quotes in YAML; write `\"` instead")
}
