//! `kvs completions`: prints a completion script for a shell.

use clap_complete::Shell;

use crate::cli::exit::CliResult;
use crate::cli::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs completions bash > ~/.local/share/bash-completion/completions/kvs
  kvs completions zsh > ~/.zfunc/_kvs
  kvs completions fish > ~/.config/fish/completions/kvs.fish";

/// Print the completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args, mut parser: clap::Command) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parser, "kvs", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.finish()
}
