//! An auth file that cannot be read, or that everybody can read, is reported as such.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::regression::server::programs::{Place, SECRET};
use crate::support::served::Served;

fn post(served: &Served) -> String {
    let form = format!("a=1&auth={}", crate::support::served::SECRET);
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    served.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()))
}

#[test]
fn unreadable_auth_file_is_not_reported_as_missing() {
    let served = Served::start(&[]);
    let auth = served.file("auth").parent().unwrap().parent().unwrap().join("auth.txt");
    let secrets = std::fs::read(&auth).unwrap();
    assert!(post(&served).starts_with("HTTP/1.1 200"));
    std::fs::remove_file(&auth).unwrap();
    assert!(post(&served).contains("no secret is set"), "there is no auth file");
    // Not even root can open these.
    std::fs::create_dir(&auth).unwrap();
    for _ in 0..3 {
        let answer = post(&served);
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("cannot be read"), "{answer}");
    }
    std::fs::remove_dir(&auth).unwrap();
    std::os::unix::fs::symlink("nowhere", &auth).unwrap();
    assert!(post(&served).contains("cannot be read"));
    std::fs::remove_file(&auth).unwrap();
    for bad in [&b"a fly\n"[..], b"\xff\n"] {
        std::io::Write::write_all(&mut std::fs::File::create(&auth).unwrap(), bad).unwrap();
        assert!(post(&served).contains("cannot be read"));
    }
    std::io::Write::write_all(&mut std::fs::File::create(&auth).unwrap(), &secrets).unwrap();
    assert!(post(&served).starts_with("HTTP/1.1 200"), "it is read again");
}

const EXPOSED: &str = "every user of this machine can read the secrets in";

#[test]
fn world_readable_auth_file_is_warned_about_once() {
    let place = Place::new();
    let form = format!("a=1&auth={SECRET}");
    assert_eq!(place.cgi("192.0.2.1", &form).log, "");
    place.auth(SECRET, 0o644);
    let first = place.cgi("192.0.2.1", &form);
    assert!(first.status == 200 && first.log.contains(EXPOSED) && first.log.contains("chmod 600"), "{}", first.log);
    assert_eq!(place.cgi("192.0.2.1", &form).log, "", "even by another process");
    place.auth(SECRET, 0o640);
    assert_eq!(place.cgi("192.0.2.1", &form).log, "", "a group may be meant to read it");
}

#[test]
fn check_reports_who_can_read_the_auth_file() {
    let place = Place::new();
    place.cgi("192.0.2.1", &format!("a=1&auth={SECRET}"));
    let check = || place.program().arg("check").stdout(Stdio::piped()).output().unwrap();
    let output = check();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("auth.txt"));
    std::fs::set_permissions(place.path("auth.txt"), PermissionsExt::from_mode(0o666)).unwrap();
    let output = check();
    assert!(output.status.success(), "it is not damage");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("every user of this machine can read and change the secrets in"), "{text}");
}
