//! Where each setting comes from: a flag, else its variable, else `config.yaml`, else the default.
//!
//! The parser of the flags knows every setting: a field of [`Settable`] is a flag by its `long`, a variable by its `env`
//! and a name in the file by its id, with one form for all three. So a setting is added in three places: a field in the
//! flags of its subject, what it comes to in [`super::settings`], and a row in `docs/settings.md`. Whatever is named
//! `...secret` is never shown.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::args::Settable;
use super::config::{Fault, File, Node, Setting};
use super::failure::{Done, Failure};
use super::home;
use super::hooks;
use super::nearest::no_such;
use super::open::StoreUrl;
use super::policies::{self, Named};
use super::usage::{self, reason};

/// The one setting that is a map in the file.
const BUCKETS: &str = "buckets";

/// Where a setting comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Flag,
    Variable,
    /// The line of the file.
    File(usize),
    Default,
}

/// One setting as it was given.
#[derive(Clone)]
pub(super) struct Given {
    /// As it is called in the file.
    pub(super) name: String,
    pub(super) source: Source,
    /// What was written, or the default; nothing if there is none.
    pub(super) texts: Vec<OsString>,
    flag: String,
    variable: String,
}

/// All settings as they were given.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    path: PathBuf,
    given: Vec<Given>,
    /// What the file says of buckets, with its lines. It is mixed with what was typed field by field.
    pub(super) buckets: Vec<(usize, Named)>,
}

impl Layers {
    /// What was typed, set and written, one over the other, and what they come to.
    ///
    /// # Errors
    /// What stands in the file and cannot be taken, also if something else is above it.
    pub(super) fn new(matches: &ArgMatches, file: File) -> Done<(Settable, Self)> {
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        let command = Settable::augment_args(Command::new("kvs").no_binary_name(true).disable_help_flag(true));
        let mut given: Vec<_> = command.get_arguments().filter_map(|arg| Given::typed(arg, matches)).collect();
        // The environment has had its say; from here on all is told by flags.
        let mut parser = command.mut_args(|arg| arg.env(Resettable::Reset));
        let is_empty =
            |given: &&Given| given.source == Source::Variable && given.texts.iter().any(|text| text.is_empty());
        if let Some(empty) = given.iter().find(is_empty) {
            return Err(Failure::Usage(format!("{}: {}", empty.variable, usage::EMPTY)));
        }
        let mut buckets = vec![];
        for setting in &file.settings {
            let taken = take(&mut given, &mut parser, setting, file.path.parent().unwrap_or(Path::new("")));
            buckets.extend(taken.map_err(|fault| fault.of(&file.path))?);
        }
        let flags = given.iter().filter(|given| given.source != Source::Default).flat_map(Given::flags);
        let failed = |e: clap::Error| Failure::Usage(reason(&e));
        let matches = parser.try_get_matches_from_mut(flags.collect::<Vec<_>>()).map_err(failed)?;
        let settable = Settable::from_arg_matches(&matches).map_err(failed)?;
        Ok((settable, Self { path: file.path, given, buckets }))
    }

    /// The file of settings, whether it is there or not.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All settings, in the order of the help.
    pub(super) fn given(&self) -> &[Given] {
        &self.given
    }

    /// That a setting has a value that makes no sense, named as whoever gave it knows it.
    pub(super) fn blame(&self, name: &str, text: impl fmt::Display) -> Failure {
        let Some(given) = self.given.iter().find(|given| given.name == name) else {
            return Failure::Usage(text.to_string());
        };
        match given.source {
            Source::File(line) => self.blame_line(line, &format!("{name}: {text}")),
            Source::Variable => Failure::Usage(format!("{}: {text}", given.variable)),
            Source::Flag | Source::Default => Failure::Usage(format!("--{}: {text}", given.flag)),
        }
    }

    /// That something on a line of the file makes no sense.
    pub(super) fn blame_line(&self, line: usize, text: &str) -> Failure {
        Fault::new(line, text).of(&self.path)
    }

    /// The source in words: `flag`, `KVS_READS`, `config.yaml line 3`, `default`.
    pub(super) fn words(&self, given: &Given) -> String {
        match given.source {
            Source::Flag => "flag".to_owned(),
            Source::Variable => given.variable.clone(),
            Source::File(line) => self.line(line),
            Source::Default => "default".to_owned(),
        }
    }

    /// A line of the file in words.
    pub(super) fn line(&self, line: usize) -> String {
        format!("{} line {line}", self.path.display())
    }
}

/// Takes a setting of the file, unless something is above it; what it says of buckets.
fn take(
    given: &mut [Given],
    parser: &mut Command,
    setting: &Setting,
    dir: &Path,
) -> Result<Vec<(usize, Named)>, Fault> {
    let Setting { name, line, value } = setting;
    let Some(at) = given.iter().position(|given| given.name == *name) else {
        let names: Vec<_> = given.iter().map(|given| given.name.as_str()).collect();
        return Err(Fault::new(*line, no_such("setting", name, &names)));
    };
    if name == BUCKETS {
        return policies::in_file(setting);
    }
    let several =
        parser.get_arguments().any(|arg| arg.get_id() == name && matches!(arg.get_action(), ArgAction::Append));
    let texts = match value {
        Node::Text(text) => std::slice::from_ref(text),
        Node::List(list) if several => list.as_slice(),
        _ if several => return Err(Fault::new(*line, format!("{name}: write a value or a list of values, [a, b]"))),
        _ => return Err(Fault::new(*line, format!("{name}: write one value"))),
    };
    let texts = texts.iter().map(|text| located(name, text, dir)).collect::<Result<Vec<_>, _>>();
    let texts = texts.map_err(|text| Fault::new(*line, format!("{name}: {text}")))?;
    let Some(given) = given.get_mut(at) else { return Ok(vec![]) };
    let written = Given { texts, source: Source::File(*line), ..given.clone() };
    if let Err(e) = parser.try_get_matches_from_mut(written.flags()) {
        return Err(Fault::new(*line, format!("{name}: {}", reason(&e))));
    }
    // An empty list says nothing.
    if given.source == Source::Default && !written.texts.is_empty() {
        *given = written;
    }
    Ok(vec![])
}

/// A value of the file; relative paths are read from the folder of the file.
fn located(name: &str, text: &str, dir: &Path) -> Result<OsString, String> {
    match name {
        "webhook_secret" => Ok(hooks::located(text, dir)?.into()),
        "auth" => Ok(dir.join(home::path(text.into())?).into_os_string()),
        "store" => text.parse::<StoreUrl>().map(|url| url.below(dir).written().into()).map_err(|e| e.to_string()),
        _ => Ok(text.into()),
    }
}

impl Given {
    /// A setting as the flags and the environment have it; none if it is no setting.
    fn typed(arg: &Arg, matches: &ArgMatches) -> Option<Self> {
        let name = arg.get_id().as_str();
        let raw = matches.try_get_raw(name).ok().flatten();
        let source = raw.as_ref().and_then(|_| match matches.value_source(name)? {
            ValueSource::CommandLine => Some(Source::Flag),
            ValueSource::EnvVariable => Some(Source::Variable),
            _ => None,
        });
        let texts = match (source, raw) {
            (Some(_), Some(raw)) => raw.map(OsStr::to_owned).collect(),
            _ => arg.get_default_values().iter().map(|text| OsStr::to_owned(text)).collect(),
        };
        Some(Self {
            name: name.to_owned(),
            source: source.unwrap_or(Source::Default),
            texts,
            flag: arg.get_long()?.to_owned(),
            variable: arg.get_env()?.to_string_lossy().into_owned(),
        })
    }

    /// The same as flags.
    fn flags(&self) -> Vec<OsString> {
        let flag = |text: &OsString| {
            let mut flag = OsString::from(format!("--{}=", self.flag));
            flag.push(text);
            flag
        };
        self.texts.iter().map(flag).collect()
    }

    /// Whether nobody is to see the value.
    pub(super) fn is_secret(&self) -> bool {
        // Whoever knows the URL of a webhook may often post to it.
        self.name.ends_with("secret") || self.name == "webhook"
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.source)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::args::Typed;
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let texts = vec![OsString::from("hunter2")];
        let given = |name: &str| Given {
            name: name.into(),
            source: Source::Flag,
            texts: texts.clone(),
            flag: String::new(),
            variable: String::new(),
        };
        assert!(given("webhook_secret").is_secret() && !given("reads").is_secret());
        assert_eq!(format!("{:?}", given("webhook_secret")), "webhook_secret Flag");
    }

    #[test]
    fn no_command_calls_something_else_by_the_name_of_a_setting() {
        let settable = Settable::augment_args(Command::new("kvs"));
        let settings: Vec<_> = settable.get_arguments().map(Arg::get_id).collect();
        let whole = Typed::command();
        for command in whole.get_subcommands().filter(|command| command.get_name() != "serve") {
            for arg in command.get_arguments() {
                assert!(!settings.contains(&arg.get_id()), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn every_setting_has_a_flag_and_a_variable() {
        let settable = Settable::augment_args(Command::new("kvs"));
        for arg in settable.get_arguments() {
            let takes_values = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            assert!(arg.get_long().is_some() && arg.get_env().is_some() && takes_values, "{}", arg.get_id());
        }
    }
}
