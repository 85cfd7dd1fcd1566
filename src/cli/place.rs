//! The folder in which files that no flag names are looked for: `config.yaml`, `auth.txt`, `data`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::failure::{Done, Failure};
use super::home;

/// The folder of this installation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// For the command line: `$KVS_HOME`, else beside the executable if `auth.txt` or `config.yaml` stands there, else
    /// the working folder.
    ///
    /// # Errors
    /// If `KVS_HOME` names no folder that can be told.
    pub(super) fn for_commands() -> Done<Self> {
        let beside = executable_folder().filter(|dir| is_home(dir));
        Self::choose(std::env::var_os("KVS_HOME"), beside)
    }

    /// For a program that a web server started: `$KVS_HOME`, else beside the executable. The working folder says
    /// nothing there.
    ///
    /// # Errors
    /// As for commands.
    pub(super) fn for_spawned() -> Done<Self> {
        Self::choose(std::env::var_os("KVS_HOME"), executable_folder())
    }

    fn choose(home: Option<OsString>, beside: Option<PathBuf>) -> Done<Self> {
        let home = home.filter(|dir| !dir.is_empty()).map(home::path).transpose();
        let home = home.map_err(|text| Failure::Usage(format!("KVS_HOME: {text}")))?;
        // An empty path keeps names short: `data` rather than `./data`.
        Ok(Self(home.or(beside).unwrap_or_default()))
    }

    /// A file or folder of that name in this place.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn executable_folder() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
}

fn is_home(dir: &Path) -> bool {
    ["auth.txt", "config.yaml"].iter().any(|name| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvs_home_wins_then_the_executable_then_the_working_folder() {
        let home = || Some(OsString::from("/home/x"));
        let beside = || Some(PathBuf::from("/usr/bin"));
        assert_eq!(Place::choose(home(), beside()).unwrap().at("data"), PathBuf::from("/home/x/data"));
        assert_eq!(Place::choose(Some(OsString::new()), beside()).unwrap().at("data"), PathBuf::from("/usr/bin/data"));
        assert_eq!(Place::choose(None, None).unwrap().at("data"), PathBuf::from("data"));
    }

    #[test]
    fn a_folder_counts_once_a_file_of_ours_stands_in_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_home(dir.path()));
        std::fs::File::create(dir.path().join("auth.txt")).unwrap();
        assert!(is_home(dir.path()));
    }
}
