//! `kvs man`: prints manual pages, generated from the texts of `--help`.

use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs man | man -l -                       read it
  kvs man serve | man -l -                 the page of a command
  kvs man > /usr/local/share/man/man1/kvs.1";

/// Print the manual page
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The command; without it, the page of the whole program
    command: Option<String>,
}

pub(crate) fn run(args: Args, mut parser: clap::Command) -> CliResult {
    parser.build();
    let page = match args.command {
        None => parser,
        Some(name) => parser
            .find_subcommand(&name)
            .cloned()
            .ok_or_else(|| Failure::Usage(format!("there is no command {name:?}; see kvs --help")))?
            .display_name(format!("kvs-{name}")),
    };
    let mut output = Output::new();
    clap_mangen::Man::new(page).render(output.writer()).map_err(Failure::stdout)?;
    output.finish()
}
