//! The command line: which commands there are, and which common options the help of each shows.
//!
//! Parsing checks only the form of the values. [`super::config::settings`] combines them with the environment and
//! `config.yaml`.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::commands::backups::{backup, restore};
use super::commands::maintenance::{check, compact, doctor, rekey, sweep};
use super::commands::{
    buckets, completions, copy, delete, edit, export, get, import, incr, init, list, logs, man, passcode, serve, set,
    store_init, watch,
};
use super::config::flags::GlobalFlags;
use super::config::home::HomeDir;
use super::config::settings::CliSettings;
use super::config::variables;
use super::exit::CliResult;
use super::usage;

const EXAMPLES: &str = "\
Examples:
  kvs set kitchen/temp 21.5            store a value
  kvs get kitchen/temp                 print it
  kvs list kitchen/                    list keys, values and ages
  kvs append kitchen/temp 21.5         append to the log of a sensor
  kvs passcode --write                 create auth.txt, so that clients may write
  kvs serve --http 127.0.0.1:8080      answer clients

A setting is taken from its flag, else from its variable KVS_..., else from config.yaml, else it
has its default. `kvs serve --help` lists all settings, `kvs serve --check-config` shows their
values. The names in config.yaml are those of the flags, with _ instead of -:
  store: yaml:/var/lib/kvs
  reads: secret
  max_value: 64KiB
  http: [127.0.0.1:8080, \"[::1]:8080\"]

config.yaml, auth.txt and the folder data are in $KVS_HOME. If that is not set, they are in the
folder of the program if it contains auth.txt or config.yaml, else in the working folder.

Exit codes: 0 success, 1 failure or not found, 2 wrong usage.";

/// An online key/value store with files that people can read
///
/// Keeps keys and values in YAML files that open in any editor, and answers clients over HTTP, FastCGI and CGI. The
/// commands below work on the same files, also while a server is running.
#[derive(Parser, Debug)]
#[command(name = "kvs", version, after_help = EXAMPLES, max_term_width = 100, disable_help_flag = true)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command with its own arguments.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Serve(Box<serve::Args>),
    Get(get::Args),
    Set(set::Args),
    Delete(delete::Args),
    List(list::Args),
    Buckets(buckets::Args),
    Watch(watch::Args),
    Log(logs::show::Args),
    Append(logs::append::Args),
    Incr(incr::Args),
    Edit(edit::Args),
    Export(export::Args),
    Import(import::Args),
    Copy(copy::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Compact(compact::Args),
    Rekey(rekey::Args),
    Sweep(sweep::Args),
    Store(store_init::Args),
    Init(init::Args),
    Passcode(passcode::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The common options in the help of a command, in addition to `--help`. The command accepts all others as well.
///
/// `serve` has all that are settings, so its help is where to look up a setting.
fn shown_options(command: &str) -> &'static [&'static str] {
    match command {
        "completions" | "man" => &[],
        "init" => &["quiet"],
        "passcode" => &["auth", "config", "quiet"],
        "store" => &["store", "config", "quiet"],
        "doctor" => &["store", "auth", "config", "quiet", "verbose"],
        "check" => &["bucket", "store", "auth", "lock_timeout", "config", "quiet", "verbose"],
        "buckets" | "get" | "list" | "watch" | "log" | "export" | "compact" | "sweep" => {
            &["bucket", "store", "lock_timeout", "config", "quiet", "verbose"]
        }
        "rekey" => &["bucket", "store", "encryption_keys", "lock_timeout", "config", "quiet", "verbose"],
        "delete" | "incr" => &["bucket", "store", "lock_timeout", "no_hooks", "config", "quiet", "verbose"],
        "append" => &["bucket", "store", "max_value", "lock_timeout", "config", "quiet", "verbose"],
        "set" | "edit" | "import" => {
            &["bucket", "store", "max_value", "lock_timeout", "no_hooks", "config", "quiet", "verbose"]
        }
        "copy" => &["bucket", "max_value", "lock_timeout", "no_hooks", "config", "quiet", "verbose"],
        "backup" => &["store", "lock_timeout", "config", "quiet", "verbose"],
        "restore" => &["bucket", "store", "lock_timeout", "no_hooks", "config", "quiet", "verbose"],
        // The program itself.
        _ => &["bucket", "store", "config", "quiet", "verbose"],
    }
}

/// The commands that work on all buckets unless one is named.
const ON_ALL_BUCKETS: [&str; 7] = ["buckets", "check", "compact", "copy", "rekey", "restore", "sweep"];

/// The parser, with the help in its long form, as manual pages need it.
pub(crate) fn parser() -> clap::Command {
    with_common_options(CommandLine::command())
}

/// The parser of `kvs serve` alone. It is built in a fraction of the time, which counts for each CGI request.
fn parser_of_serve() -> clap::Command {
    let serve = serve::Args::augment_args(clap::Command::new("serve"));
    let program = clap::Command::new("kvs").disable_help_flag(true).subcommand(serve);
    with_common_options(GlobalFlags::augment_args(program))
}

/// Gives each command the common options.
fn with_common_options(program: clap::Command) -> clap::Command {
    // Without `allow_negative_numbers`, `--limit -1` would be reported as an unknown flag.
    let option = |arg: Arg| {
        let takes_values = arg.get_action().takes_values();
        let arg = arg.hide_env_values(true);
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    let program = program.mut_args(|arg| option(arg).global(true));
    let global: Vec<Arg> = program.get_arguments().cloned().collect();
    let hidden = |command: &str, arg: &Arg| {
        let id = arg.get_id().as_str();
        match command {
            "serve" => id == "bucket",
            command => id != "help" && !shown_options(command).contains(&id),
        }
    };
    let program = program.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let for_command = |arg: &Arg| {
            let arg = arg.clone().hide(hidden(&name, arg));
            let is_for_all = arg.get_id() == "bucket" && ON_ALL_BUCKETS.contains(&name.as_str());
            if is_for_all { arg.help("The bucket [default: all buckets]") } else { arg }
        };
        command.mut_args(option).args(global.iter().map(for_command))
    });
    program.mut_args(|arg| if hidden("kvs", &arg) { arg.hide(true) } else { arg })
}

/// The same help for `-h` and `--help`: the whole description, and each option on a line of its own.
fn with_compact_help(command: clap::Command) -> clap::Command {
    const TEMPLATE: &str = "{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";
    let about = command.get_long_about().or(command.get_about()).cloned().unwrap_or_default();
    command.before_help(about).long_about(None).help_template(TEMPLATE).mut_subcommands(with_compact_help)
}

impl CommandLine {
    /// Parses the arguments, the name of the program first. The parser's own result also has the environment.
    pub(crate) fn parse(arguments: &[OsString]) -> CliResult<(Self, ArgMatches)> {
        Self::parse_with(with_compact_help(parser()), arguments)
    }

    /// `kvs serve` without flags: only the environment counts.
    pub(crate) fn serve() -> CliResult<(Self, ArgMatches)> {
        Self::parse_with(parser_of_serve(), &["kvs", "serve"].map(Into::into))
    }

    fn parse_with(mut parser: clap::Command, arguments: &[OsString]) -> CliResult<(Self, ArgMatches)> {
        let matches = parser.try_get_matches_from_mut(arguments);
        let parsed = matches.and_then(|matches| Ok((Self::from_arg_matches(&matches)?, matches)));
        parsed.map_err(|error| usage::failure(error.format(&mut parser), arguments, &parser))
    }
}

/// The settings of this process. Unknown `KVS_*` variables are an error.
pub(crate) fn settings(global: GlobalFlags, matches: &ArgMatches, home: &HomeDir) -> CliResult<CliSettings> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    variables::check(names, parser)?;
    CliSettings::resolve(global, matches, home)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Failure;

    fn parse(typed: &[&str]) -> CliResult<(CommandLine, ArgMatches)> {
        let arguments: Vec<OsString> = ["kvs"].iter().chain(typed).map(Into::into).collect();
        CommandLine::parse(&arguments)
    }

    fn help(typed: &[&str]) -> String {
        match parse(typed) {
            Err(Failure::Clap(error)) => error.to_string(),
            other => panic!("{typed:?} gave {other:?}"),
        }
    }

    #[test]
    fn flags_do_not_contradict_each_other() {
        with_compact_help(parser()).debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        let mut program = parser();
        program.build();
        for command in program.get_subcommands_mut().filter(|c| c.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("kvs "), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn help_fits_on_a_screen_and_begins_with_own_options() {
        for name in ["get", "set", "delete", "watch", "log", "append", "incr", "check", "compact", "sweep", "passcode"]
        {
            let help = help(&[name, "--help"]);
            assert!(help.lines().count() <= 40, "{} lines in {help}", help.lines().count());
            assert_eq!(help, self::help(&[name, "-h"]));
            assert!(!help.contains("--hook-queue"), "{help}");
        }
        let list = help(&["list", "--help"]);
        let position = |text: &str| list.find(text).unwrap();
        assert!(
            position("--reverse") < position("Common options") && position("Common options") < position("--bucket"),
            "{list}"
        );
        assert!(help(&["get", "--help"]).lines().count() <= 30);
    }

    #[test]
    fn hidden_options_are_accepted_before_and_after_the_command() {
        for typed in [&["get", "a", "--hook-queue", "5"][..], &["--hook-queue", "5", "get", "a"]] {
            let (_, matches) = parse(typed).unwrap();
            let (_, get) = matches.subcommand().unwrap();
            assert_eq!(get.get_one::<usize>("hook_queue"), Some(&5), "{typed:?}");
        }
    }

    #[test]
    fn options_in_a_help_exist_and_serve_shows_all_settings() {
        let program = parser();
        let ids: Vec<&str> = program.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        for command in program.get_subcommands() {
            let shown = shown_options(command.get_name());
            assert!(shown.iter().all(|id| ids.contains(id)), "{}", command.get_name());
        }
        let help = help(&["serve", "--help"]);
        for arg in program.get_arguments().filter(|arg| arg.get_id() != "bucket") {
            let flag = format!("--{}", arg.get_long().unwrap());
            assert!(help.contains(&flag), "{flag} is not in {help}");
        }
    }
}
