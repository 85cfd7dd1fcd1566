//! `config.yaml` as a text: names and what stands behind them, each with its line. Which names there are is not known
//! here but in [`super::layers`].
//!
//! Values are kept as they are written: `0770` stays `0770`, and `no` is a text. What other readers of YAML would see
//! otherwise than a person does (anchors, aliases, tags, a name given twice) is refused.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::failure::{Done, Failure};

/// Lists and maps within each other; no setting needs more.
const DEPTH: usize = 3;

/// The file.
#[derive(Clone, Default, Debug)]
pub(super) struct File {
    /// Where it is, or would be.
    pub(super) path: PathBuf,
    /// What stands in it.
    pub(super) settings: Vec<Setting>,
}

/// A name and what stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    /// The name as it is written.
    pub(super) name: String,
    /// Its line, from 1.
    pub(super) line: usize,
    /// What stands behind it.
    pub(super) value: Node,
}

/// What stands behind a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// `~`, `null`, or an empty place.
    Nothing,
    /// A text, a number, or whatever else stands on one line.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Names with something behind them.
    Map(Vec<Setting>),
}

/// Something in the file that cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The line, from 1.
    pub(super) line: usize,
    /// What is wrong and what to do.
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }

    /// The fault as one of that file.
    pub(super) fn of(self, path: &Path) -> Failure {
        Failure::Usage(format!("{}: line {}: {}", path.display(), self.line, self.text))
    }
}

impl File {
    /// Reads the file. A missing one is empty, unless it was asked for by name.
    pub(super) fn read(path: &Path, asked_for: bool) -> Done<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound && !asked_for => String::new(),
            Err(e) => return Err(Failure::file("read the settings in", path, &e)),
        };
        let settings = parse(&text).map_err(|fault| fault.of(path))?;
        Ok(Self { path: path.to_path_buf(), settings })
    }
}

/// The settings in that text.
pub(super) fn parse(text: &str) -> Result<Vec<Setting>, Fault> {
    let mut reader = Reader { events: Parser::new_from_str(text.trim_start_matches('\u{feff}')) };
    let mut settings = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(settings.unwrap_or_default()),
            (Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
            (_, line) if settings.is_some() => {
                return Err(Fault::new(line, "a second document begins here; put all settings into one"));
            }
            (event, line) => match reader.node(event, line, 0)? {
                Node::Nothing => settings = Some(vec![]),
                Node::Map(map) => settings = Some(map),
                _ => return Err(Fault::new(line, "expected settings, one a line, as in `max_value: 1MiB`")),
            },
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(e)) => Err(Fault::new(e.marker().line(), format!("this is no YAML: {}", e.info()))),
            None => Err(Fault::new(1, "this is no YAML: it ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        let plain = |anchor: usize, tagged: bool| {
            let wrong = "anchors (&), aliases (*) and tags (!) are not taken; a text that begins so stands in quotes";
            if anchor != 0 || tagged { Err(Fault::new(line, wrong)) } else { Ok(()) }
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                Ok(if is_null { Node::Nothing } else { Node::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.list().map(Node::List)
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                if depth == DEPTH {
                    return Err(Fault::new(line, "no setting has maps as deep as this"));
                }
                self.map(depth + 1).map(Node::Map)
            }
            _ => plain(1, false).map(|()| Node::Nothing),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, Fault> {
        let mut all = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(all),
                (event, line) => match self.node(event, line, DEPTH) {
                    Ok(Node::Text(text)) => all.push(text),
                    Err(fault) => return Err(fault),
                    Ok(_) => return Err(Fault::new(line, "in a list of settings stand texts only")),
                },
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Setting>, Fault> {
        let mut all: Vec<Setting> = vec![];
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(all),
                (event, line) => match self.node(event, line, DEPTH)? {
                    Node::Text(name) => (name, line),
                    _ => return Err(Fault::new(line, "expected a name here")),
                },
            };
            if all.iter().any(|other| other.name == name) {
                return Err(Fault::new(line, format!("`{name}` is given twice; remove one")));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth)?;
            all.push(Setting { name, line, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, line: usize, value: &str) -> Setting {
        Setting { name: name.to_owned(), line, value: Node::Text(value.to_owned()) }
    }

    #[test]
    fn values_are_as_they_are_written_and_know_their_line() {
        let given =
            parse("# ours\nmode: 0660\n\nb: 'no'\nlist: [a, \"b c\"]\nmap:\n  shop: {reads: open}\n  x:\n").unwrap();
        let list = Node::List(vec!["a".into(), "b c".into()]);
        let shop = Node::Map(vec![text("reads", 7, "open")]);
        let map = Node::Map(vec![
            Setting { name: "shop".into(), line: 7, value: shop },
            Setting { name: "x".into(), line: 8, value: Node::Nothing },
        ]);
        assert_eq!(given[..2], [text("mode", 2, "0660"), text("b", 4, "no")]);
        assert_eq!(given[2], Setting { name: "list".into(), line: 5, value: list });
        assert_eq!(given[3], Setting { name: "map".into(), line: 6, value: map });
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "# nothing\n\n", "~\n", "{}\n", "---\n", "---\n...\n", "\u{feff}"] {
            assert!(parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused_with_its_line() {
        for (text, line, says) in [
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is given twice"),
            ("m:\n  a: 1\n  a: 2\n", 3, "`a` is given twice"),
            ("- a\n", 1, "one a line"),
            ("text\n", 1, "one a line"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("a: &x 1\n", 1, "anchors"),
            ("a: 1\nb: *x\n", 2, ""),
            ("a: !t 1\n", 1, "tags"),
            ("a: [1, [2]]\n", 1, "texts only"),
            ("a: [{b: 1}]\n", 1, "deep"),
            ("[a]: 1\n", 1, "a name"),
            ("~: 1\n", 1, "a name"),
            ("a: {b: {c: {d: 1}}}\n", 1, "deep"),
            ("a: 1\nb: [\"x\n", 2, "no YAML"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.text.contains(says), "{text:?} gave {fault:?}");
            assert!(fault.line >= line, "{text:?} gave {fault:?}");
        }
    }
}
