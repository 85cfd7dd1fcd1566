//! The rules of ARCHITECTURE.md: which floor imports which, no import cycle between files, and the layout of the source
//! trees.

mod cycles;
mod layout;

use std::path::{Path, PathBuf};

/// Each floor, and the floors it may import. Lower floors first.
const FLOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("store", &["model"]),
    ("memory", &["model", "store"]),
    ("yaml", &["model", "store"]),
    ("postgres", &["model", "store"]),
    ("https", &[]),
    ("remote", &["model", "store", "https"]),
    ("layers", &["model", "store"]),
    ("hooks", &["model", "https"]),
    ("client", &["model", "store"]),
    ("copy", &["model", "store"]),
    ("codecs", &["client"]),
    ("web", &["model", "store"]),
    ("server", &["model", "web"]),
    (
        "cli",
        &[
            "model", "store", "memory", "yaml", "postgres", "https", "remote", "layers", "hooks", "client", "copy",
            "web", "server",
        ],
    ),
];

/// The only files that are in no floor.
const OUTSIDE: &[&str] = &["lib.rs", "main.rs"];

/// The entries of the top folder of the repository. Entries that git ignores are allowed too.
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

/// The imports of a file of `src/` that its floor does not allow. `path` is relative to `src/`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut wrong = vec![];
    if OUTSIDE.contains(&path) {
        return wrong;
    }
    let folder = path.split('/').next().unwrap();
    let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == folder) else {
        wrong.push(format!("src/{path}: is in no floor; ARCHITECTURE.md lists the floors"));
        return wrong;
    };
    let depth = path.split('/').count() - usize::from(path.ends_with("/mod.rs"));
    for name in named(text, depth) {
        let is_floor = FLOORS.iter().any(|(floor, _)| *floor == name);
        if is_floor && name != folder && !below.contains(&name) {
            wrong.push(format!("src/{path}: imports {name}; {folder} may import only {below:?}"));
        }
    }
    wrong
}

/// Path and text of each file of a top folder.
fn source_texts(tree: &str) -> Vec<(String, String)> {
    let root = repository().join(tree);
    let mut files = vec![];
    sources(&root, &mut files);
    assert!(!files.is_empty(), "no sources found in {tree}");
    let path = |file: &Path| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (path(file), std::fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn floors_import_only_floors_below_them() {
    let (sources, mut wrong) = (source_texts("src"), vec![]);
    assert!(sources.len() > 20, "only {} sources found", sources.len());
    for (path, text) in sources {
        // The tests at the end of a file may import any floor.
        wrong.extend(violations(&path, text.split("#[cfg(test)]").next().unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_no_import_cycle_between_files() {
    let cycles = cycles::cycles(&source_texts("src"));
    assert!(cycles.is_empty(), "these files of src/ import one another: {cycles:#?}");
}

#[test]
fn source_trees_keep_the_rules_of_layout() {
    let wrong: Vec<String> =
        ["src", "tests", "bench"].iter().flat_map(|tree| layout::violations(tree, &source_texts(tree))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn floors_are_listed_from_low_to_high() {
    for (at, (floor, below)) in FLOORS.iter().enumerate() {
        let lower: Vec<&str> = FLOORS[..at].iter().map(|(name, _)| *name).collect();
        assert!(below.iter().all(|name| lower.contains(name)), "{floor} is not above all of {below:?}");
    }
    assert_eq!(FLOORS[0], ("model", &[][..]), "the lowest floor imports no other");
}

#[test]
fn top_folder_has_no_unexpected_entries() {
    let ignored = std::fs::read_to_string(repository().join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut wrong = vec![];
    for entry in std::fs::read_dir(repository()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !TOP.contains(&name.as_str()) && !ignored.contains(&name.as_str()) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "unexpected in the top folder of the repository: {}", wrong.join(", "));
}

#[test]
fn forbidden_imports_are_found() {
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
    ] {
        assert!(!violations(path, text).is_empty(), "not found in {path}: {text}");
    }
}

#[test]
fn allowed_imports_pass() {
    for (path, text) in [
        ("model/key.rs", "use super::error::Error; use crate::model::ErrorKind; mod tests { use super::*; }"),
        ("yaml/mod.rs", "use crate::{model::{Key, Entry}, store::Store};"),
        ("yaml/fs/real.rs", "use super::super::scalar; use crate::yaml::memory;"),
        ("web/get.rs", "fn yaml(cli: u8) -> u8 { cli }"),
        ("cli/open.rs", "use crate::{memory, yaml, layers, client, web, server};"),
        ("main.rs", "fn main() { kvs::cli::run() }"),
    ] {
        let wrong = violations(path, text);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
