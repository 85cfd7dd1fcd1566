//! What the parser of the command line has to say, in words for whoever typed it: which value is wrong, who gave it, and
//! what is expected. What may hold a password is not repeated with it.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use super::args::Typed;
use super::failure::Failure;
use crate::postgres::without_password;

/// What is wrong with a variable that is set to nothing.
pub(super) const EMPTY: &str = "this variable is empty; give it a value or unset it";

/// What is wrong with a variable whose value is not text.
pub(super) const NOT_TEXT: &str = "the value of this variable is not UTF-8 text; correct it or unset it";

/// The failure that the parser's error stands for. `typed` are the arguments, the name of the program first.
pub(super) fn failure(mut error: clap::Error, typed: &[OsString]) -> Failure {
    if let Some((name, value)) = variable(&error, typed) {
        let wrong = if value.is_empty() { EMPTY.to_owned() } else { reason(&error) };
        return Failure::Usage(format!("{name}: {wrong}"));
    }
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&mut error, typed),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            if let Some(word) = word_for_help(typed) {
                return Failure::Usage(format!("unexpected argument '{word}'; {}", behind_dashes(word)));
            }
        }
        ErrorKind::InvalidUtf8 => {
            if let Some(name) = not_text(typed) {
                return Failure::Usage(format!("{name}: {NOT_TEXT}"));
            }
        }
        ErrorKind::ValueValidation => {
            if let Some(text) = number(&error) {
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
    Failure::Typed(Box::new(error))
}

/// What the parser has to say of a value, without what it says of flags.
pub(super) fn reason(error: &clap::Error) -> String {
    let value = context(error, ContextKind::InvalidValue);
    match error.source() {
        Some(cause) => match cause.downcast_ref::<ParseIntError>() {
            Some(cause) => whole(value, cause),
            None => cause.to_string(),
        },
        None => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

/// The variable that gave the value that is wrong, and that value; none if it was typed.
fn variable(error: &clap::Error, typed: &[OsString]) -> Option<(String, OsString)> {
    let flag = context(error, ContextKind::InvalidArg).split([' ', '=']).next()?.strip_prefix("--")?;
    let program = Typed::command();
    let commands = std::iter::once(&program).chain(program.get_subcommands());
    let arg = commands.flat_map(Command::get_arguments).find(|arg| arg.get_long() == Some(flag))?;
    let (long, short) = (format!("--{flag}"), arg.get_short().map(|c| format!("-{c}")));
    let is_typed = |text: &str| {
        let rest = text.strip_prefix(&long).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
        rest || short.as_ref().is_some_and(|short| text.starts_with(short))
    };
    if typed.iter().any(|text| text.to_str().is_some_and(is_typed)) {
        return None;
    }
    let name = arg.get_env()?;
    Some((name.to_str()?.to_owned(), std::env::var_os(name)?))
}

/// The variable whose value is not text though it is to be; none if that was typed.
fn not_text(typed: &[OsString]) -> Option<String> {
    if typed.iter().any(|text| text.to_str().is_none()) {
        return None;
    }
    let program = Typed::command();
    let commands = std::iter::once(&program).chain(program.get_subcommands());
    // The name of a file may be any bytes.
    let args = commands.flat_map(Command::get_arguments);
    let args = args.filter(|arg| arg.get_value_parser().type_id() != TypeId::of::<PathBuf>());
    let names = args.filter_map(|arg| arg.get_env()?.to_str());
    let is_wrong = |name: &&str| std::env::var_os(name).is_some_and(|value| value.to_str().is_none());
    names.filter(is_wrong).min().map(ToOwned::to_owned)
}

/// That a value is no whole number.
fn number(error: &clap::Error) -> Option<String> {
    let cause = error.source()?.downcast_ref::<ParseIntError>()?;
    let value = context(error, ContextKind::InvalidValue);
    let name = context(error, ContextKind::InvalidArg);
    Some(format!("invalid value '{value}' for '{name}': {}", whole(value, cause)))
}

fn whole(value: &str, cause: &ParseIntError) -> String {
    match cause.kind() {
        IntErrorKind::PosOverflow => format!("{value} is too large a number"),
        IntErrorKind::NegOverflow => format!("{value} is too small a number"),
        _ if value.starts_with('-') => format!("{value} is not a whole number from 0 up"),
        _ => format!("{value:?} is not a whole number; write digits only"),
    }
}

/// A word such as `-hello`, whose first letter the parser has taken for `-h`. To show the help and say that all went well
/// would leave whoever wanted to store it in the belief that it is.
fn word_for_help(typed: &[OsString]) -> Option<&str> {
    let mut words = typed.iter().skip(1).filter_map(|text| text.to_str()).take_while(|text| *text != "--");
    words.find(|word| {
        let letters = word.strip_prefix('-').unwrap_or_default().trim_start_matches(['q', 'v']);
        letters.len() > 1 && letters.starts_with(['h', 'V'])
    })
}

fn behind_dashes(word: &str) -> String {
    format!("a value that begins with - goes last, behind --, as in: -- '{word}'")
}

/// What was typed that nothing is known of: with the whole of it, and how to say what was probably meant.
fn unknown(error: &mut clap::Error, typed: &[OsString]) {
    let given = context(error, ContextKind::InvalidArg).to_owned();
    // The parser takes a value such as -.5 for flags of one letter, and names the first of them.
    let is_it = |text: &&str| text.starts_with(&given) && given.starts_with('-') && !given.starts_with("--");
    let whole = typed.iter().skip(1).filter_map(|text| text.to_str()).take_while(|text| *text != "--").find(is_it);
    let whole = whole.unwrap_or(&given).to_owned();
    let tip = if given.starts_with('-') && error.get(ContextKind::SuggestedArg).is_none() {
        behind_dashes(&whole)
    } else if !given.starts_with('-') {
        "a value with blanks in it goes in quotes, as in: 'two words'".to_owned()
    } else {
        return;
    };
    if !given.starts_with("--") {
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

    fn told(typed: &[&str]) -> String {
        let typed: Vec<OsString> = ["kvs"].iter().chain(typed).map(Into::into).collect();
        match failure(Typed::parse(typed.clone()).unwrap_err(), &typed) {
            Failure::Typed(error) => error.to_string(),
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_that_was_taken_for_a_flag_is_named_whole_with_what_to_do() {
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
            let text = told(typed);
            assert!(says.iter().all(|says| text.contains(says)), "{typed:?} gave {text}");
            assert!(!text.contains("digit found"), "{text}");
        }
    }

    #[test]
    fn a_password_in_what_was_typed_is_not_repeated() {
        let url = "postgresql://me:hunter2@db/kvs";
        for typed in [&["check", url][..], &[url], &["list", "--limit", url], &["incr", "a", url], &["man", "a", url]] {
            let text = told(typed);
            assert!(!text.contains("hunter2"), "{typed:?} gave {text}");
        }
    }
}
