//! Errors of the command line parser in words for users: which value is wrong, where it comes from, and what is
//! expected. Passwords in the arguments are not repeated.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Failure;
use crate::postgres::without_password;

/// The error for a variable with an empty value.
pub(crate) const EMPTY: &str = "this variable is empty; give it a value or unset it";

/// The error for a variable that is not UTF-8.
pub(crate) const NOT_TEXT: &str = "the value of this variable is not UTF-8 text; correct it or unset it";

/// Converts an error of the parser. `arguments` begin with the name of the program.
pub(crate) fn failure(mut error: clap::Error, arguments: &[OsString], parser: &Command) -> Failure {
    if let Some((name, value)) = variable(&error, arguments, parser) {
        let text = if value.is_empty() { EMPTY.to_owned() } else { reason(&error) };
        return Failure::Usage(format!("{name}: {text}"));
    }
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&mut error, arguments),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            if let Some(word) = word_for_help(arguments) {
                return Failure::Usage(format!("unexpected argument '{word}'; {}", after_dashes(word)));
            }
        }
        ErrorKind::InvalidUtf8 => {
            if let Some(name) = not_text(arguments, parser) {
                return Failure::Usage(format!("{name}: {NOT_TEXT}"));
            }
        }
        ErrorKind::ValueValidation => {
            if let Some(text) = bad_number(&error) {
                return Failure::Usage(text);
            }
        }
        _ => {}
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
        if let Some(ContextValue::String(text)) = error.get(kind) {
            let hidden = without_password(text);
            error.insert(kind, ContextValue::String(hidden));
        }
    }
    Failure::Clap(Box::new(error))
}

/// The reason why a value is wrong, without the name of the flag.
pub(crate) fn reason(error: &clap::Error) -> String {
    let value = context(error, ContextKind::InvalidValue);
    match error.source() {
        Some(cause) => match cause.downcast_ref::<ParseIntError>() {
            Some(cause) => not_whole(value, cause),
            None => cause.to_string(),
        },
        None => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

/// The variable with the wrong value, and that value; none if the value was given as a flag.
fn variable(error: &clap::Error, arguments: &[OsString], parser: &Command) -> Option<(String, OsString)> {
    let flag = context(error, ContextKind::InvalidArg).split([' ', '=']).next()?.strip_prefix("--")?;
    let commands = std::iter::once(parser).chain(parser.get_subcommands());
    let arg = commands.flat_map(Command::get_arguments).find(|arg| arg.get_long() == Some(flag))?;
    let (long, short) = (format!("--{flag}"), arg.get_short().map(|c| format!("-{c}")));
    let is_argument = |text: &str| {
        let rest = text.strip_prefix(&long).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
        rest || short.as_ref().is_some_and(|short| text.starts_with(short))
    };
    if arguments.iter().any(|text| text.to_str().is_some_and(is_argument)) {
        return None;
    }
    let name = arg.get_env()?;
    Some((name.to_str()?.to_owned(), std::env::var_os(name)?))
}

/// The variable that is not UTF-8 but must be; none if an argument is not UTF-8.
fn not_text(arguments: &[OsString], parser: &Command) -> Option<String> {
    if arguments.iter().any(|text| text.to_str().is_none()) {
        return None;
    }
    let commands = std::iter::once(parser).chain(parser.get_subcommands());
    // A path may be any bytes.
    let args = commands.flat_map(Command::get_arguments);
    let args = args.filter(|arg| arg.get_value_parser().type_id() != TypeId::of::<PathBuf>());
    let names = args.filter_map(|arg| arg.get_env()?.to_str());
    let is_wrong = |name: &&str| std::env::var_os(name).is_some_and(|value| value.to_str().is_none());
    names.filter(is_wrong).min().map(ToOwned::to_owned)
}

/// The error for a value that is not a whole number.
fn bad_number(error: &clap::Error) -> Option<String> {
    let cause = error.source()?.downcast_ref::<ParseIntError>()?;
    let value = context(error, ContextKind::InvalidValue);
    let name = context(error, ContextKind::InvalidArg);
    Some(format!("invalid value '{value}' for '{name}': {}", not_whole(value, cause)))
}

fn not_whole(value: &str, cause: &ParseIntError) -> String {
    match cause.kind() {
        IntErrorKind::PosOverflow => format!("{value} is too large"),
        IntErrorKind::NegOverflow => format!("{value} is too small"),
        _ if value.starts_with('-') => format!("{value} is not a whole number of at least 0"),
        _ => format!("{value:?} is not a whole number; write digits only"),
    }
}

/// A word such as `-hello`, which the parser takes for `-h`. Help with exit code 0 would look as if the value was
/// stored.
fn word_for_help(arguments: &[OsString]) -> Option<&str> {
    let mut words = arguments.iter().skip(1).filter_map(|text| text.to_str()).take_while(|text| *text != "--");
    words.find(|word| {
        let letters = word.strip_prefix('-').unwrap_or_default().trim_start_matches(['q', 'v']);
        letters.len() > 1 && letters.starts_with(['h', 'V'])
    })
}

fn after_dashes(word: &str) -> String {
    format!("put a value that begins with - last, after --, as in: -- '{word}'")
}

/// Completes the error for an unknown argument: the whole argument, and a tip.
fn unknown(error: &mut clap::Error, arguments: &[OsString]) {
    let argument = context(error, ContextKind::InvalidArg).to_owned();
    // For the parser, -.5 is a row of flags with one letter each, and it names the first.
    let is_it = |text: &&str| text.starts_with(&argument) && argument.starts_with('-') && !argument.starts_with("--");
    let words = arguments.iter().skip(1).filter_map(|text| text.to_str()).take_while(|text| *text != "--");
    let whole = words.clone().find(is_it).unwrap_or(&argument).to_owned();
    let tip = if argument.starts_with('-') && error.get(ContextKind::SuggestedArg).is_none() {
        after_dashes(&whole)
    } else if !argument.starts_with('-') {
        "put a value with spaces in quotes, as in: 'two words'".to_owned()
    } else {
        return;
    };
    if !argument.starts_with("--") {
        error.insert(ContextKind::InvalidArg, ContextValue::String(whole));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> &str {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::CommandLine;

    fn error(typed: &[&str]) -> String {
        let arguments: Vec<OsString> = ["kvs"].iter().chain(typed).map(Into::into).collect();
        match CommandLine::parse(&arguments).unwrap_err() {
            Failure::Clap(error) => error.to_string(),
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_like_a_flag_is_reported_whole_with_a_tip() {
        for (typed, says) in [
            (&["set", "k", "-.5"][..], &["'-.5'", "-- '-.5'"][..]),
            (&["set", "k", "-xyz"], &["'-xyz'", "-- '-xyz'"]),
            (&["set", "k", "-hello"], &["'-hello'", "-- '-hello'"]),
            (&["set", "k", "two", "words"], &["'words'", "quotes"]),
            (&["set", "k", "v", "--tll", "5"], &["'--tll'", "--ttl"]),
            (&["list", "--limit", "-1"], &["--limit", "from 0"]),
            (&["incr", "a", "x"], &["\"x\"", "whole number"]),
            (&["incr", "a", "99999999999999999999"], &["-9223372036854775808 to 9223372036854775807"]),
        ] {
            let text = error(typed);
            assert!(says.iter().all(|says| text.contains(says)), "{typed:?} gave {text}");
            assert!(!text.contains("digit found"), "{text}");
        }
    }

    #[test]
    fn a_password_in_an_argument_is_not_repeated() {
        let url = "postgresql://me:hunter2@db/kvs";
        for typed in [&["check", url][..], &[url], &["list", "--limit", url], &["incr", "a", url], &["man", "a", url]] {
            let text = error(typed);
            assert!(!text.contains("hunter2"), "{typed:?} gave {text}");
        }
    }
}
