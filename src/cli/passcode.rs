//! `kvs passcode`: a new secret. The only command that ever shows one, and only the one it has just made.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use clap::Args;
use sha2::{Digest, Sha256};

use super::failure::{Done, Failure};
use super::output::Output;
use super::settings::Settings;

/// The alphabet of Crockford's base 32: no letter is mistaken for another or for a digit, and none needs an escape in a
/// URL, a form or YAML. Each carries five bits of a random byte, none being favoured.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 32;

const EXAMPLES: &str = "\
Examples:
  kvs passcode                             print a secret, and the line to put in its place
  kvs passcode --write                     make auth.txt with a new secret
  kvs passcode --write --rights 'write buckets=sensors'";

/// Make a new secret
///
/// Prints two lines, either of which can stand in auth.txt: the secret, and its SHA-256, from which the secret cannot
/// be told. Clients always send the secret itself. It has 160 random bits.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// Write the SHA-256 into a new auth.txt (see --auth) that only its owner can read; never over an old one
    #[arg(long)]
    write: bool,
    /// With --write, write the secret itself rather than its SHA-256
    #[arg(long, requires = "write")]
    plain: bool,
    /// What the secret allows, as it stands in auth.txt: read, write, buckets=a,b [default: everything]
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<String>,
}

pub(super) fn run(settings: &Settings, given: Given) -> Done {
    let secret = secret()?;
    let rights = given.rights.map_or(String::new(), |rights| format!(" {rights}"));
    let hashed = format!("sha256:{}{rights}", hex(&Sha256::digest(secret.as_bytes())));
    let plain = format!("{secret}{rights}");
    // The service is the judge of what a line may say.
    crate::service::Access::parse(&hashed).map_err(|e| Failure::Usage(format!("--rights: {e}")))?;
    let mut output = Output::new();
    if given.write {
        let line = if given.plain { &plain } else { &hashed };
        write_new(settings, line)?;
        output.line(&secret)?;
        output.done()?;
        settings.note(&format!(
            "{} is written. The line above is the secret: keep it, it is not shown again.",
            settings.auth.path.display()
        ));
        return Ok(());
    }
    output.line(&plain)?;
    output.line(&hashed)?;
    output.done()?;
    settings.note("Put one of the two lines into auth.txt. The first is the secret that clients send.");
    Ok(())
}

fn secret() -> Done<String> {
    let mut random = [0_u8; LENGTH];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::Failed(format!("the operating system gave no random numbers: {e}")))?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(random.iter().filter_map(letter).collect())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn write_new(settings: &Settings, line: &str) -> Done {
    let path = &settings.auth.path;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Failure::Failed(format!(
                "{} is there already and is left as it is; add the line of `kvs passcode` to it",
                path.display()
            )),
            _ => Failure::file("write", path, &e),
        })?;
    // What root makes is for the program that runs as the owner of the folder; for anyone else this changes nothing.
    if let Ok(folder) = std::fs::metadata(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    {
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    let text = format!("# A secret a line; behind it, if wished: read, write, buckets=a,b\n{line}\n");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| Failure::file("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, two) = (secret().unwrap(), secret().unwrap());
        assert_eq!(one.len(), LENGTH);
        assert!(one.bytes().all(|b| ALPHABET.contains(&b)));
        assert_ne!(one, two);
    }

    #[test]
    fn no_letter_stands_twice_in_the_alphabet() {
        let set: std::collections::HashSet<_> = ALPHABET.iter().collect();
        assert_eq!(set.len(), 32);
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        assert_eq!(hex(&Sha256::digest(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
