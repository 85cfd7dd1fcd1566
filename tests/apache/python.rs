//! Python programs from the package index, in a virtual environment below `target/`. They are downloaded once; later
//! runs do not need the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The installed packages, each with its version.
const REQUIREMENTS: &str = include_str!("../schemathesis/requirements.txt");

/// The folder of the programs.
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        // Written last, so that an interrupted installation starts again. The programs name their folder, so they do not
        // run if it has been moved.
        let done = place.join("installed.txt");
        let what = format!("{}\n{REQUIREMENTS}", place.display());
        if fs::read_to_string(&done).is_ok_and(|text| text == what) {
            return place.join("bin");
        }
        run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&place));
        let list = place.join("requirements.txt");
        fs::write(&list, REQUIREMENTS).unwrap();
        // The list is complete. Playwright, which one of the packages asks for, is not used.
        let quietly = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        run(Command::new(place.join("bin/pip")).args(quietly).arg(&list));
        fs::write(done, what).unwrap();
        place.join("bin")
    })
}

/// The source of axe-core, which checks a page for people who use a screen reader or only a keyboard.
pub(crate) fn axe() -> String {
    let packages = programs().parent().unwrap().join("lib");
    let mut versions = fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path());
    let python = versions.next().unwrap();
    fs::read_to_string(python.join("site-packages/axe_playwright_python/axe.min.js")).unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (the first time it needs the network): {text}");
}
