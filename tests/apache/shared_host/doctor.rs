//! `kvs doctor` names the fault of a site, from outside by its address and from inside in its folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::servers::{Server, Way};
use crate::site::Site;

/// Runs `kvs doctor`. Returns its exit code and the lines of the problems.
fn doctor(root: &Path, arguments: &[&str], secret: &str) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KVS_HOME", root).env("KVS_SECRET", secret);
    let output = command.arg("doctor").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let problems: Vec<String> = text.lines().filter(|line| line.starts_with("problem: ")).map(str::to_owned).collect();
    assert_eq!(
        output.status.code() == Some(1),
        !problems.is_empty(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), problems)
}

/// The problems of a site as its clients see it, and as it is in its folder.
fn problems(change: impl Fn(&Path)) -> [Vec<String>; 2] {
    let (site, secret) = Site::of_init();
    let server = Server::start_as_shared_host(site, Way::ModFcgid);
    change(&server.site.root());
    for (program, _) in server.site.programs() {
        // The next one is started with the change.
        let program = rustix::process::Pid::from_raw(program).unwrap();
        let _ = rustix::process::kill_process(program, rustix::process::Signal::KILL);
    }
    let url = format!("http://127.0.0.1:{}/", server.port);
    let root = server.site.root();
    [doctor(&root, &["--url", &url], &secret).1, doctor(&root, &[], &secret).1]
}

/// Checks that each problem that is found is this one, and that it is found from outside or from inside.
#[track_caller]
fn finds(outside: Option<&str>, inside: Option<&str>, change: impl Fn(&Path)) {
    let found = problems(change);
    for (found, expected) in found.iter().zip([outside, inside]) {
        match expected {
            Some(expected) => assert!(
                !found.is_empty() && found.iter().all(|problem| problem.contains(expected)),
                "expected {expected:?}, found {found:#?}"
            ),
            None => assert_eq!(found, &Vec::<String>::new()),
        }
    }
}

fn without(text: &str) -> impl Fn(&Path) {
    move |root| {
        let htaccess = root.join(".htaccess");
        let all = fs::read_to_string(&htaccess).unwrap();
        let kept: Vec<&str> = all.lines().filter(|line| line.starts_with('#') || !line.contains(text)).collect();
        assert!(kept.len() < all.lines().count(), "{text}");
        fs::write(&htaccess, kept.join("\n") + "\n").unwrap();
    }
}

fn mode(name: &str, mode: u32) -> impl Fn(&Path) {
    move |root| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap()
}

#[test]
fn a_sound_site_has_no_problem() {
    finds(None, None, |_| {});
}

#[test]
fn a_hidden_authorization_header_is_found() {
    finds(
        Some("header Authorization does not reach kvs"),
        Some("lacks `SetEnvIf Authorization`"),
        without("SetEnvIf Authorization"),
    );
}

#[test]
fn a_line_that_shows_cut_bodies_is_missed() {
    finds(None, Some("lacks `KVS_CLIENT_CHUNKED`"), without("KVS_CLIENT_CHUNKED"));
}

#[test]
fn lost_paths_are_found() {
    finds(Some("livez gets 404 Not Found: the path does not reach kvs"), Some("lacks `RewriteEngine On`"), |root| {
        without("RewriteEngine On")(root);
    });
}

#[test]
fn files_that_can_be_downloaded_are_found() {
    let [outside, inside] = problems(|root| fs::remove_file(root.join(".htaccess")).unwrap());
    for name in ["auth.txt", "livez gets 404"] {
        assert!(outside.iter().any(|problem| problem.contains(name)), "{outside:#?}");
    }
    assert!(inside.iter().all(|problem| problem.contains(".htaccess is missing")) && inside.len() == 1, "{inside:#?}");
}

#[test]
fn a_line_that_the_host_forbids_is_found() {
    finds(Some("a line in .htaccess that the host does not allow"), None, |root| {
        let htaccess = root.join(".htaccess");
        let all = fs::read_to_string(&htaccess).unwrap();
        fs::write(&htaccess, all + "php_flag engine off\n").unwrap();
    });
}

#[test]
fn a_program_that_cannot_be_run_is_found() {
    finds(Some("kvs.fcgi"), Some("kvs.fcgi is not executable for everybody (mode 644)"), mode("kvs.fcgi", 0o644));
}

#[test]
fn a_program_that_others_can_change_is_found() {
    finds(None, Some("kvs.fcgi can be changed by others (mode 775)"), mode("kvs.fcgi", 0o775));
}

#[test]
fn secrets_that_everybody_can_read_are_found() {
    finds(None, Some("auth.txt"), mode("auth.txt", 0o644));
}

#[test]
fn damaged_and_doubly_named_data_is_found() {
    let file = |root: &Path, text: &str| {
        fs::write(root.join("data/default.yaml"), text).unwrap();
        crate::site::give_to_server(&root.join("data/default.yaml"));
    };
    finds(Some("status says: "), Some("data/default.yaml, line 1"), |root| file(root, "a: [\n"));
    let [_, inside] = problems(|root| {
        file(root, "a: 1\n");
        fs::hard_link(root.join("data/default.yaml"), root.join("data/copy")).unwrap();
    });
    assert!(inside.iter().any(|problem| problem.contains("has a second name (a hard link)")), "{inside:#?}");
}

#[test]
fn a_site_that_does_not_exist_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}/", crate::servers::free_port());
    let (code, problems) = doctor(folder.path(), &["--url", &url], "");
    assert!(code == Some(1) && problems.len() == 1 && problems[0].contains("does not respond"), "{problems:?}");
}
