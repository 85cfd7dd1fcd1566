//! The versions of kvs and of all peers, for the report.

use std::process::Command;

use crate::places;

/// The packages of the distribution that were measured or that measured.
const PACKAGES: [&str; 12] = [
    "apache2-bin",
    "libapache2-mod-fcgid",
    "libfcgi-dev",
    "nginx-light",
    "redis-server",
    "webdis",
    "etcd-server",
    "postgresql-15",
    "python3",
    "python3-yaml",
    "gcc",
    "wrk",
];

/// The crates that were measured.
const CRATES: [&str; 6] = ["redb", "rusqlite", "fjall", "pgkv", "fastcgi", "plotters"];

/// Names and versions: kvs first.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut all = vec![("kvs".to_owned(), kvs()), ("SQLite".to_owned(), rusqlite::version().to_owned())];
    let lock = include_str!("../Cargo.lock");
    all.extend(CRATES.map(|name| (format!("crate {name}"), locked(lock, name))));
    let rustc = first_line(Command::new("rustc").arg("--version"));
    all.push(("rustc".to_owned(), rustc.trim_start_matches("rustc ").to_owned()));
    all.extend(PACKAGES.map(|name| (name.to_owned(), package(name))));
    all
}

/// The version of kvs, and the commit that is checked out.
fn kvs() -> String {
    let version = first_line(Command::new(places::kvs()).arg("--version"));
    let version = version.trim_start_matches("kvs ").to_owned();
    let commit = first_line(git().args(["rev-parse", "--short", "HEAD"]));
    let changes = first_line(git().args(["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]));
    match (commit.as_str(), changes.as_str()) {
        (UNKNOWN, _) => version,
        (_, UNKNOWN) => format!("{version}, commit {commit}"),
        _ => format!("{version}, commit {commit} with changes"),
    }
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(places::repository());
    git
}

const UNKNOWN: &str = "unknown";

fn package(name: &str) -> String {
    first_line(Command::new("dpkg-query").args(["-W", "-f=${Version}", name]))
}

/// The version of a package in a file of Cargo.
fn locked(lock: &str, name: &str) -> String {
    let (_, package) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \"")).unwrap_or_default();
    package.split('"').next().unwrap_or(UNKNOWN).to_owned()
}

/// The first line that a command prints.
fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or(UNKNOWN).to_owned()
}
