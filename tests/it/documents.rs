//! Compares the documentation with the program: it mentions exactly the commands, flags and settings that exist, its
//! links have targets, and it is about the project only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of other programs that the documents show.
const OF_OTHERS: &[&str] = &[
    "--example",
    "--data-binary",
    "--data-urlencode",
    "--encoding",
    "--lib",
    "--locale",
    "--loop-wait",
    "--netns",
    "--nocapture",
    "--nodes",
    "--template",
    "--test",
];

/// Words that must not be in the documentation.
const FORBIDDEN: &[&str] = &["/work/", "session", "prompt", "/tmp/"];

type Names = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The paths of the pages.
fn pages() -> Vec<PathBuf> {
    let in_folder = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = in_folder(root()).chain(in_folder(&root().join("docs")));
    let pages: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    assert!(pages.len() >= 7, "{pages:?}");
    pages
}

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kvs")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn commands() -> Names {
    let help = help(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

/// The words that begin with `mark`, followed by characters for which `is_part` is true.
fn words(text: &str, mark: &str, is_part: fn(char) -> bool) -> Names {
    let end_of = |rest: &str| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let is_start = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
    let found = text.match_indices(mark).filter(|(at, _)| is_start(*at));
    let found = found.map(|(at, _)| &text[at..at + mark.len() + end_of(&text[at + mark.len()..])]);
    found.map(|word| word.trim_end_matches('-')).filter(|word| word.len() > mark.len()).map(str::to_owned).collect()
}

fn flags(text: &str) -> Names {
    words(text, "--", |c| c.is_ascii_lowercase() || c == '-')
}

fn variables(text: &str) -> Names {
    words(text, "KVS_", |c| c.is_ascii_uppercase() || c == '_')
}

/// The flags in the help of a command, without the examples.
fn options(help: &str) -> String {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    lines.map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap().to_owned() + "\n").collect()
}

#[track_caller]
fn assert_same(what: &str, existing: &Names, documented: &Names) {
    let missing: Vec<_> = existing.difference(documented).collect();
    let stale: Vec<_> = documented.difference(existing).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{what}: not documented {missing:?}; documented, but not existing {stale:?}"
    );
}

#[test]
fn every_command_is_documented() {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `kvs "));
    let documented = rows.map(|row| row.split([' ', '`']).next().unwrap().to_owned()).collect();
    assert_same("the table of commands in README.md", &commands(), &documented);
}

#[test]
fn every_documented_command_exists() {
    let mut existing = commands();
    // Not commands, but a placeholder and global flags in the same position.
    existing.extend(["COMMAND", "--version", "--store"].map(str::to_owned));
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let shown = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).chain(line.strip_prefix("    ")));
        let shown = shown.filter_map(|code| code.strip_prefix("kvs ")?.split_whitespace().next());
        for name in shown {
            assert!(existing.contains(name), "{}: kvs {name}", page.display());
        }
    }
}

#[test]
fn every_flag_is_documented() {
    let mut existing = flags(&options(&help(&["--help"])));
    for command in commands() {
        existing.extend(flags(&options(&help(&[&command, "--help"]))));
    }
    let mut documented = Names::new();
    for page in pages() {
        documented.extend(flags(&std::fs::read_to_string(page).unwrap()));
    }
    for flag in OF_OTHERS {
        assert!(documented.remove(*flag), "{flag} is not shown any more");
    }
    assert_same("the flags", &existing, &documented);
}

/// Every setting that the program knows, and its default.
fn settings() -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    let output = command.args(["serve", "--check-config"]).current_dir(folder.path()).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let setting = |line: &str| {
        let (name, rest) = line.split_once(": ").unwrap();
        let (value, source) = rest.split_once("  # ").unwrap();
        assert!(source.starts_with("default"), "{line}");
        (name.to_owned(), value.to_owned())
    };
    lines.lines().map(setting).collect()
}

#[test]
fn every_setting_is_documented() {
    let page = read("docs/settings.md");
    let cell = |row: &str, n: usize| row.split('|').nth(n).unwrap().trim().trim_matches('`').to_owned();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `") && cell(line, 2).starts_with("--")).collect();
    let settings = settings();
    assert_same(
        "the settings in docs/settings.md",
        &settings.iter().map(|(name, _)| name.clone()).collect(),
        &rows.iter().map(|row| cell(row, 1)).collect(),
    );
    let help = [help(&["--help"]), help(&["serve", "--help"])].concat();
    for row in rows {
        let (name, flag, variable) = (cell(row, 1), cell(row, 2), cell(row, 3));
        let word = if name == "buckets" { "policy" } else { &name };
        assert_eq!(flag, format!("--{}", word.replace('_', "-")), "{row}");
        assert_eq!(variable, format!("KVS_{}", word.to_uppercase()), "{row}");
        assert!(settings.contains(&(name, cell(row, 4))), "different default: {row}");
        assert!(flags(&help).contains(&flag) && variables(&help).contains(&variable), "not in the help: {row}");
    }
}

#[test]
fn the_settings_page_has_every_flag_of_serve() {
    let mut existing = flags(&options(&help(&["serve", "--help"])));
    // The page also has a flag of the other commands.
    existing.insert("--bucket".to_owned());
    let mut documented = flags(&read("docs/settings.md"));
    // Every program has this flag.
    documented.insert("--help".to_owned());
    assert_same("the flags in docs/settings.md", &existing, &documented);
}

#[test]
fn every_environment_variable_is_documented() {
    let mut existing = Names::new();
    for command in commands() {
        existing.extend(variables(&help(&[&command, "--help"])));
    }
    // The variables without a flag: the home folder, the log, and the variables that a web server sets for each
    // request.
    for (file, name) in [
        ("src/cli/config/home.rs", "KVS_HOME"),
        ("src/cli/log/mod.rs", "KVS_LOG"),
        ("src/server/cgi/body_length.rs", "KVS_CLIENT_LENGTH"),
        ("src/server/cgi/body_length.rs", "KVS_CLIENT_CHUNKED"),
    ] {
        assert!(read(file).contains(&format!("\"{name}\"")), "{name} is not in {file}");
        existing.insert(name.to_owned());
    }
    let text = [read("docs/settings.md"), read("docs/deploy.md")].concat();
    assert_same("the variables in docs/settings.md and docs/deploy.md", &existing, &variables(&text));
}

/// The anchor of a heading, as on GitHub.
fn anchor(heading: &str) -> String {
    let kept =
        heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-').collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn every_link_has_a_target() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !place.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let found = text
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#').trim_start()) == place);
                assert!(found, "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn the_pages_are_about_the_project_only() {
    for page in pages() {
        // The name of a parameter of PostgreSQL contains a forbidden word.
        let text = std::fs::read_to_string(&page).unwrap().to_lowercase().replace("target_session_attrs", "");
        for word in FORBIDDEN {
            assert!(!text.contains(word), "{}: {word:?}", page.display());
        }
    }
}

#[test]
fn every_file_named_in_architecture_md_exists() {
    let text = read("ARCHITECTURE.md");
    let names =
        text.split('`').skip(1).step_by(2).filter(|code| Path::new(code).extension().is_some_and(|e| e == "rs"));
    let mut files = vec![];
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for name in names {
        assert!(files.iter().any(|file| file.ends_with(name)), "ARCHITECTURE.md names {name}");
    }
}

/// A text with `TIME` in place of each time in it.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let word = word.trim_end_matches(['}', ',']);
        word.len() >= 20 && word.starts_with("20") && word.ends_with('Z')
    };
    let line = |line: &str| {
        let words = line.split(' ').map(|word| if is_time(word) { "TIME" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn the_file_in_the_readme_is_as_kvs_writes_it() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = crate::cli::Place::new();
    place.run(&["set", "kitchen/temp", "21.5"]).ok();
    place.run(&["set", "living-room/channel", "Das Erste"]).ok();
    let json = r#"{"theme": "dark", "sizes": [1, 2]}"#;
    place.run(&["set", "--type", "application/json", "config/app", json]).ok();
    place.run(&["set", "greeting", "Welcome home.\nThe key is under the mat.\n"]).ok();
    assert_eq!(without_times(shown), without_times(&String::from_utf8(place.read("data/default.yaml")).unwrap()));
}
