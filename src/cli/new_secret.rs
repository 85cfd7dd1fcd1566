//! New secrets, and the file that they are written to.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::exit::CliResult;
use super::{new_file, random};

/// Crockford's base 32: no letter looks like another or like a digit, and none needs an escape in a URL, a form or
/// YAML. Each letter is five bits of a random byte, so all are equally likely.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LETTERS: usize = 32;

/// A new secret: 160 random bits.
pub(crate) fn new_secret() -> CliResult<String> {
    let random = random::bytes::<LETTERS>()?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(random.iter().filter_map(letter).collect())
}

/// The form of a secret in auth.txt that does not reveal it.
pub(crate) fn hashed(secret: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(secret.as_bytes()))
}

/// Creates an auth.txt with this line, readable only by its owner.
///
/// # Errors
/// `AlreadyExists` if there is such a file, and errors of the file system.
pub(crate) fn create_auth_file(path: &Path, line: &str) -> io::Result<()> {
    let text = format!("# One secret per line, optionally followed by rights: read, write, buckets=a,b\n{line}\n");
    new_file::create(path, 0o600, &mut text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_different() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert_eq!(one.len(), LETTERS);
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
        assert_eq!(hashed("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
