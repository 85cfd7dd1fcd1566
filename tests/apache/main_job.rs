//! The main use of kvs with real input: hundreds of keys of channels, players and sensors, loaded by `kvs import` and
//! by curl, and polled as a Roku, an ESP32 and curl do.
//!
//! `PyYAML` reads the expected values from the file, not our own reader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::client::{Answer, printable, send};
use crate::contention::Dice;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

/// Prints the keys, the values and the expiries in the file (some expiries are in the past).
const SCRIPT: &str = r#"
import json, sys, yaml
rows = yaml.load(open(sys.argv[1], encoding="utf-8"), yaml.BaseLoader)
end = lambda entry: entry.get("expires") if isinstance(entry, dict) else None
value = lambda entry: entry["value"] if isinstance(entry, dict) else entry
json.dump([[key, value(entry), end(entry)] for key, entry in rows.items()], sys.stdout)
"#;

/// A row of the file.
struct Row {
    key: String,
    value: String,
    expires: Option<String>,
}

impl Row {
    fn has_expired(&self) -> bool {
        self.expires.as_ref().is_some_and(|expiry| expiry.starts_with("2020"))
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/channels.yaml")
}

fn rows() -> Vec<Row> {
    let output = Command::new("/usr/bin/python3").args(["-c", SCRIPT]).arg(file()).output().unwrap();
    let rows: Vec<(String, String, Option<String>)> = serde_json::from_slice(&done(&output).stdout).unwrap();
    let rows: Vec<Row> = rows.into_iter().map(|(key, value, expires)| Row { key, value, expires }).collect();
    assert!(rows.len() > 250 && rows.iter().filter(|row| row.has_expired()).count() > 3, "the file has changed");
    rows
}

fn done(output: &Output) -> &Output {
    assert!(output.status.success(), "{output:?}");
    output
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The characters that the program of an ESP32 escapes: only those that it must escape.
const NEEDED: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'&').add(b'+').add(b'"');

/// A device that polls.
#[derive(Clone, Copy, Debug)]
enum Device {
    /// `roUrlTransfer`: everything is escaped, and a number in the query prevents caching.
    Roku,
    /// `HTTPClient` with `useHTTP10`.
    Esp32,
    /// `HTTPClient` with its defaults.
    Esp32Eleven,
}

fn poll(port: u16, device: Device, keys: &str, turn: u32) -> Answer {
    let request = match device {
        Device::Roku => format!(
            "GET /?k={}&_={}{turn} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Roku/DVP-12.0 (12.0.0.4184-C)\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            escaped(keys),
            "1763640000"
        ),
        Device::Esp32 => format!(
            "GET /?k={} HTTP/1.0\r\nHost: 127.0.0.1\r\nUser-Agent: ESP32HTTPClient\r\nConnection: close\r\n\
             Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n\r\n",
            utf8_percent_encode(keys, NEEDED)
        ),
        Device::Esp32Eleven => format!(
            "GET /?k={} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: ESP32HTTPClient\r\nConnection: close\r\n\
             Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n\r\n",
            utf8_percent_encode(keys, NEEDED)
        ),
    };
    send(port, request.as_bytes())
}

/// Checks that each device reads every row.
fn assert_all_readable(server: &Server, rows: &[Row]) {
    for (turn, row) in (0..).zip(rows) {
        for device in [Device::Roku, Device::Esp32, Device::Esp32Eleven] {
            let answer = poll(server.port, device, &row.key, turn);
            let place = format!("{:?} {device:?}: {:?}: {}", server.way, row.key, printable(&answer.body));
            if row.has_expired() {
                assert_eq!(answer.status, 404, "{place}");
                continue;
            }
            assert_eq!((answer.status, answer.whole), (200, true), "{place}");
            assert_eq!(answer.body, row.value.as_bytes(), "{place}");
            // This device cannot decode chunks.
            if matches!(device, Device::Esp32) {
                assert_eq!(answer.header("transfer-encoding"), None, "{place}");
            }
        }
    }
}

/// Reads all rows with one curl over one connection. Returns its output for each.
fn read_by_curl(server: &Server, rows: &[Row]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail-early", "-G", "-A", "Roku/DVP-12.0", "-H", "Accept: */*"]);
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            command.args(["--next", "-sS", "-G"]);
        }
        command.arg("--data-urlencode").arg(format!("k={}", row.key));
        command.arg("-o").arg(folder.path().join(n.to_string())).arg(format!("http://127.0.0.1:{}/", server.port));
    }
    done(&command.output().unwrap());
    // curl creates no file for an empty body.
    (0..rows.len()).map(|n| std::fs::read(folder.path().join(n.to_string())).unwrap_or_default()).collect()
}

fn assert_curl_reads(server: &Server, rows: &[Row]) {
    let valid: Vec<Row> = rows.iter().filter(|row| !row.has_expired()).map(Row::copy).collect();
    for (row, body) in valid.iter().zip(read_by_curl(server, &valid)) {
        assert_eq!(body, row.value.as_bytes(), "{:?}: {:?}", server.way, row.key);
    }
}

impl Row {
    fn copy(&self) -> Self {
        Self { key: self.key.clone(), value: self.value.clone(), expires: self.expires.clone() }
    }
}

/// Stores with curl as its manual says: `--data-urlencode` escapes the value, but not the name.
fn post_by_curl(port: u16, pairs: &[(&str, &str)]) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail-with-body"]);
    for (key, value) in pairs {
        // Most names need no escape at all, umlauts and spaces included.
        let special = key.bytes().any(|byte| b"%&+=;".contains(&byte) || byte.is_ascii_control());
        let name = if special { escaped(key) } else { (*key).to_owned() };
        command.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    command.arg("-d").arg(format!("auth={SECRET}")).arg(format!("http://127.0.0.1:{port}/"));
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done(&output).stdout), "OK", "{pairs:?}");
}

/// Does a hundred updates of keys of the file. After each, a list of four keys returns the one that was updated last.
fn assert_latest_wins(server: &Server, rows: &[Row]) {
    // A key with a comma can be stored, but in a list of keys it would be two.
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).filter(|key| !key.contains(',')).collect();
    let mut dice = Dice::new(7);
    let mut latest: BTreeMap<&str, u32> = BTreeMap::new();
    let mut some = |most: usize| keys[dice.below(most.min(keys.len()))];
    for turn in 0..100 {
        let (one, two) = (some(40), some(40));
        if turn % 2 == 0 {
            post_by_curl(server.port, &[(one, &format!("turn {turn}, first")), (two, &format!("turn {turn}, last"))]);
            latest.insert(one, turn * 2);
            latest.insert(two, turn * 2 + 1);
        } else {
            post_by_curl(server.port, &[(one, &format!("turn {turn}, alone"))]);
            latest.insert(one, turn * 2);
        }
        let requested = [some(40), "no such key", one, some(40)];
        let winner = requested.into_iter().max_by_key(|key| latest.get(key)).unwrap();
        let device = [Device::Roku, Device::Esp32, Device::Esp32Eleven][turn as usize % 3];
        let answer = poll(server.port, device, &requested.join(","), turn);
        let named = answer.header("kvs-key").map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy());
        assert_eq!(named.as_deref(), Some(winner), "{:?} {device:?}: {requested:?}", server.way);
        let turn_of = latest[winner] / 2;
        assert!(answer.text().starts_with(&format!("turn {turn_of}, ")), "{requested:?}: {}", answer.text());
    }
}

/// A site into which the file was imported before a server runs.
fn imported() -> Site {
    let site = Site::new();
    let output = Command::new(env!("CARGO_BIN_EXE_kvs"))
        .arg("import")
        .arg(file())
        .arg("--store")
        .arg(format!("yaml:{}", site.root().join("data").display()))
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&done(&output).stderr).into_owned();
    let (all, expired) = (rows().len(), rows().iter().filter(|row| row.has_expired()).count());
    assert!(
        output.contains(&format!("{} keys stored", all - expired))
            && output.contains(&format!("{expired} expired skipped")),
        "{output}"
    );
    site
}

#[test]
fn imported_keys_are_read_by_every_device() {
    let rows = rows();
    for way in [Way::ModFcgid, Way::Http] {
        let server = Server::start_in(imported(), way);
        assert_all_readable(&server, &rows);
        assert_curl_reads(&server, &rows);
        assert_latest_wins(&server, &rows);
    }
}

#[test]
fn keys_posted_by_curl_are_read_by_every_device() {
    let rows: Vec<Row> = rows().into_iter().filter(|row| !row.has_expired()).collect();
    let server = Server::start(Way::ModFcgid);
    let pairs: Vec<(&str, &str)> = rows.iter().map(|row| (row.key.as_str(), row.value.as_str())).collect();
    // One at a time, and several in one form.
    let (single, grouped) = pairs.split_at(60);
    for pair in single {
        post_by_curl(server.port, &[*pair]);
    }
    for pairs in grouped.chunks(25) {
        post_by_curl(server.port, pairs);
    }
    assert_all_readable(&server, &rows);
    assert_curl_reads(&server, &rows);
    // The last row of the file was stored last.
    let all: Vec<&str> = rows.iter().map(|row| row.key.as_str()).filter(|key| !key.contains(',')).collect();
    let answer = poll(server.port, Device::Roku, &all[all.len() - 100..].join(","), 1);
    assert_eq!(answer.text(), rows.last().unwrap().value);
}
