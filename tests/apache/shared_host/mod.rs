//! The folder that `kvs init` makes, on a host whose Apache does not know kvs, used with `curl` as its README.txt says.

mod doctor;
mod laptop;

use std::fs;
use std::process::Command;

use crate::servers::{Server, Way};
use crate::site::Site;

/// The body and the status code.
fn curl(server: &Server, path: &str, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]).args(arguments);
    let output = command.arg(format!("http://127.0.0.1:{}{path}", server.port)).output().unwrap();
    assert!(output.status.success(), "{output:?}\n{}", server.site.logs());
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (body.to_owned(), code.to_owned())
}

#[test]
fn uploaded_folder_answers_and_hides_its_files() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let (site, secret) = Site::of_init();
        let root = site.root();
        if way == Way::ModCgid {
            fs::rename(root.join("kvs.fcgi"), root.join("kvs.cgi")).unwrap();
        }
        let server = Server::start_as_shared_host(site, way);
        let status = |form: &str| curl(&server, "/", &["--data", form]);
        assert_eq!(status(&format!("kitchen/temp=21.5&auth={secret}")), ("OK".into(), "200".into()), "{way:?}");
        assert_eq!(status("kitchen/temp=22&auth=not-the-secret-0000").1, "401", "{way:?}");
        assert_eq!(curl(&server, "/?k=kitchen/temp", &[]), ("21.5".into(), "200".into()), "{way:?}");
        // A person edits the file on the host.
        let file = root.join("data/default.yaml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("21.5", "19")).unwrap();
        assert_eq!(curl(&server, "/?k=kitchen/temp", &[]).0, "19", "{way:?}: {text}");
        let hash = fs::read_to_string(root.join("auth.txt")).unwrap();
        for name in ["auth.txt", ".htaccess", "README.txt", "data/", "data/default.yaml"] {
            let (body, code) = curl(&server, &format!("/{name}"), &[]);
            let is_shown = ["sha256", "kitchen", "RewriteRule"].iter().any(|text| body.contains(text));
            assert!(code != "200" && !is_shown, "{way:?} {name}: {code} {body}");
        }
        // The program runs under its name, too, and is not sent.
        let program = if way == Way::ModCgid { "/kvs.cgi" } else { "/kvs.fcgi" };
        assert!(curl(&server, program, &[]).0.starts_with("kvs: GET /?k=KEY"), "{way:?}");
        assert!(hash.contains("sha256:") && !server.site.logs().contains(&secret), "{way:?}");
    }
}
