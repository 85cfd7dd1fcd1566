//! `~/` at the start of a path is the home of the user who runs kvs, in every setting, and never a folder named `~`.

use crate::cli::Place;

#[test]
fn tilde_is_expanded_in_every_path_setting() {
    let place = Place::new();
    let home = place.path("home");
    std::fs::create_dir(&home).unwrap();
    let with = |args: &[&str], env: &[(&str, &str)]| {
        let home = [("HOME", home.to_str().unwrap())];
        place.with(args, &[&home, env].concat(), b"")
    };
    with(&["set", "a", "1", "--store", "yaml:~/flag"], &[]).ok();
    with(&["set", "a", "1"], &[("KVS_STORE", "yaml:~/variable")]).ok();
    place.file("config.yaml", "store: yaml:~/file\n");
    with(&["set", "a", "1"], &[]).ok();
    place.file("home/other.yaml", "store: yaml:named\n");
    with(&["set", "a", "1", "--config", "~/other.yaml"], &[]).ok();
    with(&["set", "a", "1"], &[("KVS_HOME", "~/place")]).ok();
    with(&["copy", "yaml:~/flag", "yaml:~/copied"], &[]).ok();
    for folder in ["flag", "variable", "file", "named", "place/data", "copied"] {
        assert!(home.join(folder).join("default.yaml").exists(), "{folder}");
    }
    with(&["passcode", "--write", "--auth=~/auth.txt"], &[]).ok();
    assert!(home.join("auth.txt").exists());
    let args = ["serve", "--check-config", "--auth=~/auth.txt", "--fastcgi", "unix:~/s", "--http=unix:~/h"];
    let shown = with(&args, &[]).ok();
    for line in ["store: yaml:HOME/file", "auth: HOME/auth.txt"] {
        let line = line.replace("HOME", home.to_str().unwrap());
        assert!(shown.text().contains(&line), "{line} is not in {shown:?}");
    }
    place.file("home/word", "sixteen letters or more");
    place.file("config.yaml", "webhook: http://127.0.0.1:1/\nwebhook_secret: file:~/word\nauth: ~/auth.txt\n");
    with(&["serve", "--check-config"], &[]).ok();
    assert!(!place.path("~").exists());
}

#[test]
fn tilde_without_a_known_home_is_rejected() {
    let place = Place::new();
    let run = |args: &[&str], env: &[(&str, &str)]| place.with(args, env, b"");
    let none = "HOME is not set";
    run(&["set", "a", "1", "--store", "yaml:~/data"], &[]).fails(2, none).fails(2, "--store");
    run(&["set", "a", "1"], &[("KVS_STORE", "yaml:~/data")]).fails(2, none).fails(2, "KVS_STORE");
    run(&["set", "a", "1"], &[("KVS_HOME", "~/x")]).fails(2, none).fails(2, "KVS_HOME");
    run(&["list", "--config", "~/x"], &[]).fails(2, none).fails(2, "--config");
    run(&["list", "--auth", "~/x"], &[]).fails(2, none);
    run(&["serve", "--fastcgi", "unix:~/x"], &[]).fails(2, none);
    run(&["copy", "yaml:~/a", "yaml:b"], &[]).fails(2, none).fails(2, "FROM");
    run(&["copy", "yaml:a", "yaml:~bob/b"], &[]).fails(2, "TO").fails(2, "only ~/ is supported");
    run(&["set", "a", "1", "--store", "yaml:~bob/data"], &[("HOME", "/tmp")]).fails(2, "only ~/ is supported");
    place.file("config.yaml", "\nstore: yaml:~/data\n");
    run(&["set", "a", "1"], &[]).fails(2, none).fails(2, "config.yaml: line 2: store");
    place.file("config.yaml", "auth: ~bob/auth.txt\n");
    run(&["set", "a", "1"], &[]).fails(2, "config.yaml: line 1: auth").fails(2, "only ~/ is supported");
    let left: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["config.yaml"]);
}
