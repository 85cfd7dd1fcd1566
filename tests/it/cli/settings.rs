//! Flags, variables, `config.yaml`, and the folder of the files.

use std::process::Command;

use super::Place;

#[test]
fn wrong_usage_is_reported_on_standard_error_with_exit_code_2() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["get"],
        &["set", "a"],
        &["get", ""],
        &["get", "a", "--bucket", "../x"],
        &["list", "--keys", "--json"],
        &["set", "a", "1", "--type", "html"],
        &["get", "a", "--store", "mysql:x"],
        &["get", "a", "--max-value", "20GiB"],
        &["edit", "--store", "memory:"],
        &["import", "data.csv", "--format", "xml"],
    ] {
        let run = place.run(args);
        assert_eq!((run.code, run.text()), (2, ""), "{args:?}: {run:?}");
        assert!(!run.err.is_empty(), "{args:?}");
    }
    let help = place.run(&["--help"]).ok();
    assert!(help.text().contains("Exit codes") && help.err.is_empty());
    assert!(!place.path("data").exists(), "the data is not touched");
}

#[test]
fn the_password_of_a_store_is_not_repeated() {
    let place = Place::new();
    let url = "mysql://me:hunter2@db/kvs";
    for run in [place.run(&["list", "--store", url]), place.with(&["list"], &[("KVS_STORE", url)], b"")] {
        let run = run.fails(2, "the kinds are: yaml:DIR, memory:");
        assert!(!run.err.contains("hunter2"), "{run:?}");
    }
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let place = Place::new();
    for (store, value) in [("yaml:data", "default"), ("yaml:f", "file"), ("yaml:e", "environment"), ("yaml:t", "typed")]
    {
        place.run(&["set", "who", value, "--store", store]).ok();
    }
    let who = |args: &[&str], env: &[(&str, &str)]| {
        let args = [&["get", "who"], args].concat();
        String::from_utf8(place.with(&args, env, b"").ok().out).unwrap()
    };
    assert_eq!(who(&[], &[]), "default");
    place.file("config.yaml", "store: yaml:f\n");
    assert_eq!(who(&[], &[]), "file");
    assert_eq!(who(&[], &[("KVS_STORE", "yaml:e")]), "environment");
    assert_eq!(who(&["--store", "yaml:t"], &[("KVS_STORE", "yaml:e")]), "typed");
    place.file("other.yaml", "store: yaml:data\n");
    assert_eq!(who(&["--config", "other.yaml"], &[]), "default");
}

#[test]
fn files_are_in_kvs_home() {
    let (place, home) = (Place::new(), Place::new());
    let env = [("KVS_HOME", home.0.path().to_str().unwrap())];
    place.with(&["set", "a", "1"], &env, b"").ok();
    assert!(home.path("data/default.yaml").exists() && !place.path("data").exists());
    home.file("config.yaml", "store: yaml:elsewhere\n");
    place.with(&["set", "a", "1"], &env, b"").ok();
    assert!(home.path("elsewhere/default.yaml").exists());
}

#[test]
fn the_folder_of_the_program_counts_if_it_contains_config_yaml() {
    let (place, home) = (Place::new(), Place::new());
    let program = home.path("kvs");
    // By another process: a file that this process has open for writing, even in a new child, cannot be executed.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_kvs")).arg(&program).status();
    assert!(copied.unwrap().success());
    let set = |key: &str| {
        let mut command = Command::new(&program);
        assert!(command.args(["set", key, "1"]).current_dir(place.0.path()).env_clear().status().unwrap().success());
    };
    set("a");
    assert!(place.path("data/default.yaml").exists() && !home.path("data").exists());
    home.file("config.yaml", "");
    set("b");
    assert!(home.path("data/default.yaml").exists());
}

#[test]
fn an_unknown_setting_is_an_error_with_its_line_and_a_suggestion() {
    let place = Place::new();
    place.file("config.yaml", "store: yaml:data\nmax_vaule: 1KiB\n");
    let run = place.run(&["get", "a"]).fails(2, "line 2: there is no setting `max_vaule`; did you mean `max_value`?");
    assert!(run.err.contains("config.yaml"), "{run:?}");
    place.run(&["completions", "bash"]).ok();
    place.run(&["get", "a", "--config", "missing.yaml"]).fails(1, "missing.yaml");
}

#[test]
fn a_value_that_is_too_large_is_an_error() {
    let place = Place::new();
    place.file("config.yaml", "max_value: 10\n");
    place.run(&["set", "a", "0123456789"]).ok();
    place.run(&["set", "a", "0123456789a"]).fails(1, "the maximum is 10");
    place.with(&["set", "a", "-"], &[], &[b'x'; 11]).fails(1, "more than 10");
    place.with(&["import", "-"], &[], b"a: 0123456789a\n").fails(1, "nothing was written");
    assert_eq!(place.run(&["get", "a"]).ok().text(), "0123456789");
}
