//! The folder of `config.yaml`, `auth.txt` and `data`, where no flag or variable names other paths.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::tilde;
use crate::cli::exit::{CliResult, Failure};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HomeDir(PathBuf);

impl HomeDir {
    /// For the command line: `$KVS_HOME`, else the folder of the executable if it contains `auth.txt` or `config.yaml`,
    /// else the working folder.
    ///
    /// # Errors
    /// If `KVS_HOME` is not a usable path.
    pub(crate) fn for_commands() -> CliResult<Self> {
        let of_executable = executable_folder().filter(|dir| is_home(dir));
        Self::choose(std::env::var_os("KVS_HOME"), of_executable)
    }

    /// For a program that a web server started: `$KVS_HOME`, else the folder of the executable. The web server chooses
    /// the working folder, so that does not count.
    ///
    /// # Errors
    /// As for commands.
    pub(crate) fn under_web_server() -> CliResult<Self> {
        Self::choose(std::env::var_os("KVS_HOME"), executable_folder())
    }

    fn choose(home: Option<OsString>, of_executable: Option<PathBuf>) -> CliResult<Self> {
        let home = home.filter(|dir| !dir.is_empty()).map(tilde::path).transpose();
        let home = home.map_err(|text| Failure::Usage(format!("KVS_HOME: {text}")))?;
        // An empty path keeps names short: `data` rather than `./data`.
        Ok(Self(home.or(of_executable).unwrap_or_default()))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
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
        let executable = || Some(PathBuf::from("/usr/bin"));
        assert_eq!(HomeDir::choose(home(), executable()).unwrap().join("data"), PathBuf::from("/home/x/data"));
        assert_eq!(
            HomeDir::choose(Some(OsString::new()), executable()).unwrap().join("data"),
            PathBuf::from("/usr/bin/data")
        );
        assert_eq!(HomeDir::choose(None, None).unwrap().join("data"), PathBuf::from("data"));
    }

    #[test]
    fn a_folder_is_a_home_if_it_contains_auth_txt_or_config_yaml() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_home(dir.path()));
        std::fs::File::create(dir.path().join("auth.txt")).unwrap();
        assert!(is_home(dir.path()));
    }
}
