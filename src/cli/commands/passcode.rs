//! `kvs passcode`: creates a secret. No other command shows one, and this one shows only the new secret.

use std::io;

use crate::cli::config::settings::CliSettings;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::new_secret::{create_auth_file, hashed, new_secret};
use crate::cli::output::Output;

const EXAMPLES: &str = "\
Examples:
  kvs passcode                             print a secret and its SHA-256
  kvs passcode --write                     create auth.txt with a new secret
  kvs passcode --write --rights 'write buckets=sensors'";

/// Create a secret
///
/// Prints two lines; put one of them into auth.txt: the secret, or its SHA-256, which does not reveal the secret.
/// Clients always send the secret itself. It has 160 random bits.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Create auth.txt (see --auth) with the SHA-256, readable only by its owner; never replaces a file
    #[arg(long)]
    write: bool,
    /// With --write: write the secret itself instead of its SHA-256
    #[arg(long, requires = "write")]
    plain: bool,
    /// The rights of the secret, as in auth.txt: read, write, buckets=a,b, prefix=TEXT [default: all]
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<String>,
}

pub(crate) fn run(settings: &CliSettings, args: Args) -> CliResult {
    let secret = new_secret()?;
    let rights = args.rights.map_or(String::new(), |rights| format!(" {rights}"));
    let hashed = format!("{}{rights}", hashed(&secret));
    let plain = format!("{secret}{rights}");
    // The web floor knows which rights are valid.
    crate::web::SecretList::parse(&hashed).map_err(|e| Failure::Usage(format!("--rights: {e}")))?;
    let mut output = Output::new();
    if args.write {
        let line = if args.plain { &plain } else { &hashed };
        write_new(settings, line)?;
        output.line(&secret)?;
        output.finish()?;
        settings.note(&format!(
            "{} created. The line above is the secret. Keep it: it is not shown again.",
            settings.auth.path.display()
        ));
        return Ok(());
    }
    output.line(&plain)?;
    output.line(&hashed)?;
    output.finish()?;
    settings.note("Put one of the two lines into auth.txt. The first line is the secret that clients send.");
    Ok(())
}

fn write_new(settings: &CliSettings, line: &str) -> CliResult {
    let path = &settings.auth.path;
    create_auth_file(path, line).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Failed(format!("{} exists and is not changed; add a line of `kvs passcode` to it", path.display()))
        }
        _ => Failure::file("write", path, &e),
    })
}
