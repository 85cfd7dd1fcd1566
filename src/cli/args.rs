//! What was typed: the flags of every command, and which command. Nothing is checked here beyond its form; what the
//! values come to, with environment and `config.yaml` behind them, is for [`super::layers`] and [`super::settings`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::units::{Size, Span};
use super::{
    check, compact, completions, copy, delete, edit, export, get, home, hooks, import, incr, list, man, passcode,
    serve, set, store, sweep,
};
use crate::model::Bucket;

const EXAMPLES: &str = "\
Examples:
  kvs set kitchen/temp 21.5            store a value
  kvs get kitchen/temp                 print it
  kvs list kitchen/                    what there is, and how old
  kvs passcode --write                 make auth.txt, so that clients may write
  kvs serve --http 127.0.0.1:8080      answer clients

Settings are taken from the flags, else from KVS_* in the environment, else from config.yaml,
else the defaults; `kvs serve --check-config` shows them. config.yaml has the names of the flags,
with _ for -:
  store: yaml:/var/lib/kvs
  reads: secret
  max_value: 64KiB
  http: [127.0.0.1:8080, \"[::1]:8080\"]

Files that no flag names (config.yaml, auth.txt, the folder data) are looked for in $KVS_HOME,
else beside the program if auth.txt or config.yaml stands there, else in the working folder.

Exit codes: 0 done, 1 failed or not found, 2 wrong usage.";

/// An online key/value store that a person can read
///
/// Keeps keys and values in YAML files that open in any editor, and answers clients over HTTP, FastCGI and CGI. The
/// commands below work on the same files, also while a server runs on them.
#[derive(Parser, Debug)]
#[command(name = "kvs", version, after_long_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Typed {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The flags that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The bucket to work on; without it `default`, or all buckets for check, compact, sweep and copy
    #[arg(short, long, global = true, env = "KVS_BUCKET", hide_env_values = true, value_name = "NAME")]
    pub(super) bucket: Option<Bucket>,
    /// The file of settings [default: config.yaml]
    #[arg(long, global = true, env = "KVS_CONFIG", hide_env_values = true, value_name = "FILE", value_parser = path())]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    // For the parser to know them; what they come to is told by super::layers.
    data: Data,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    // With a heading of its own, under which all stands that follows.
    #[command(flatten)]
    hooks: hooks::Flags,
    /// Tell nobody of what is written: no write hooks
    #[arg(long, global = true, hide_short_help = true)]
    pub(super) no_hooks: bool,
}

/// All that can be set: by flag, by variable, and in `config.yaml`.
#[derive(Args, Debug)]
pub(super) struct Settable {
    #[command(flatten)]
    pub(super) data: Data,
    #[command(flatten)]
    pub(super) hooks: hooks::Flags,
    #[command(flatten)]
    pub(super) serve: serve::Flags,
}

/// What every command must know of the data.
#[derive(Args, Debug)]
pub(super) struct Data {
    /// The store: `yaml:DIR` (files in a folder), `postgresql://USER@HOST/DATABASE` (tables of a server) or `memory:` (gone
    /// when the program ends) [default: yaml:data]
    // A text until it is checked: an error of the parser would show it, and a URL may hold a password.
    #[arg(long, global = true, env = "KVS_STORE", hide_env_values = true, value_name = "URL")]
    pub(super) store: Option<String>,
    /// The file of secrets [default: auth.txt]
    #[arg(long, global = true, env = "KVS_AUTH", hide_env_values = true, value_name = "FILE", value_parser = path())]
    pub(super) auth: Option<PathBuf>,
    /// The largest value that is stored, at most 100MiB
    #[arg(
        long,
        global = true,
        env = "KVS_MAX_VALUE",
        hide_env_values = true,
        value_name = "SIZE",
        default_value = "1MiB",
        hide_short_help = true
    )]
    pub(super) max_value: Size,
    /// How long to wait for others who hold the store
    #[arg(
        long,
        global = true,
        env = "KVS_LOCK_WAIT",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "5s",
        hide_short_help = true
    )]
    pub(super) lock_wait: Span,
    /// How long a bucket is quiet before its file is tidied into one document; 0s: never
    #[arg(
        long,
        global = true,
        env = "KVS_TIDY_AFTER",
        hide_env_values = true,
        value_name = "TIME",
        default_value = "2s",
        hide_short_help = true
    )]
    pub(super) tidy_after: Span,
    /// The largest file that is tidied, and of which a copy is kept
    #[arg(
        long,
        global = true,
        env = "KVS_TIDY_UP_TO",
        hide_env_values = true,
        value_name = "SIZE",
        default_value = "1MiB",
        hide_short_help = true
    )]
    pub(super) tidy_up_to: Size,
}

/// How a path is read: with `~/` in front as a shell would take it.
fn path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(home::path)
}

impl Typed {
    /// What was typed, and the same as the parser has it, which knows what the environment gave.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Self, ArgMatches), clap::Error> {
        // So that `--limit -1` is a value that is wrong, rather than a flag that there is none of.
        let signed = |arg: Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
        let parser = Self::command().mut_args(signed).mut_subcommands(|command| command.mut_args(signed));
        let matches = parser.try_get_matches_from(arguments)?;
        let typed = Self::from_arg_matches(&matches).map_err(|e| e.format(&mut Self::command()))?;
        Ok((typed, matches))
    }
}

/// Which command, and what it was given.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Serve(Box<serve::Given>),
    Get(get::Given),
    Set(set::Given),
    Delete(delete::Given),
    List(list::Given),
    Incr(incr::Given),
    Edit(edit::Given),
    Export(export::Given),
    Import(import::Given),
    Copy(copy::Given),
    Check(check::Given),
    Compact(compact::Given),
    Sweep(sweep::Given),
    Store(store::Given),
    Passcode(passcode::Given),
    Completions(completions::Given),
    Man(man::Given),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Typed::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        let mut whole = Typed::command();
        whole.build();
        for command in whole.get_subcommands_mut().filter(|c| c.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("kvs "), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
