//! `kvs passcode`: creates a secret. No other command shows one, and this one shows only the new secret.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::cli::config::settings::CliSettings;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::cli::random;

/// Crockford's base 32: no letter looks like another or like a digit, and none needs an escape in a URL, a form or
/// YAML. Each letter is five bits of a random byte, so all are equally likely.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SECRET_LETTERS: usize = 32;

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
    /// The rights of the secret, as in auth.txt: read, write, buckets=a,b [default: all]
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<String>,
}

pub(crate) fn run(settings: &CliSettings, args: Args) -> CliResult {
    let secret = secret()?;
    let rights = args.rights.map_or(String::new(), |rights| format!(" {rights}"));
    let hashed = format!("sha256:{}{rights}", sha256_hex(secret.as_bytes()));
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

fn secret() -> CliResult<String> {
    let random = random::bytes::<SECRET_LETTERS>()?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(random.iter().filter_map(letter).collect())
}

fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn write_new(settings: &CliSettings, line: &str) -> CliResult {
    let path = &settings.auth.path;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::Failed(format!(
                "{} exists and is not changed; add a line of `kvs passcode` to it",
                path.display()
            )),
            _ => Failure::file("write", path, &e),
        })?;
    // A file that root creates must be readable by the owner of the folder, who runs kvs. For other users this has no
    // effect.
    if let Ok(folder) = std::fs::metadata(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    let text = format!("# One secret per line, optionally followed by rights: read, write, buckets=a,b\n{line}\n");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| Failure::file("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_different() {
        let (one, two) = (secret().unwrap(), secret().unwrap());
        assert_eq!(one.len(), SECRET_LETTERS);
        assert!(one.bytes().all(|b| ALPHABET.contains(&b)));
        assert_ne!(one, two);
    }

    #[test]
    fn the_alphabet_has_no_letter_twice() {
        let set: std::collections::HashSet<_> = ALPHABET.iter().collect();
        assert_eq!(set.len(), 32);
    }

    #[test]
    fn sha256_matches_the_standard() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
