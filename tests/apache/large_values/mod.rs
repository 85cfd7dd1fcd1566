//! Large values, which are blobs, through each way to kvs: what clients send and receive, and which files remain.
//!
//! A case of [`through_each_way!`] is a test for each way, so that one web server does not hide the fault of another.

mod broken_off;
mod content;
mod gigabyte;
mod killed;
mod killed_gigabyte;
mod parts;
mod refused_puts;
mod removed;
mod replaced;
mod stored;
pub(crate) mod transfer;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::Answer;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site, give_to_server};

/// The largest value of these servers: more than the default, and less than the limits of the web servers.
const MAX_VALUE: usize = 6 << 20;

/// The length of most values: larger than the default limit, and no multiple of any buffer.
const LENGTH: usize = 5_000_003;

/// Makes tests of cases: for each case a module with a test for each way to kvs.
macro_rules! through_each_way {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            use crate::large_values::start;
            use crate::servers::Way;

            #[test]
            fn plain_http() {
                super::$case(&start(Way::Http));
            }

            #[test]
            fn mod_fcgid() {
                super::$case(&start(Way::ModFcgid));
            }

            #[test]
            fn mod_cgid() {
                super::$case(&start(Way::ModCgid));
            }

            #[test]
            fn mod_proxy_fcgi() {
                super::$case(&start(Way::ModProxyFcgi));
            }

            #[test]
            fn nginx_fastcgi() {
                super::$case(&start(Way::NginxFastcgi));
            }

            #[test]
            fn nginx_proxy() {
                super::$case(&start(Way::NginxProxy));
            }
        }
    )+};
}

use through_each_way;

/// A server with [`MAX_VALUE`].
fn start(way: Way) -> Server {
    start_with(way, MAX_VALUE)
}

/// A server with this limit of values.
fn start_with(way: Way, max_value: usize) -> Server {
    let site = Site::new();
    // Each program finds this file next to itself, whoever starts it.
    fs::write(site.root().join("config.yaml"), format!("max_value: {max_value}\n")).unwrap();
    // As `kvs passcode` makes it, so that `kvs check` has nothing to say.
    let auth = site.root().join("auth.txt");
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o600)).unwrap();
    give_to_server(&auth);
    Server::start_in(site, way)
}

/// The head of a request that closes the connection, with more headers.
fn head(method: &str, key: &str, headers: &str) -> String {
    format!("{method} /kv/default/{key} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n{headers}\r\n")
}

/// The header with the secret.
fn secret() -> String {
    format!("X-KVS-Auth: {SECRET}\r\n")
}

/// A PUT with its length.
fn put_request(key: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = head("PUT", key, &format!("Content-Length: {}\r\n{headers}", body.len())).into_bytes();
    request.extend_from_slice(body);
    request
}

/// Stores a value with the secret.
fn put(server: &Server, key: &str, headers: &str, body: &[u8]) -> Answer {
    server.send(&put_request(key, &(secret() + headers), body))
}

/// Stores a value, which must succeed. Returns its ETag.
#[track_caller]
fn stored(server: &Server, key: &str, body: &[u8]) -> String {
    let answer = put(server, key, "", body);
    assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
    assert_eq!(answer.text(), "OK");
    answer.header("etag").expect("an ETag").to_owned()
}

fn delete(server: &Server, key: &str) -> Answer {
    server.send(head("DELETE", key, &secret()).as_bytes())
}

/// Reads without a secret.
fn get(server: &Server, key: &str, headers: &str) -> Answer {
    server.send(head("GET", key, headers).as_bytes())
}

/// Checks that a key has exactly this value.
#[track_caller]
fn assert_value(server: &Server, key: &str, expected: &[u8]) {
    let answer = get(server, key, "");
    assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, expected.len()), "{key}");
    assert!(answer.body == expected, "{key} has other bytes");
}

/// The folder of the blobs of the bucket `default`.
fn blob_folder(server: &Server) -> PathBuf {
    server.site.root().join("data/blobs/default")
}

/// The files of blobs, and those that are being written.
fn blob_files(server: &Server) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(blob_folder(server)) else { return BTreeSet::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

/// The names of the blobs with these contents.
fn names(contents: &[&[u8]]) -> BTreeSet<String> {
    contents.iter().map(|content| content::blob_name(content)).collect()
}

/// Waits until the folder has exactly these blobs.
#[track_caller]
fn assert_blobs(server: &Server, contents: &[&[u8]]) {
    let expected = names(contents);
    within_seconds(10, || blob_files(server) == expected, || format!("{:?}, not {expected:?}", blob_files(server)));
}

/// Waits for a condition.
#[track_caller]
fn within_seconds(seconds: u64, mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(seconds), "after {seconds} s: {}", state());
        sleep(Duration::from_millis(5));
    }
}

/// Runs the program of the site as a command on its data.
fn command(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(server.site.root().join("kvs.fcgi"));
    command.args(args).env_remove("KVS_HOME").stdin(Stdio::null()).output().unwrap()
}

/// Checks that the data has no fault, and that a sweep leaves only these blobs.
#[track_caller]
fn assert_sound(server: &Server, blobs: &BTreeSet<String>) {
    for (args, prints) in [(&["sweep"][..], false), (&["check"][..], true)] {
        let Output { status, stdout, stderr } = command(server, args);
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success() && (!prints || out.is_empty()), "{args:?}: {status}\n{out}\n{err}");
    }
    assert_eq!(&blob_files(server), blobs);
}
