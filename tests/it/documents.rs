//! The documents against the program: every command, flag and setting there is stands in them, and none that is not;
//! every link leads somewhere; and they speak of the project only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of other programs that the documents show.
const OF_OTHERS: &[&str] = &[
    "--bench",
    "--data-binary",
    "--data-urlencode",
    "--encoding",
    "--lib",
    "--locale",
    "--release",
    "--target",
    "--template",
    "--test",
];

/// Words of a workshop, which a reader has no use for.
const FORBIDDEN: &[&str] = &["/work/", "session", "prompt", "/tmp/"];

type Names = BTreeSet<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The pages, by name.
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

/// What begins with that mark and goes on with such characters.
fn words(text: &str, mark: &str, goes_on: fn(char) -> bool) -> Names {
    let ends = |rest: &str| rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
    let found = text.match_indices(mark).filter(|(at, _)| begins(*at));
    let found = found.map(|(at, _)| &text[at..at + mark.len() + ends(&text[at + mark.len()..])]);
    found.map(|word| word.trim_end_matches('-')).filter(|word| word.len() > mark.len()).map(str::to_owned).collect()
}

fn flags(text: &str) -> Names {
    words(text, "--", |c| c.is_ascii_lowercase() || c == '-')
}

fn variables(text: &str) -> Names {
    words(text, "KVS_", |c| c.is_ascii_uppercase() || c == '_')
}

/// What the help of a command says of its own flags, without examples.
fn options(help: &str) -> String {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    lines.map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap().to_owned() + "\n").collect()
}

#[track_caller]
fn same(what: &str, there: &Names, told: &Names) {
    let missing: Vec<_> = there.difference(told).collect();
    let stale: Vec<_> = told.difference(there).collect();
    assert!(missing.is_empty() && stale.is_empty(), "{what}: not told {missing:?}; told, but not there {stale:?}");
}

#[test]
fn every_command_is_documented() {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `kvs "));
    let told = rows.map(|row| row.split([' ', '`']).next().unwrap().to_owned()).collect();
    same("the table of commands in README.md", &commands(), &told);
}

#[test]
fn every_documented_command_exists() {
    let mut there = commands();
    // Not commands, but what stands where one could: a placeholder, and the global flags.
    there.extend(["COMMAND", "--version", "--store"].map(str::to_owned));
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let shown = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2).chain(line.strip_prefix("    ")));
        let shown = shown.filter_map(|code| code.strip_prefix("kvs ")?.split_whitespace().next());
        for name in shown {
            assert!(there.contains(name), "{}: kvs {name}", page.display());
        }
    }
}

#[test]
fn every_flag_is_documented() {
    let mut there = flags(&options(&help(&["--help"])));
    for command in commands() {
        there.extend(flags(&options(&help(&[&command, "--help"]))));
    }
    let mut told = Names::new();
    for page in pages() {
        told.extend(flags(&std::fs::read_to_string(page).unwrap()));
    }
    for flag in OF_OTHERS {
        assert!(told.remove(*flag), "{flag} is not shown any more");
    }
    same("the flags", &there, &told);
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
    same(
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
        assert!(settings.contains(&(name, cell(row, 4))), "another default: {row}");
        assert!(flags(&help).contains(&flag) && variables(&help).contains(&variable), "not in the help: {row}");
    }
}

#[test]
fn the_settings_page_has_every_flag_of_serve() {
    let mut there = flags(&options(&help(&["serve", "--help"])));
    // The page also has the one flag of the other commands.
    there.insert("--bucket".to_owned());
    let mut told = flags(&read("docs/settings.md"));
    // That every program has.
    told.insert("--help".to_owned());
    same("the flags in docs/settings.md", &there, &told);
}

#[test]
fn every_environment_variable_is_documented() {
    let mut there = Names::new();
    for command in commands() {
        there.extend(variables(&help(&[&command, "--help"])));
    }
    // What no flag stands for: where things are, the log, and what a web server says of each request.
    for (file, name) in [
        ("src/cli/config/home.rs", "KVS_HOME"),
        ("src/cli/log.rs", "KVS_LOG"),
        ("src/server/cgi/body_length.rs", "KVS_CLIENT_LENGTH"),
        ("src/server/cgi/body_length.rs", "KVS_CLIENT_CHUNKED"),
    ] {
        assert!(read(file).contains(&format!("\"{name}\"")), "{name} is not in {file}");
        there.insert(name.to_owned());
    }
    let told = [read("docs/settings.md"), read("docs/deploy.md")].concat();
    same("the variables in docs/settings.md and docs/deploy.md", &there, &variables(&told));
}

/// What a heading is called in a link, as GitHub has it.
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
        // The name of a parameter of PostgreSQL is what it is.
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
