//! Errors of the command line about invalid values, and its output.

use std::process::Command;

use crate::cli::Place;

#[test]
fn durations_have_weeks_several_units_and_a_range() {
    let place = Place::new();
    for ttl in ["1w", "1d12h", "2h30m", "90", "36500d"] {
        place.run(&["set", "a", "1", "--ttl", ttl]).ok();
    }
    for (ttl, says) in [
        ("99999999999999999999", "at most 36500d"),
        ("99999999999999999999s", "at most 36500d"),
        ("40000d", "at most 36500d"),
        ("1y", "1w or 1d12h"),
        ("soon", "1w or 1d12h"),
        ("-5", "1w or 1d12h"),
        ("0", "must be greater than 0"),
    ] {
        place.run(&["set", "a", "2", "--ttl", ttl]).fails(2, says).fails(2, "--ttl");
    }
    assert_eq!(place.run(&["get", "a"]).ok().text(), "1");
    place.run(&["serve", "--check-config", "--max-wait", "99999999999999999999"]).fails(2, "at most 36500d");
    place.file("config.yaml", "hook_max_age: 99999999999999999999s\n");
    place.run(&["get", "a"]).fails(2, "config.yaml: line 1: hook_max_age").fails(2, "at most 36500d");
}

#[test]
fn invalid_number_is_reported_with_the_range() {
    let place = Place::new();
    for (args, says) in [
        (&["incr", "a", "x"][..], "\"x\" is not a whole number from -9223372036854775808 to 9223372036854775807"),
        (&["incr", "a", "1.5"], "not a whole number"),
        (&["incr", "a", "99999999999999999999"], "to 9223372036854775807"),
        (&["list", "--limit", "x"], "\"x\" is not a whole number from 0"),
        (&["list", "--limit", "-1"], "\"-1\" is not a whole number from 0"),
        (&["list", "--limit", "99999999999999999999"], "from 0 to 18446744073709551615"),
        (&["serve", "--max-waiters", "1e3"], "\"1e3\" is not a whole number"),
        (&["serve", "--hook-max-attempts", "x"], "whole number"),
        (&["list", "--max-value", "99999999999999999999"], "too large"),
    ] {
        let run = place.run(args).fails(2, says);
        assert!(!run.err.contains("digit found") && !run.err.contains("target type"), "{run:?}");
    }
}

#[test]
fn value_that_looks_like_a_flag_is_reported_with_the_fix() {
    let place = Place::new();
    let run = place.run(&["set", "k", "-.5"]).fails(2, "unexpected argument '-.5'");
    assert!(run.err.contains("-- '-.5'"), "{run:?}");
    place.run(&["set", "k", "--", "-.5"]).ok();
    assert_eq!(place.run(&["get", "k"]).ok().text(), "-.5");
    place.run(&["set", "k", "two", "words"]).fails(2, "in quotes");
    place.run(&["copy", "data", "yaml:other"]).fails(2, "FROM: ").fails(2, "write yaml: in front");
    let file = place.file("rows.txt", "key,value\na,1\n");
    place.run(&["import", &file]).fails(1, "--format").fails(1, "nothing was written");
}

#[test]
fn urls_are_shown_without_secrets() {
    let place = Place::new();
    let args = ["--purge", "https://cache.example:8443/hunter2/?", "--purge", "http://other.example/hunter2"];
    place.run(&[&["serve", "--check-config"], &args[..]].concat()).fails(2, "--purge");
    let args = ["--purge", "https://cache.example:8443/hunter2/", "--purge", "http://other.example/hunter2"];
    let shown = place.run(&[&["serve", "--check-config"], &args[..]].concat()).ok();
    assert!(shown.text().contains("purge: [https://cache.example:8443, http://other.example]  # flag"), "{shown:?}");
    place.file("config.yaml", "purge: http://127.0.0.1:6081/hunter2\n");
    let file = place.run(&["serve", "--check-config"]).ok();
    assert!(file.text().contains("purge: http://127.0.0.1:6081  # config.yaml line 1"), "{file:?}");
    place.file("config.yaml", "");
    let url = "postgresql://me:hunter2@127.0.0.1:1/db";
    for args in [&["check", url][..], &[url], &["list", "a", url], &["serve", url], &["list", "--limit", url]] {
        let run = place.run(args);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(!run.err.contains("hunter2"), "{run:?}");
    }
    let store = place.run(&["serve", "--check-config", "--store", &format!("{url}?password=hunter2")]).ok();
    assert!(!shown.text().contains("hunter2") && !file.text().contains("hunter2"));
    assert!(!store.text().contains("hunter2"), "{store:?}");
}

#[test]
fn quiet_and_verbose_are_common_options() {
    let place = Place::new();
    for args in [&["--help"][..], &["-h"], &["list", "--help"], &["serve", "-h"]] {
        let help = place.run(args).ok();
        let (_, common) = help.text().split_once("Common options:").unwrap();
        let (common, hooks) = common.split_once("Write hooks:").unwrap_or((common, ""));
        for flag in ["--quiet", "--verbose"] {
            assert!(common.contains(flag) && !hooks.contains(flag), "{args:?} {flag}: {}", help.text());
        }
    }
}

#[test]
fn tables_fit_the_terminal() {
    let place = Place::new();
    place.run(&["set", "long", &"漢字".repeat(200)]).ok();
    place.run(&["set", "key/two", &"x".repeat(400), "--ttl", "1h"]).ok();
    let table = |columns: &str| {
        let mut command = Command::new("script");
        let list = format!("{} list", env!("CARGO_BIN_EXE_kvs"));
        command.args(["-qec", &list, "/dev/null"]).current_dir(place.0.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("COLUMNS", columns).env("SHELL", "/bin/sh");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let cells = |line: &str| line.chars().map(|c| if ('一'..='龥').contains(&c) { 2 } else { 1 }).sum::<usize>();
    for columns in [40, 80, 160] {
        let table = table(&columns.to_string());
        let widest = table.lines().map(cells).max().unwrap();
        assert!(widest <= columns && widest > columns - 5, "{columns} columns, {widest} cells:\n{table}");
    }
    // A pipe gets all of it, whatever the terminal.
    let piped = place.with(&["list"], &[("COLUMNS", "40")], b"").ok();
    assert_eq!(piped.text().lines().map(|line| line.chars().count()).max(), Some("key/two\t".len() + 400));
}
