//! `kvs man`: the manual pages, made from the same words as `--help`.

use clap::{Args, CommandFactory};

use super::args::Typed;
use super::failure::{Done, Failure};
use super::output::{Output, unwritten};

const EXAMPLES: &str = "\
Examples:
  kvs man | man -l -                       read it
  kvs man serve | man -l -                 the page of a command
  kvs man > /usr/local/share/man/man1/kvs.1";

/// Print the manual page
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The page of this command; without it, of kvs as a whole
    command: Option<String>,
}

pub(super) fn run(given: Given) -> Done {
    let mut whole = Typed::command();
    whole.build();
    let page = match given.command {
        None => whole,
        Some(name) => whole
            .find_subcommand(&name)
            .cloned()
            .ok_or_else(|| Failure::Usage(format!("there is no command {name:?}; see kvs --help")))?
            .display_name(format!("kvs-{name}")),
    };
    let mut output = Output::new();
    clap_mangen::Man::new(page).render(output.writer()).map_err(unwritten)?;
    output.done()
}
