//! The source of each setting: its flag, else its variable, else `config.yaml`, else its default.
//!
//! The parser of the flags knows every setting: a field of [`SettingFlags`] is a flag by its `long`, a variable by its
//! `env` and a name in the file by its id, and all three have the same form. So a new setting needs a field in
//! [`super::flags`], its use in [`super::settings`], and a row in `docs/settings.md`. This file knows no setting by
//! name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::file::{ConfigError, ConfigFile, FileSetting, FileValue};
use super::flags::SettingFlags;
use super::suggest::no_such;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::usage;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SettingSource {
    Flag,
    Variable,
    /// The line of the file, from 1.
    File(usize),
    Default,
}

/// A setting with its text and source.
#[derive(Clone)]
pub(crate) struct SourcedSetting {
    /// The name in the file.
    pub(crate) name: String,
    pub(crate) source: SettingSource,
    /// The written texts, or the default; empty if there is none.
    pub(crate) texts: Vec<OsString>,
    flag: String,
    variable: String,
}

/// The form in `config.yaml` of a setting that is not plain text or a list of texts.
pub(crate) enum FileForm {
    /// A mapping. It is not combined with the flag here: see [`Sources::mapping`].
    Mapping,
    /// A text with a path relative to the folder of the file. The function returns the text with the full path.
    Path(fn(&str, &Path) -> Result<OsString, String>),
}

/// The settings with such a form, by name.
pub(crate) type FileForms = [(&'static str, FileForm)];

/// All settings with their sources.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    path: PathBuf,
    settings: Vec<SourcedSetting>,
    mappings: Vec<FileSetting>,
}

impl Sources {
    /// Combines flags and variables (`matches`) with the file.
    ///
    /// # Errors
    /// Any error in the file, also in a setting that a flag or a variable overrides.
    pub(crate) fn new(matches: &ArgMatches, file: ConfigFile, forms: &FileForms) -> CliResult<(SettingFlags, Self)> {
        let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
        let command = SettingFlags::augment_args(Command::new("kvs").no_binary_name(true).disable_help_flag(true));
        let settings: Vec<_> = command.get_arguments().filter_map(|arg| SourcedSetting::new(arg, matches)).collect();
        let is_empty = |setting: &&SourcedSetting| {
            setting.source == SettingSource::Variable && setting.texts.iter().any(|text| text.is_empty())
        };
        if let Some(empty) = settings.iter().find(is_empty) {
            return Err(Failure::Usage(format!("{}: {}", empty.variable, usage::EMPTY)));
        }
        // `settings` has the values of the variables already.
        let parser = command.mut_args(|arg| arg.env(Resettable::Reset));
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let mut merge = Merge { settings, mappings: vec![], parser, forms, folder };
        for setting in file.settings {
            merge.add(setting).map_err(|error| error.in_file(&file.path))?;
        }
        let Merge { settings, mappings, mut parser, .. } = merge;
        let flags = settings.iter().filter(|setting| setting.source != SettingSource::Default);
        let flags: Vec<_> = flags.flat_map(SourcedSetting::flags).collect();
        let failed = |e: clap::Error| Failure::Usage(usage::reason(&e));
        let matches = parser.try_get_matches_from_mut(flags).map_err(failed)?;
        let flags = SettingFlags::from_arg_matches(&matches).map_err(failed)?;
        Ok((flags, Self { path: file.path, settings, mappings }))
    }

    /// The settings file, also if it does not exist.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All settings, in the order of the help.
    pub(crate) fn settings(&self) -> &[SourcedSetting] {
        &self.settings
    }

    /// A setting of the form [`FileForm::Mapping`] in the file.
    pub(crate) fn mapping(&self, name: &str) -> Option<&FileSetting> {
        self.mappings.iter().find(|setting| setting.name == name)
    }

    /// An error in the value of a setting, with the flag, variable or line that it comes from.
    pub(crate) fn error_at(&self, name: &str, text: impl fmt::Display) -> Failure {
        let Some(setting) = self.settings.iter().find(|setting| setting.name == name) else {
            return Failure::Usage(text.to_string());
        };
        match setting.source {
            SettingSource::File(line) => self.error_at_line(line, &format!("{name}: {text}")),
            SettingSource::Variable => Failure::Usage(format!("{}: {text}", setting.variable)),
            SettingSource::Flag | SettingSource::Default => Failure::Usage(format!("--{}: {text}", setting.flag)),
        }
    }

    /// An error on a line of the file.
    pub(crate) fn error_at_line(&self, line: usize, text: &str) -> Failure {
        ConfigError::new(line, text).in_file(&self.path)
    }

    /// The source in words: `flag`, `KVS_READS`, `config.yaml line 3`, `default`.
    pub(crate) fn describe(&self, setting: &SourcedSetting) -> String {
        match setting.source {
            SettingSource::Flag => "flag".to_owned(),
            SettingSource::Variable => setting.variable.clone(),
            SettingSource::File(line) => self.line(line),
            SettingSource::Default => "default".to_owned(),
        }
    }

    /// A line of the file in words.
    pub(crate) fn line(&self, line: usize) -> String {
        format!("{} line {line}", self.path.display())
    }
}

/// Adds the settings of the file to those of flags and variables.
struct Merge<'a> {
    settings: Vec<SourcedSetting>,
    mappings: Vec<FileSetting>,
    parser: Command,
    forms: &'a FileForms,
    /// The folder of the file.
    folder: &'a Path,
}

impl Merge<'_> {
    /// Checks a setting of the file, and uses it if no flag or variable overrides it.
    fn add(&mut self, setting: FileSetting) -> Result<(), ConfigError> {
        let FileSetting { name, line, value } = &setting;
        let names: Vec<_> = self.settings.iter().map(|known| known.name.as_str()).collect();
        let unknown = || ConfigError::new(*line, no_such("setting", name, &names));
        let at = names.iter().position(|known| known == name).ok_or_else(unknown)?;
        let error = |text: &str| ConfigError::new(*line, format!("{name}: {text}"));
        let form = self.forms.iter().find(|(known, _)| known == name).map(|(_, form)| form);
        if let Some(FileForm::Mapping) = form {
            self.mappings.push(setting);
            return Ok(());
        }
        let is_list = |arg: &Arg| arg.get_id() == name && matches!(arg.get_action(), ArgAction::Append);
        let is_list = self.parser.get_arguments().any(is_list);
        let texts = match value {
            FileValue::Text(text) => std::slice::from_ref(text),
            FileValue::List(list) if is_list => list.as_slice(),
            _ if is_list => return Err(error("write a value or a list of values, [a, b]")),
            _ => return Err(error("write one value")),
        };
        let text = |text: &String| match form {
            Some(FileForm::Path(full)) => full(text, self.folder),
            _ => Ok(text.into()),
        };
        let texts = texts.iter().map(text).collect::<Result<Vec<_>, _>>().map_err(|text| error(&text))?;
        let Some(known) = self.settings.get_mut(at) else { return Ok(()) };
        let written = SourcedSetting { texts, source: SettingSource::File(*line), ..known.clone() };
        if let Err(e) = self.parser.try_get_matches_from_mut(written.flags()) {
            return Err(error(&usage::reason(&e)));
        }
        // An empty list keeps the default.
        if known.source == SettingSource::Default && !written.texts.is_empty() {
            *known = written;
        }
        Ok(())
    }
}

impl SourcedSetting {
    /// A setting as flag, variable or default; none for an argument that is not a setting.
    fn new(arg: &Arg, matches: &ArgMatches) -> Option<Self> {
        let name = arg.get_id().as_str();
        let raw = matches.try_get_raw(name).ok().flatten();
        let source = raw.as_ref().and_then(|_| match matches.value_source(name)? {
            ValueSource::CommandLine => Some(SettingSource::Flag),
            ValueSource::EnvVariable => Some(SettingSource::Variable),
            _ => None,
        });
        let texts = match (source, raw) {
            (Some(_), Some(raw)) => raw.map(OsStr::to_owned).collect(),
            _ => arg.get_default_values().iter().map(|text| OsStr::to_owned(text)).collect(),
        };
        Some(Self {
            name: name.to_owned(),
            source: source.unwrap_or(SettingSource::Default),
            texts,
            flag: arg.get_long()?.to_owned(),
            variable: arg.get_env()?.to_string_lossy().into_owned(),
        })
    }

    /// The setting as flags, for the parser.
    fn flags(&self) -> Vec<OsString> {
        let flag = |text: &OsString| {
            let mut flag = OsString::from(format!("--{}=", self.flag));
            flag.push(text);
            flag
        };
        self.texts.iter().map(flag).collect()
    }
}

/// Without the texts, which may be secrets.
impl fmt::Debug for SourcedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn debug_output_does_not_contain_a_secret() {
        let setting = SourcedSetting {
            name: "webhook_secret".into(),
            source: SettingSource::Flag,
            texts: vec!["hunter2".into()],
            flag: String::new(),
            variable: String::new(),
        };
        assert_eq!(format!("{setting:?}"), "webhook_secret Flag");
    }

    #[test]
    fn no_argument_of_a_command_has_the_name_of_a_setting() {
        let all = SettingFlags::augment_args(Command::new("kvs"));
        let settings: Vec<_> = all.get_arguments().map(Arg::get_id).collect();
        let program = command::parser();
        let global: Vec<_> = program.get_arguments().map(Arg::get_id).collect();
        for command in program.get_subcommands().filter(|command| command.get_name() != "serve") {
            for arg in command.get_arguments().filter(|arg| !global.contains(&arg.get_id())) {
                assert!(!settings.contains(&arg.get_id()), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn every_setting_has_a_flag_and_a_variable() {
        let all = SettingFlags::augment_args(Command::new("kvs"));
        for arg in all.get_arguments() {
            let takes_values = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            assert!(arg.get_long().is_some() && arg.get_env().is_some() && takes_values, "{}", arg.get_id());
        }
    }
}
