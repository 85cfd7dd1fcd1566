//! The layout of a tree of sources: the sizes of files and folders, their names, and how each file begins.

use std::collections::BTreeMap;

const MAX_LINES: usize = 400;

const MAX_FILES_OF_A_FOLDER: usize = 20;

/// How many files of a tree may have the same name, except those of `ANY_NUMBER`.
const MAX_FILES_OF_A_NAME: usize = 2;

const ANY_NUMBER: &[&str] = &["mod.rs", "main.rs", "tests.rs"];

/// The rules that a tree violates. `sources` has path and text of each file.
pub(super) fn violations(tree: &str, sources: &[(String, String)]) -> Vec<String> {
    let mut wrong = vec![];
    let (mut folders, mut names) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, Vec<&str>>::new());
    for (path, text) in sources {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{tree}/{path}: {lines} lines, at most {MAX_LINES}: split it by its ideas"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{tree}/{path}: does not begin by saying what it is (//!)"));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let has_tests_only = name == "tests.rs" || folder.ends_with("/tests");
        if !has_tests_only && sources.iter().any(|(other, _)| other.strip_suffix(".rs") == Some(folder)) {
            wrong.push(format!("{tree}/{folder}.rs: move it to {folder}/mod.rs"));
        }
        *folders.entry(folder).or_default() += 1;
        if !ANY_NUMBER.contains(&name) {
            names.entry(name).or_default().push(path);
        }
    }
    let full = folders.iter().filter(|(_, files)| **files > MAX_FILES_OF_A_FOLDER);
    wrong
        .extend(full.map(|(folder, files)| format!("{tree}/{folder}: {files} files, at most {MAX_FILES_OF_A_FOLDER}")));
    let frequent = names.iter().filter(|(_, files)| files.len() > MAX_FILES_OF_A_NAME);
    wrong.extend(frequent.map(|(name, files)| format!("{tree}: more than {MAX_FILES_OF_A_NAME} {name}: {files:?}")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(files: &[(String, &str)]) -> usize {
        let sources: Vec<_> = files.iter().map(|(path, text)| (path.clone(), (*text).to_owned())).collect();
        violations("src", &sources).len()
    }

    fn named(paths: &[&str]) -> usize {
        count(&paths.iter().map(|path| ((*path).to_owned(), "//! A file.")).collect::<Vec<_>>())
    }

    #[test]
    fn each_rule_is_enforced() {
        assert_eq!(count(&[("model/key.rs".into(), "use std::fmt;")]), 1, "no description");
        for (lines, wrong) in [(MAX_LINES, 0), (MAX_LINES + 1, 1)] {
            assert_eq!(count(&[("lib.rs".into(), &"//!\n".repeat(lines))]), wrong, "{lines} lines");
        }
        for (files, wrong) in [(MAX_FILES_OF_A_FOLDER, 0), (MAX_FILES_OF_A_FOLDER + 1, 1)] {
            let files: Vec<_> = (0..files).map(|n| (format!("yaml/f{n}.rs"), "//! A file.")).collect();
            assert_eq!(count(&files), wrong, "{} files", files.len());
        }
        assert_eq!(named(&["a/get.rs", "b/get.rs"]), 0);
        assert_eq!(named(&["a/get.rs", "b/get.rs", "c/get.rs"]), 1);
        assert_eq!(named(&["a/mod.rs", "b/mod.rs", "c/mod.rs", "a/x/tests.rs", "b/x/tests.rs", "c/x/tests.rs"]), 0);
    }

    #[test]
    fn a_folder_has_its_module_inside() {
        assert_eq!(named(&["a/line.rs", "a/line/tests.rs"]), 0);
        assert_eq!(named(&["a/tests.rs", "a/tests/long.rs"]), 0);
        assert_eq!(named(&["a/line.rs", "a/line/parse.rs"]), 1);
        assert_eq!(named(&["a/line/mod.rs", "a/line/parse.rs"]), 0);
    }
}
