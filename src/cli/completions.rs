//! `kvs completions`: what a shell needs to complete our commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::args::Typed;
use super::failure::Done;
use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs completions bash > ~/.local/share/bash-completion/completions/kvs
  kvs completions zsh > ~/.zfunc/_kvs
  kvs completions fish > ~/.config/fish/completions/kvs.fish";

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(given: Given) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(given.shell, &mut Typed::command(), "kvs", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.done()
}
