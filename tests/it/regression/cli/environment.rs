//! Environment variables: unknown ones are rejected, and errors name the variable.

use crate::cli::Place;

fn with(place: &Place, args: &[&str], name: &str, value: &str) -> crate::cli::Run {
    place.with(args, &[(name, value)], b"")
}

#[test]
fn unknown_variable_is_rejected_and_nothing_is_stored() {
    let place = Place::new();
    for args in [&["set", "a", "1"][..], &["list"], &["serve", "--check-config"], &["serve"], &["passcode", "--write"]]
    {
        let run = with(&place, args, "KVS_READ", "secret").fails(2, "KVS_READ`; did you mean `KVS_READS`?");
        assert_eq!(run.text(), "", "{args:?}");
    }
    assert!(!place.path("data").exists() && !place.path("auth.txt").exists());
    with(&place, &["set", "a", "1"], "KVS_STROE", "yaml:x").fails(2, "did you mean `KVS_STORE`?");
    with(&place, &["set", "a", "1"], "KVS_NOTHINGLIKEIT", "").fails(2, "KVS_AUTH, KVS_BASE_PATH");
    for args in [&["--help"][..], &["set", "--help"], &["--version"], &["completions", "bash"], &["man"]] {
        with(&place, args, "KVS_READ", "secret").ok();
    }
}

#[test]
fn variables_of_scripts_and_containers_are_ignored() {
    let place = Place::new();
    for name in [
        "KVS_URL",
        "KVS_SECRET",
        "KVS_READS",
        "KVS_CLIENT_LENGTH",
        "KVS_SITE",
        "KVS_SERVICE_HOST",
        "KVS_PORT_8080_TCP_ADDR",
        "KVSX",
    ] {
        with(&place, &["set", "a", "1"], name, "open").ok();
    }
}

#[test]
fn error_in_a_variable_names_the_variable() {
    let place = Place::new();
    for (name, value, says) in [
        ("KVS_READS", "", "KVS_READS: this variable is empty"),
        ("KVS_HTTP", "", "KVS_HTTP: this variable is empty"),
        ("KVS_STORE", "", "KVS_STORE: this variable is empty"),
        ("KVS_AUTH", "", "KVS_AUTH: this variable is empty"),
        ("KVS_CONFIG", "", "KVS_CONFIG: this variable is empty"),
        ("KVS_PURGE", "", "KVS_PURGE: this variable is empty"),
        ("KVS_BUCKET", "", "KVS_BUCKET: this variable is empty"),
        ("KVS_READS", "closed", "KVS_READS: bad value \"closed\""),
        ("KVS_MAX_WAITERS", "many", "KVS_MAX_WAITERS: \"many\" is not a whole number"),
        ("KVS_MAX_VALUE", "big", "KVS_MAX_VALUE: bad size"),
        ("KVS_BUCKET", "../x", "KVS_BUCKET: bad bucket name"),
        ("KVS_HTTP", "x", "KVS_HTTP: cannot listen at \"x\""),
    ] {
        let run = with(&place, &["serve", "--check-config"], name, value).fails(2, says);
        assert!(!run.err.contains("--"), "{run:?}");
    }
    // A flag overrides its variable, and errors name the flag.
    with(&place, &["serve", "--check-config", "--reads", "open"], "KVS_READS", "").ok();
    let run = with(&place, &["serve", "--check-config", "--reads", "no"], "KVS_READS", "closed").fails(2, "--reads");
    assert!(!run.err.contains("KVS_READS"), "{run:?}");
}

#[test]
fn unknown_variable_is_logged_by_a_spawned_program() {
    let place = Place::new();
    place.run(&["set", "a", "1"]).ok();
    let home = place.0.path().to_str().unwrap().to_owned();
    let cgi = |name: &str, value: &str| {
        let env = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/?k=a"),
            ("QUERY_STRING", "k=a"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            // A header of the client, which the web server passes on.
            ("HTTP_KVS_READ", "x"),
            ("KVS_HOME", home.as_str()),
            (name, value),
        ];
        place.with(&[], &env, b"").ok()
    };
    let refused = cgi("KVS_READ", "secret");
    assert!(refused.text().starts_with("Status: 500") && !refused.text().contains("KVS_READ"), "{refused:?}");
    assert!(refused.err.contains("`KVS_READ`; did you mean `KVS_READS`?"), "{refused:?}");
    let empty = cgi("KVS_READS", "");
    assert!(empty.text().starts_with("Status: 500") && empty.err.contains("KVS_READS: this variable is"), "{empty:?}");
    let served = cgi("KVS_CLIENT_LENGTH", "0");
    assert!(served.text().starts_with("Status: 200") && served.err.is_empty(), "{served:?}");
}

#[test]
fn variable_that_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStrExt as _;

    let place = Place::new();
    let bytes = std::ffi::OsStr::from_bytes(b"op\xffen");
    for name in ["KVS_READS", "KVS_STORE", "KVS_PURGE", "KVS_MAX_WAIT", "KVS_BUCKET"] {
        let output = place.command(&["serve", "--check-config"]).env(name, bytes).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{log}");
        assert!(log.contains(&format!("{name}: ")) && log.contains("not UTF-8") && !log.contains("--"), "{log}");
    }
    // The log level is not a setting: commands work without it.
    let output = place.command(&["set", "a", "1"]).env("KVS_LOG", bytes).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && log.contains("KVS_LOG is ignored: ") && log.contains("not UTF-8"), "{log}");
    // A path may have any bytes, and the names of our variables are ASCII.
    let output = place.command(&["set", "a", "1"]).env("KVS_AUTH", bytes).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = place.command(&["set", "a", "1"]).env(std::ffi::OsStr::from_bytes(b"KVS_\xff"), "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
