//! The tables of SECURITY.md and docs/guarantees.md name tests for each threat and each promise. All of these tests exist,
//! and each file of attacks is in SECURITY.md.

use std::path::Path;

/// The folders that the tables abbreviate.
const FOLDERS: [(&str, &str); 4] =
    [("it/", "tests/it/"), ("apache/", "tests/apache/"), ("fuzz/", "fuzz/src/bin/"), ("src/", "src/")];

/// The first cells of the tables whose last column has tests.
const HEADS: [&str; 4] = ["threat", "promise", "limit", "what runs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The rows of the tables that name tests.
fn rows(page: &str) -> Vec<&str> {
    let mut rows = vec![];
    let mut has_tests = false;
    for line in page.lines() {
        let Some(cells) = line.strip_prefix("| ") else {
            // The line below the head of a table continues it.
            has_tests &= line.starts_with("|-");
            continue;
        };
        if has_tests {
            rows.push(line);
        } else {
            has_tests = HEADS.iter().any(|head| cells.starts_with(&format!("{head} |"))) && line.ends_with("| tests |");
        }
    }
    rows
}

/// A cell without the texts in parentheses, such as the number of tests in a file.
fn without_remarks(cell: &str) -> String {
    let parts = cell.split('(').enumerate();
    parts.map(|(n, part)| if n == 0 { part } else { part.split_once(')').expect("a parenthesis").1 }).collect()
}

/// Checks that the files and the tests in the last cell of a row exist. Returns the number of tests with a name.
fn check(row: &str) -> usize {
    let last = without_remarks(row.trim_end_matches(" |").rsplit(" | ").next().unwrap());
    let (mut source, mut tests) = (None, 0);
    for word in last.split([' ', ',']).filter(|word| !word.is_empty()) {
        let path = FOLDERS.iter().find_map(|(short, long)| Some(root().join(long).join(word.strip_prefix(short)?)));
        if let Some(path) = path {
            assert!(path.exists(), "{word} in {row}");
            source = Some(path);
        } else if let Some(name) = word.strip_prefix('`').and_then(|word| word.strip_suffix('`')) {
            let source = source.as_ref().unwrap_or_else(|| panic!("no file before {name} in {row}"));
            let code = std::fs::read_to_string(source).unwrap();
            assert!(code.contains(&format!("fn {name}(")), "no test {name} in {}", source.display());
            tests += 1;
        } else {
            panic!("{word:?} is not a test, in {row}");
        }
    }
    assert!(source.is_some(), "no test in {row}");
    tests
}

#[test]
fn every_test_in_the_table_of_threats_exists() {
    let page = read("SECURITY.md");
    let rows = rows(&page);
    assert!(rows.len() > 20, "{rows:?}");
    let tests: usize = rows.iter().map(|row| check(row)).sum();
    assert!(tests > 20, "{tests}");
    for (short, folder) in [("it/", "tests/it/attacks"), ("apache/", "tests/apache/attacks")] {
        for file in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let is_listed = rows.iter().any(|row| row.contains(&format!("{short}attacks/{name}")));
            assert!(is_listed || name == "mod.rs", "{name} is not in SECURITY.md");
        }
    }
}

#[test]
fn every_test_of_a_promise_exists() {
    let page = read("docs/guarantees.md");
    let rows = rows(&page);
    let tests: usize = rows.iter().map(|row| check(row)).sum();
    assert!(rows.len() > 50 && tests > 100, "{} rows, {tests} tests", rows.len());
    // Each table has tests, so none is left out by a mistake in its head.
    let in_tables = page.lines().filter(|line| line.starts_with("| ")).count();
    let heads = page.lines().filter(|line| line.starts_with("|-")).count();
    assert_eq!(rows.len() + heads, in_tables);
}
