//! `kvs man`: prints manual pages, generated from the texts of `--help`.

use std::path::PathBuf;

use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs man | man -l -                       read it
  kvs man serve | man -l -                 the page of a command
  kvs man --dir /usr/local/share/man/man1   write the pages of the program and of all commands";

/// Print a manual page, or write all of them
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The command; without it, the page of the whole program
    #[arg(conflicts_with = "dir")]
    command: Option<String>,
    /// Write the pages of the program and of all commands into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args, mut parser: clap::Command) -> CliResult {
    if let Some(dir) = args.dir {
        return clap_mangen::generate_to(parser, &dir).map_err(|e| Failure::file("write all pages to", &dir, &e));
    }
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
