//! Where things are: the repository, the target folder, the program and the sources of the peers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The interpreter with the packages of the system, among them `yaml`.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder that this program was built in, such as `target/release`.
fn build() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

pub(crate) fn target() -> PathBuf {
    build().parent().unwrap().to_owned()
}

/// The measured program.
pub(crate) fn kvs() -> PathBuf {
    build().join("kvs")
}

/// The peer that is written in Rust.
pub(crate) fn rust_fastcgi() -> PathBuf {
    build().join("kvs-bench-fastcgi")
}

/// A folder for data. It is below the target folder, so on the disk of the project; `/tmp` may be on another one.
pub(crate) fn data_folder() -> TempDir {
    let parent = target().join("bench");
    fs::create_dir_all(&parent).unwrap();
    tempfile::Builder::new().prefix("data-").tempdir_in(parent).unwrap()
}

/// A file of `bench/peers`.
pub(crate) fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// Compiles a C program of `bench/peers` to this file.
pub(crate) fn compile(name: &str, libraries: &[&str], program: &Path) {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-pthread", "-o"]).arg(program).arg(peer(name));
    gcc.args(libraries.iter().map(|library| format!("-l{library}")));
    assert!(gcc.status().unwrap().success(), "{gcc:?}: see tests/packages.sh");
}

/// Copies a program, so that all users may run it.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    open_to_all(to);
}

pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
