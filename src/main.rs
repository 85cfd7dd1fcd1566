//! The program `kvs`: the command line, and what a web server starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    kvs::cli::run()
}
