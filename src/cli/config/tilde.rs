//! Paths that begin with `~/`, as in a shell. Where no shell expands them (`--auth=~/a`, `yaml:~/data`, `config.yaml`),
//! they would otherwise mean a folder named `~`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::server::Address;

/// Replaces `~/` at the beginning by the home folder.
///
/// # Errors
/// If `HOME` is not set, or for `~NAME`.
pub(crate) fn path(path: OsString) -> Result<PathBuf, String> {
    expand(&path, std::env::var_os("HOME"))
}

/// [`path`] for text.
///
/// # Errors
/// As for [`path`]; or if the home folder is not UTF-8.
pub(crate) fn text(text: &str) -> Result<String, String> {
    let path = path(text.into())?;
    path.into_os_string()
        .into_string()
        .map_err(|_| format!("{text:?}: the path in HOME is not UTF-8; use another path"))
}

/// An address; in `unix:~/` the path is expanded.
///
/// # Errors
/// As for [`path`]; or if it is not an address.
pub(crate) fn address(written: &str) -> Result<Address, String> {
    match written.strip_prefix("unix:").filter(|path| path.starts_with('~')) {
        Some(path) => Ok(Address::Unix(text(path)?.into())),
        None => written.parse().map_err(|e: crate::model::Error| e.to_string()),
    }
}

fn expand(path: &OsStr, home: Option<OsString>) -> Result<PathBuf, String> {
    let shown = || path.display();
    let rest = match path.as_bytes() {
        [b'~'] => OsStr::new(""),
        [b'~', b'/', rest @ ..] => OsStr::from_bytes(rest),
        [b'~', ..] => {
            return Err(format!(
                "\"{}\": only ~/ is supported, the home folder of the user; write the whole path, or ./{} for a name \
                 that begins with ~",
                shown(),
                shown()
            ));
        }
        [] => return Err("this path is empty; write a path".to_owned()),
        _ => return Ok(path.into()),
    };
    // A relative HOME would depend on the working folder.
    let home = home.map(PathBuf::from).filter(|home| home.is_absolute());
    let home =
        home.ok_or_else(|| format!("\"{}\": HOME is not set, so ~ has no meaning; write the whole path", shown()))?;
    Ok(if rest.is_empty() { home } else { home.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tilde_at_the_beginning_is_expanded() {
        let home = || Some(OsString::from("/home/ada"));
        for (written, path) in [
            ("~", "/home/ada"),
            ("~/data", "/home/ada/data"),
            ("~/", "/home/ada"),
            ("data", "data"),
            ("./~/data", "./~/data"),
            ("a~", "a~"),
        ] {
            assert_eq!(expand(written.as_ref(), home()).unwrap(), PathBuf::from(path), "{written}");
        }
        assert!(expand("".as_ref(), home()).is_err());
        assert!(expand("~bob/data".as_ref(), home()).unwrap_err().contains("write the whole path"));
        for none in [None, Some(OsString::new()), Some("here".into())] {
            assert!(expand("~/data".as_ref(), none.clone()).unwrap_err().contains("HOME is not set"));
            assert!(expand("data".as_ref(), none).is_ok());
        }
    }
}
