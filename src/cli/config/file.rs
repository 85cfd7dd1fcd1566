//! `config.yaml` as names and values with line numbers. [`super::sources`] knows which names are settings.
//!
//! Values keep their spelling: `0770` stays `0770`, and `no` is text. Anchors, aliases, tags and names that are given
//! twice are errors, because other YAML readers would understand them differently.

use std::io;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use crate::cli::exit::{CliResult, Failure};

/// The maximum depth of nested mappings; no setting needs more.
const MAX_DEPTH: usize = 3;

#[derive(Clone, Default, Debug)]
pub(crate) struct ConfigFile {
    /// The path, also if the file does not exist.
    pub(crate) path: PathBuf,
    pub(crate) settings: Vec<FileSetting>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileSetting {
    pub(crate) name: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) value: FileValue,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FileValue {
    /// `~`, `null`, or no value.
    Empty,
    /// A single value, as it is written.
    Text(String),
    List(Vec<String>),
    Mapping(Vec<FileSetting>),
}

/// An error in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConfigError {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl ConfigError {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }

    pub(crate) fn in_file(self, path: &Path) -> Failure {
        Failure::Usage(format!("{}: line {}: {}", path.display(), self.line, self.text))
    }
}

impl ConfigFile {
    /// Reads the file. If it does not exist, it counts as empty, unless the user named it.
    pub(crate) fn read(path: &Path, is_required: bool) -> CliResult<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !is_required => String::new(),
            Err(e) => return Err(Failure::file("read the settings in", path, &e)),
        };
        let settings = parse(&text).map_err(|error| error.in_file(path))?;
        Ok(Self { path: path.to_path_buf(), settings })
    }
}

/// The settings in the text of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<FileSetting>, ConfigError> {
    let mut reader = ConfigReader { events: Parser::new_from_str(text.trim_start_matches('\u{feff}')) };
    let mut settings = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(settings.unwrap_or_default()),
            (Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
            (_, line) if settings.is_some() => {
                return Err(ConfigError::new(line, "a second document begins here; put all settings into one"));
            }
            (event, line) => match reader.value(event, line, 0)? {
                FileValue::Empty => settings = Some(vec![]),
                FileValue::Mapping(all) => settings = Some(all),
                _ => return Err(ConfigError::new(line, "expected one setting per line, as in `max_value: 1MiB`")),
            },
        }
    }
}

struct ConfigReader<'a> {
    events: Parser<'a, StrInput<'a>>,
}

impl<'a> ConfigReader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), ConfigError> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(e)) => Err(ConfigError::new(e.marker().line(), format!("invalid YAML: {}", e.info()))),
            None => Err(ConfigError::new(1, "invalid YAML: the file ends too early")),
        }
    }

    fn value(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<FileValue, ConfigError> {
        let check = |anchor: usize, has_tag: bool| {
            let text =
                "anchors (&), aliases (*) and tags (!) are not supported; put a text that begins like this in quotes";
            if anchor != 0 || has_tag { Err(ConfigError::new(line, text)) } else { Ok(()) }
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                check(anchor, tag.is_some())?;
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                Ok(if is_null { FileValue::Empty } else { FileValue::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, tag) => {
                check(anchor, tag.is_some())?;
                self.list().map(FileValue::List)
            }
            Event::MappingStart(anchor, tag) => {
                check(anchor, tag.is_some())?;
                if depth == MAX_DEPTH {
                    return Err(ConfigError::new(line, "unexpected nested mapping"));
                }
                self.mapping(depth + 1).map(FileValue::Mapping)
            }
            // An alias.
            _ => check(1, false).map(|()| FileValue::Empty),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, ConfigError> {
        let mut all = vec![];
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(all),
                (event, line) => match self.value(event, line, MAX_DEPTH) {
                    Ok(FileValue::Text(text)) => all.push(text),
                    Err(error) => return Err(error),
                    Ok(_) => return Err(ConfigError::new(line, "list items must be plain values")),
                },
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<FileSetting>, ConfigError> {
        let mut all: Vec<FileSetting> = vec![];
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(all),
                (event, line) => match self.value(event, line, MAX_DEPTH)? {
                    FileValue::Text(name) => (name, line),
                    _ => return Err(ConfigError::new(line, "expected a name here, as in `max_value: 1MiB`")),
                },
            };
            if all.iter().any(|other| other.name == name) {
                return Err(ConfigError::new(line, format!("`{name}` is given twice; remove one")));
            }
            let (event, at) = self.next()?;
            let value = self.value(event, at, depth)?;
            all.push(FileSetting { name, line, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, line: usize, value: &str) -> FileSetting {
        FileSetting { name: name.to_owned(), line, value: FileValue::Text(value.to_owned()) }
    }

    #[test]
    fn values_keep_their_spelling_and_line() {
        let settings =
            parse("# comment\nmode: 0660\n\nb: 'no'\nlist: [a, \"b c\"]\nmap:\n  shop: {reads: open}\n  x:\n").unwrap();
        let list = FileValue::List(vec!["a".into(), "b c".into()]);
        let shop = FileValue::Mapping(vec![text("reads", 7, "open")]);
        let map = FileValue::Mapping(vec![
            FileSetting { name: "shop".into(), line: 7, value: shop },
            FileSetting { name: "x".into(), line: 8, value: FileValue::Empty },
        ]);
        assert_eq!(settings[..2], [text("mode", 2, "0660"), text("b", 4, "no")]);
        assert_eq!(settings[2], FileSetting { name: "list".into(), line: 5, value: list });
        assert_eq!(settings[3], FileSetting { name: "map".into(), line: 6, value: map });
    }

    #[test]
    fn an_empty_file_has_no_settings() {
        for text in ["", "# nothing\n\n", "~\n", "{}\n", "---\n", "---\n...\n", "\u{feff}"] {
            assert!(parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn ambiguous_yaml_is_an_error_with_its_line() {
        for (text, line, says) in [
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is given twice"),
            ("m:\n  a: 1\n  a: 2\n", 3, "`a` is given twice"),
            ("- a\n", 1, "one setting per line"),
            ("text\n", 1, "one setting per line"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("a: &x 1\n", 1, "anchors"),
            ("a: 1\nb: *x\n", 2, ""),
            ("a: !t 1\n", 1, "tags"),
            ("a: [1, [2]]\n", 1, "plain values"),
            ("a: [{b: 1}]\n", 1, "nested mapping"),
            ("[a]: 1\n", 1, "a name"),
            ("~: 1\n", 1, "a name"),
            ("a: {b: {c: {d: 1}}}\n", 1, "nested mapping"),
            ("a: 1\nb: [\"x\n", 2, "invalid YAML"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.text.contains(says), "{text:?} gave {error:?}");
            assert!(error.line >= line, "{text:?} gave {error:?}");
        }
    }
}
