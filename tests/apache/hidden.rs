//! Only the responses of the program are served: no secret, no settings, no data, no backup. No secret is logged.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::{self, Answer};
use crate::script::{form, form_with};
use crate::servers::{Server, Way};
use crate::site::{MARK, SECRET, WRONG};

const WAYS: &[Way] = &[Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi, Way::NginxFastcgi, Way::NginxProxy, Way::Http];

/// Files of a site, by their path in its folder, without those that kvs creates itself.
const FILES: &[&str] = &[
    "auth.txt~",
    "auth.txt.bak",
    ".auth.txt.swp",
    "#auth.txt#",
    "auth",
    "config.yaml.old",
    "kvs.fcgi.bak",
    "kvs.fcgi.old",
    "kvs.cgi~",
    "notes.html",
    "index.html",
    "picture.png",
    ".git/config",
    ".git/HEAD",
    ".env",
    "data/default.yaml.new",
    "data/default.torn",
    "data/blobs/0a1b2c",
    "data/index.html",
    "sub/auth.txt",
];

/// A server with a stored value and with many files in its folder.
fn server_among_files(way: Way) -> Server {
    let server = Server::start(way);
    let stored = server.send(&form(&format!("hidden={MARK}")));
    assert_eq!(stored.status, 200, "{way:?}: {}\n{}", stored.text(), server.site.logs());
    let root = server.site.root();
    assert!(root.join("data/default.yaml").exists(), "{way:?}: the data is elsewhere");
    for folder in ["data/blobs", ".git", "sub"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in FILES {
        fs::write(root.join(file), MARK).unwrap();
    }
    fs::write(root.join("config.yaml"), format!("# {MARK}\n")).unwrap();
    server
}

/// Spellings of the path of a file that a server might resolve to this file.
fn spellings(path: &str) -> Vec<String> {
    // Unescaped, it would end the path.
    let path = &path.replace('#', "%23");
    let dots = path.replace('.', "%2e");
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let first = format!("%{:02X}{}", name.as_bytes()[0], &name[1..]);
    let slash = if folder.is_empty() { "" } else { "/" };
    vec![
        format!("/{path}"),
        format!("//{path}"),
        format!("/./{path}"),
        format!("/nowhere/../{path}"),
        format!("/nowhere/%2e%2e/{path}"),
        format!("/{dots}"),
        format!("/{folder}{slash}{first}"),
        format!("/{}", path.to_uppercase()),
        format!("/{path}/"),
        format!("/{path}/more"),
        format!("/{path}?x=1"),
        format!("/{path}%00.html"),
        format!("/{path};.html"),
        format!("/{}", path.replace('/', "//")),
        format!("/{}", path.replace('/', "%2F")),
        format!("/kvs.fcgi/../{path}"),
        format!("/kvs.fcgi/{path}"),
        format!("/kvs.cgi/{path}"),
    ]
}

#[test]
fn no_file_is_served() {
    for &way in WAYS {
        let server = server_among_files(way);
        let created =
            ["auth.txt", "auth_sample.txt", "config.yaml", ".htaccess", "data/default.yaml", "data/default.lock"];
        for path in FILES.iter().copied().chain(created) {
            for spelling in spellings(path) {
                for method in ["GET", "POST"] {
                    let answer = ask(&server, method, &spelling);
                    let fault = fault(&answer);
                    assert!(fault.is_none(), "{way:?}: {method} {spelling}: {fault:?}: {answer:?}");
                }
            }
        }
    }
}

#[test]
fn no_folder_is_listed() {
    for &way in WAYS {
        let server = server_among_files(way);
        for path in ["/data", "/data/", "/data/blobs", "/data/blobs/", "/.git/", "/sub/", "/sub", "//data//", "/DATA/"]
        {
            let answer = ask(&server, "GET", path);
            assert!(fault(&answer).is_none(), "{way:?}: {path}: {answer:?}");
            for name in ["default.yaml", "0a1b2c", "HEAD", "auth.txt", "Index of"] {
                assert!(!answer.text().contains(name), "{way:?}: {path} shows {name}: {}", answer.text());
            }
        }
    }
}

#[test]
fn no_secret_is_logged() {
    let basic = STANDARD.encode(format!("anybody:{SECRET}"));
    for &way in WAYS {
        let mut server = Server::start(way);
        let right = [
            form("a=1"),
            form_with(&format!("Authorization: Bearer {SECRET}\r\n"), "a=2"),
            form_with(&format!("Authorization: Basic {basic}\r\n"), "a=3"),
            form_with(&format!("X-KVS-Auth: {SECRET}\r\n"), "a=4"),
        ];
        for request in right {
            assert_eq!(server.send(&request).status, 200, "{way:?}\n{}", server.site.logs());
        }
        let faulty = [
            form_with("", &format!("a%00=5&auth={SECRET}")),
            form_with("", &format!("a=5&auth={SECRET}&auth={SECRET}")),
            form_with("", &format!("a=5&auth={WRONG}")),
            form_with(&format!("Authorization: Bearer {WRONG}\r\n"), "a=5"),
        ];
        for request in faulty {
            let answer = server.send(&request);
            assert!((400..500).contains(&answer.status), "{way:?}: {}", answer.status);
            assert!(!answer.text().contains(SECRET) && !answer.text().contains(WRONG), "{way:?}: {}", answer.text());
        }
        assert!(server.stop().is_empty(), "{way:?}: a process is left");
        let logs = server.site.logs();
        assert!(logs.contains("---"), "no log was found");
        for secret in [SECRET, WRONG, basic.as_str()] {
            assert!(!logs.contains(secret), "{way:?}: a secret in a log:\n{logs}");
        }
    }
}

fn ask(server: &Server, method: &str, path: &str) -> Answer {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{length}\r\n");
    client::send(server.port, request.as_bytes())
}

/// What a response shows that it must not show.
fn fault(answer: &Answer) -> Option<&'static str> {
    let text = answer.text();
    if text.contains(MARK) || text.contains(SECRET) {
        return Some("hidden content");
    }
    if text.contains("RewriteRule") || text.contains("A good secret is long") {
        return Some("a file of the site");
    }
    // Only the pages of kvs may be served, and none of the paths is one of them.
    (answer.status == 200).then_some("a page")
}
