//! The drawing in ARCHITECTURE.md, checked: which floor imports which, no import cycle between files, and the sizes of
//! files and folders.

mod cycles;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Folder, and the folders it may name. Lower floors first.
const FLOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("store", &["model"]),
    ("memory", &["model", "store"]),
    ("yaml", &["model", "store"]),
    ("postgres", &["model", "store"]),
    ("layers", &["model", "store"]),
    ("hooks", &["model"]),
    ("client", &["model", "store"]),
    ("copy", &["model", "store"]),
    ("codecs", &["client"]),
    ("web", &["model", "store"]),
    ("server", &["model", "web"]),
    ("cli", &["model", "store", "memory", "yaml", "postgres", "layers", "hooks", "client", "copy", "web", "server"]),
];

/// The only files that are in no floor.
const OUTSIDE: &[&str] = &["lib.rs", "main.rs"];

const MAX_LINES: usize = 400;

const MAX_FILES_OF_A_FOLDER: usize = 20;

/// How many files may have the same name, except `mod.rs` and `tests.rs`.
const MAX_FILES_OF_A_NAME: usize = 2;

/// What may lie at the top of the repository. What git ignores there may lie there as well.
const TOP: &[&str] = &[
    ".ci",
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".htaccess",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "auth_sample.txt",
    "bench",
    "clippy.toml",
    "deploy",
    "docs",
    "examples",
    "fuzz",
    "rustfmt.toml",
    "src",
    "tests",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The names that follow a path's `::`: one, or the first of each member of `{a, b::{c, d}, e}`.
fn heads(rest: &str) -> Vec<&str> {
    let Some(group) = rest.trim_start().strip_prefix('{') else { return vec![identifier(rest)] };
    let mut heads = vec![identifier(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

/// Every name that a source reaches from the root of the crate: by `crate::`, or by as many `super::` as lead there
/// from a file of that depth.
fn named(text: &str, depth: usize) -> Vec<&str> {
    let by_crate = text.split("crate::").skip(1).flat_map(heads);
    let up = "super::".repeat(depth);
    let by_super = text.match_indices(&up).flat_map(|(at, _)| heads(text[at..].trim_start_matches("super::")));
    by_crate.chain(by_super).collect()
}

/// What is wrong with a file of `src/`, given its path there.
fn offences(path: &str, text: &str) -> Vec<String> {
    let mut wrong = vec![];
    let lines = text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!("src/{path}: {lines} lines, at most {MAX_LINES}: split it by its ideas"));
    }
    if OUTSIDE.contains(&path) {
        return wrong;
    }
    let folder = path.split('/').next().unwrap();
    let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == folder) else {
        wrong.push(format!("src/{path}: stands in no floor; the floors are listed in ARCHITECTURE.md"));
        return wrong;
    };
    if !text.starts_with("//!") {
        wrong.push(format!("src/{path}: does not begin by saying what it is (//!)"));
    }
    let depth = path.split('/').count() - usize::from(path.ends_with("/mod.rs"));
    for name in named(text, depth) {
        let is_floor = FLOORS.iter().any(|(floor, _)| *floor == name);
        if is_floor && name != folder && !below.contains(&name) {
            wrong.push(format!("src/{path}: names {name}; {folder} may name {below:?} only"));
        }
    }
    wrong
}

#[test]
fn floors_name_only_floors_below_them() {
    let src = repository().join("src");
    let mut files = vec![];
    sources(&src, &mut files);
    assert!(files.len() > 20, "only {} sources found", files.len());
    let mut wrong = vec![];
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        // The tests at the foot of a file may stand on any floor.
        let text = text.split("#[cfg(test)]").next().unwrap();
        wrong.extend(offences(file.strip_prefix(&src).unwrap().to_str().unwrap(), text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Path and text of every file of `src/`.
fn source_texts() -> Vec<(String, String)> {
    let src = repository().join("src");
    let mut files = vec![];
    sources(&src, &mut files);
    let path = |file: &Path| file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (path(file), std::fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn no_file_imports_itself_through_others() {
    let cycles = cycles::cycles(&source_texts());
    assert!(cycles.is_empty(), "these files of src/ import one another: {cycles:#?}");
}

#[test]
fn a_folder_has_few_files_and_names_are_rarely_used_twice() {
    let (mut folders, mut names) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, Vec<String>>::new());
    for (path, _) in source_texts() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        *folders.entry(folder.to_owned()).or_default() += 1;
        if name != "mod.rs" && name != "tests.rs" {
            names.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    folders.retain(|_, files| *files > MAX_FILES_OF_A_FOLDER);
    assert!(folders.is_empty(), "more than {MAX_FILES_OF_A_FOLDER} files: {folders:?}");
    names.retain(|_, files| files.len() > MAX_FILES_OF_A_NAME);
    assert!(names.is_empty(), "more than {MAX_FILES_OF_A_NAME} files of one name: {names:#?}");
}

#[test]
fn tests_are_short_files_too() {
    let mut files = vec![];
    sources(&repository().join("tests"), &mut files);
    for file in &files {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines", file.display());
    }
}

#[test]
fn a_floor_may_name_only_what_is_listed_above_it() {
    for (at, (floor, below)) in FLOORS.iter().enumerate() {
        let lower: Vec<&str> = FLOORS[..at].iter().map(|(name, _)| *name).collect();
        assert!(below.iter().all(|name| lower.contains(name)), "{floor} is not above all of {below:?}");
    }
    assert_eq!(FLOORS[0], ("model", &[][..]), "the lowest names nobody");
}

#[test]
fn the_top_of_the_repository_holds_only_what_belongs_there() {
    let ignored = std::fs::read_to_string(repository().join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut wrong = vec![];
    for entry in std::fs::read_dir(repository()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !TOP.contains(&name.as_str()) && !ignored.contains(&name.as_str()) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "does not belong at the top of the repository: {}", wrong.join(", "));
}

#[test]
fn an_offence_is_noticed() {
    let guilty = |path: &str, text: &str| !offences(path, &format!("//! A file.\n{text}")).is_empty();
    for (path, text) in [
        ("model/key.rs", "use crate::store::Store;"),
        ("yaml/mod.rs", "use crate::memory;"),
        ("yaml/fs/real.rs", "fn f() { crate::cli::run() }"),
        ("web/get.rs", "use crate::{model::{Key, Entry}, yaml::YamlStore};"),
        (
            "web/get.rs",
            "use crate::{\n    model::Key,\n    store::{\n        Store,\n        judge,\n    },\n    server,\n};",
        ),
        ("web/get.rs", "use crate::{yaml, model};"),
        ("server/http.rs", "use crate::store::Store;"),
        ("layers/hooked.rs", "use super::super::memory::MemoryStore;"),
        ("layers/mod.rs", "use super::{model, cli};"),
        ("layers/mod.rs", "mod tests { use super::super::yaml::YamlStore; }"),
        ("utils/text.rs", ""),
        ("text.rs", ""),
        ("model/key.rs", &"\n".repeat(MAX_LINES)),
        ("lib.rs", &"\n".repeat(MAX_LINES)),
    ] {
        assert!(guilty(path, text), "not noticed in {path}: {text}");
    }
    assert!(!offences("model/key.rs", "use std::fmt;").is_empty(), "a file that does not say what it is");
}

#[test]
fn what_is_allowed_passes() {
    for (path, text) in [
        ("model/key.rs", "use super::error::Error; use crate::model::ErrorKind; mod tests { use super::*; }"),
        ("yaml/mod.rs", "use crate::{model::{Key, Entry}, store::Store};"),
        ("yaml/fs/real.rs", "use super::super::scalar; use crate::yaml::memory;"),
        ("web/get.rs", "fn yaml(cli: u8) -> u8 { cli }"),
        ("cli/open.rs", "use crate::{memory, yaml, layers, client, web, server};"),
        ("main.rs", "fn main() { kvs::cli::run() }"),
    ] {
        let wrong = offences(path, &format!("//! A file.\n{text}"));
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
