//! Paths that begin with `~`, as a shell would take them. Where no shell has seen a path (`--auth=~/a`, `yaml:~/data`,
//! `config.yaml`) it would otherwise name a folder that is called `~`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::door::Address;

/// The same path, `~/` in front being the home of whoever runs this.
///
/// # Errors
/// If it cannot be told which folder is meant.
pub(super) fn path(path: OsString) -> Result<PathBuf, String> {
    expanded(&path, std::env::var_os("HOME"))
}

/// The same path as a text.
///
/// # Errors
/// As for [`path`]; or if the home is not UTF-8.
pub(super) fn text(text: &str) -> Result<String, String> {
    let path = path(text.into())?;
    path.into_os_string().into_string().map_err(|_| format!("{text:?}: the path in HOME is not UTF-8; write another"))
}

/// An address, `unix:~/` being a socket in the home of whoever runs this.
///
/// # Errors
/// As for [`path`]; or if it is no address.
pub(super) fn address(given: &str) -> Result<Address, String> {
    match given.strip_prefix("unix:").filter(|path| path.starts_with('~')) {
        Some(path) => Ok(Address::Unix(text(path)?.into())),
        None => given.parse().map_err(|e: crate::model::Error| e.to_string()),
    }
}

fn expanded(path: &OsStr, home: Option<OsString>) -> Result<PathBuf, String> {
    let shown = || path.display();
    let rest = match path.as_bytes() {
        [b'~'] => OsStr::new(""),
        [b'~', b'/', rest @ ..] => OsStr::from_bytes(rest),
        [b'~', ..] => {
            return Err(format!(
                "\"{}\": only ~/ is understood, the home of whoever runs kvs; write the whole path, or ./{} for a name \
                 that begins with ~",
                shown(),
                shown()
            ));
        }
        [] => return Err("this path is empty".to_owned()),
        _ => return Ok(path.into()),
    };
    // What is relative would be another folder from wherever it is looked at.
    let home = home.map(PathBuf::from).filter(|home| home.is_absolute());
    let home =
        home.ok_or_else(|| format!("\"{}\": HOME is not set, so ~ is no folder; write the whole path", shown()))?;
    Ok(if rest.is_empty() { home } else { home.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_in_front_is_the_home_and_nothing_else_is_touched() {
        let home = || Some(OsString::from("/home/ada"));
        for (given, path) in [
            ("~", "/home/ada"),
            ("~/data", "/home/ada/data"),
            ("~/", "/home/ada"),
            ("data", "data"),
            ("./~/data", "./~/data"),
            ("a~", "a~"),
        ] {
            assert_eq!(expanded(given.as_ref(), home()).unwrap(), PathBuf::from(path), "{given}");
        }
        assert!(expanded("".as_ref(), home()).is_err());
        assert!(expanded("~bob/data".as_ref(), home()).unwrap_err().contains("write the whole path"));
        for none in [None, Some(OsString::new()), Some("here".into())] {
            assert!(expanded("~/data".as_ref(), none.clone()).unwrap_err().contains("HOME is not set"));
            assert!(expanded("data".as_ref(), none).is_ok());
        }
    }
}
