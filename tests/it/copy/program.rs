//! The program `kvs copy`, and exports from and imports into a server.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::{Server, empty};

/// A folder to work in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
        command.env_clear().env("KVS_HOME", self.0.path()).args(args).current_dir(self.0.path());
        command
    }

    /// Runs the program, which must end with this code, and returns its output.
    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = String::from_utf8(stdout).unwrap() + std::str::from_utf8(&stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}: {text}");
        text
    }

    /// Imports `count` keys into a bucket.
    fn fill(&self, store: &str, bucket: &str, count: usize) {
        let path = self.path("keys.csv");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        writeln!(file, "key,value").unwrap();
        for n in 0..count {
            writeln!(file, "k/{n:07},value {n}").unwrap();
        }
        file.into_inner().unwrap();
        self.run(&["import", "keys.csv", "--store", store, "--bucket", bucket], 0);
    }
}

/// The number of rows of clients in the table of a URL of the shared server.
fn rows(url: &str) -> u64 {
    let table = url.split("table=").nth(1).unwrap().split('&').next().unwrap();
    let exists = Server::shared().psql(&format!("SELECT to_regclass('{table}') IS NOT NULL"));
    if exists == "f" {
        return 0;
    }
    Server::shared().psql(&format!("SELECT count(*) FROM {table} WHERE bucket NOT LIKE '\\_kvs%'")).parse().unwrap()
}

/// Starts a copy and kills it when the first rows have arrived. Returns their number; `None` if the copy ended before.
fn killed(place: &Place, url: &str) -> Option<u64> {
    let before = rows(url);
    let started = Instant::now();
    let mut child = place.command(&["copy", "yaml:src", url]).stderr(Stdio::null()).spawn().unwrap();
    while rows(url) == before && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was copied");
    }
    child.kill().unwrap();
    let over = child.wait().unwrap().success();
    // The server may still be committing the last batch of the killed copy.
    let table = url.split("table=").nth(1).unwrap().split('&').next().unwrap();
    let busy = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE '%{table}%' AND pid <> pg_backend_pid()"
    );
    while Server::shared().psql(&busy) != "0" {
        std::thread::sleep(Duration::from_millis(10));
    }
    (!over).then(|| rows(url))
}

#[test]
fn a_killed_copy_continues_where_it_was() {
    const COUNT: u64 = 60_000;
    let place = Place::new();
    place.fill("yaml:src", "default", usize::try_from(COUNT).unwrap());
    // On a busy machine a copy may end before the signal arrives.
    let found = (0..10).find_map(|_| {
        let url = empty("");
        let there = killed(&place, &url).filter(|there| *there < COUNT)?;
        Some((killed(&place, &url).unwrap_or(there), url))
    });
    let (there, url) = found.expect("a copy that is killed half-way");
    let output = place.run(&["copy", "yaml:src", &url], 0);
    let copied: u64 = output.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(there > 0 && copied <= COUNT - there, "{there} were copied before: {output}");
    assert_eq!(rows(&url), COUNT);
    place.run(&["copy", "yaml:src", &url, "--verify"], 0);

    // And back; the files have the same bytes.
    place.run(&["copy", &url, "yaml:back"], 0);
    for store in ["yaml:src", "yaml:back"] {
        place.run(&["compact", "--store", store, "--bucket", "default"], 0);
    }
    let data = |name: &str| {
        let text = std::fs::read_to_string(place.path(name).join("default.yaml")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(data("src") == data("back"));
}

#[test]
fn mistakes_are_reported_before_anything_is_done() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--store", "yaml:src"], 0);
    let url = empty("");
    let other = empty("");
    for (args, code, expected) in [
        (&["copy", "yaml:src"][..], 2, "expected two stores"),
        (&["copy", "yaml:src", "yaml:a", "postgresql://me:hunter2@h/db"], 2, "expected two stores"),
        (&["copy"], 2, "STORE"),
        (&["copy", "yaml:src", "memory:"], 2, "TO: memory: cannot be copied"),
        (&["copy", "memory:", "yaml:new"], 2, "FROM: memory: cannot be copied"),
        (&["copy", "yaml:scr", "yaml:new"], 1, "FROM: there is no folder scr"),
        (&["copy", "yaml:src", "yaml:./src/../src"], 2, "FROM and TO are the same store"),
        (&["copy", &url, &format!("{url}pool_size=2")], 2, "FROM and TO are the same store"),
        (&["copy", &other, "yaml:new"], 1, "has no kvs tables"),
        (&["copy", "yaml:src", "postgresq://me:hunter2@h/db"], 2, "TO: no store of this kind"),
        (&["copy", "yaml:src", "postgresql://me:hunter2@h/db?tabel=x"], 2, "did you mean table"),
        (
            &["copy", "yaml:src", "postgresql://me:hunter2@127.0.0.1:1/db"],
            1,
            "127.0.0.1:1/db: PostgreSQL cannot be reached",
        ),
        (
            &["copy", "postgresql://me:hunter2@127.0.0.1:1/db", "yaml:new"],
            1,
            "127.0.0.1:1/db: PostgreSQL cannot be reached",
        ),
        (&["copy", "--from-pgkv", "postgresql://me:hunter2@127.0.0.1:1/db", "yaml:new"], 1, "the source: PostgreSQL"),
        (&["copy", "--from-pgkv", "yaml:src", "yaml:new"], 2, "as a URL such as postgresql://"),
        (&["copy", "--from-poky", "postgresql://me:hunter2@h/db?tabel=x", "yaml:new"], 2, "did you mean table"),
        (&["copy", "--from-poky", "postgresql://h/db", "yaml:src", "yaml:new"], 2, "expected exactly one store"),
        (&["copy", "yaml:src", "yaml:new", "--bucket", "none"], 1, "the source has no bucket none"),
        (&["copy", "yaml:src", "yaml:new", "--dry-run", "--verify"], 2, "--verify"),
    ] {
        let output = place.run(args, code);
        assert!(output.contains(expected) && !output.contains("hunter2"), "{args:?}: {output}");
    }
    assert!(!place.path("new").exists() && rows(&url) == 0 && rows(&other) == 0);
}

#[test]
fn a_dry_run_and_a_verification_create_nothing() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--store", "yaml:src"], 0);
    let url = empty("");
    let output = place.run(&["copy", "yaml:src", &url, "--dry-run"], 0);
    assert!(output.contains("1 entry in 1 bucket to copy, 0 entries to delete, 0 entries equal already"), "{output}");
    let output = place.run(&["copy", "yaml:src", &url, "--verify"], 1);
    assert!(
        output.contains("bucket default, key \"a\": only in the source") && output.contains("1 entry differs"),
        "{output}"
    );
    let table = url.split("table=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(Server::shared().psql(&format!("SELECT to_regclass('{table}') IS NULL")), "t");
    place.run(&["copy", "yaml:src", "yaml:new", "--dry-run"], 0);
    assert!(!place.path("new").exists());
}

#[test]
fn conflicts_are_listed_and_replaced_on_request() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--store", "yaml:src"], 0);
    place.run(&["set", "own", "1", "--store", "yaml:new"], 0);
    let output = place.run(&["copy", "yaml:src", "yaml:new"], 1);
    assert!(output.contains("bucket default: the target has 1 key that the source does not have"), "{output}");
    assert!(output.contains("nothing was written") && output.contains("--replace"), "{output}");
    let output = place.run(&["copy", "yaml:src", "yaml:new", "--replace"], 0);
    assert!(output.contains("1 entry in 1 bucket: 1 copied, 1 deleted; both stores are equal"), "{output}");
    assert_eq!(place.run(&["copy", "yaml:src", "yaml:new", "--replace", "--quiet"], 0), "");
    let output = place.run(&["copy", "yaml:src", "yaml:other", "--max-value", "0"], 1);
    assert!(output.contains("the maximum is "), "{output}");
    assert!(
        place
            .run(&["copy", "yaml:src", "yaml:other", "--max-value", "0", "--skip-incompatible"], 0)
            .contains("skipped")
    );
}

#[test]
fn a_damaged_source_is_not_copied() {
    let place = Place::new();
    place.run(&["set", "a", "1", "--store", "yaml:src"], 0);
    let mut file = std::fs::OpenOptions::new().append(true).open(place.path("src/default.yaml")).unwrap();
    file.write_all(b"---\nb: [1\n...\n").unwrap();
    let output = place.run(&["copy", "yaml:src", "yaml:new"], 1);
    assert!(output.contains("FROM: bucket default is damaged; run `kvs check --store yaml:src`"), "{output}");
    assert!(!place.path("new").exists());
}

#[test]
fn a_hundred_thousand_keys_are_exported_and_imported() {
    let place = Place::new();
    let (one, other) = (empty(""), empty("layout=partitioned"));
    place.fill(&one, "many", 100_000);
    for file in ["all.yaml", "all.json", "all.csv"] {
        let bucket = file.replace('.', "_");
        let output = place.run(&["export", file, "--store", &one, "--bucket", "many"], 0);
        assert!(output.contains("100000 entries written"), "{output}");
        let output = place.run(&["import", file, "--store", &other, "--bucket", &bucket], 0);
        assert!(output.contains("100000 keys stored"), "{output}");
        assert_eq!(place.run(&["get", "k/0099999", "--store", &other, "--bucket", &bucket], 0), "value 99999");
    }
    assert_eq!(rows(&other), 300_000);
}
