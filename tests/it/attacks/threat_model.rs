//! The table in SECURITY.md names tests that exist, and each file of attacks is in it.

use std::path::Path;

/// The folders that the table abbreviates.
const FOLDERS: [(&str, &str); 4] =
    [("it/", "tests/it/"), ("apache/", "tests/apache/"), ("fuzz/", "fuzz/src/bin/"), ("src/", "src/")];

#[test]
fn every_test_in_the_table_of_threats_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let table = text.split("## Threats, defences and tests").nth(1).expect("the table");
    let mut tests = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut source = None;
        for word in last.split([' ', ',']).filter(|word| !word.is_empty()) {
            let path = FOLDERS.iter().find_map(|(short, long)| Some(root.join(long).join(word.strip_prefix(short)?)));
            if let Some(path) = path {
                assert!(path.exists(), "{word} in {row}");
                source = Some(path);
            } else if let Some(name) = word.strip_prefix('`').and_then(|word| word.strip_suffix('`')) {
                let source = source.as_ref().unwrap_or_else(|| panic!("no file before {name} in {row}"));
                let code = std::fs::read_to_string(source).unwrap();
                assert!(code.contains(&format!("fn {name}(")), "no test {name} in {}", source.display());
                tests += 1;
            }
        }
        assert!(source.is_some(), "no test in {row}");
    }
    assert!(tests > 20, "{tests}");
    for (short, folder) in [("it/", "tests/it/attacks"), ("apache/", "tests/apache/attacks")] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let is_listed = table.contains(&format!("{short}attacks/{name}"));
            assert!(is_listed || name == "mod.rs" || name == "threat_model.rs", "{name} is not in SECURITY.md");
        }
    }
}
