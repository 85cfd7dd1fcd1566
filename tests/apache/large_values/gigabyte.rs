//! A value of 1 GiB goes through kvs, which needs little memory for it. The test does not hold it either.

use std::fs;
use std::io::Write;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::content::{as_digest, fill};
use super::transfer::{Download, answer, begin};
use super::{assert_blobs, delete, head, secret, start_with};
use crate::client::Answer;
use crate::servers::{Server, Way};

/// The default of `LimitRequestBody` of Apache, too.
pub(super) const LENGTH: u64 = 1 << 30;
pub(super) const BLOCK: usize = 1 << 18;
const SEED: u64 = 0xB16;
const MAX_MEMORY_KB: u64 = 100_000;

/// Stores the value of a seed. Returns the response and the digest of what was sent.
pub(super) fn upload(port: u16, seed: u64) -> (Option<Answer>, String) {
    let headers = format!("Content-Length: {LENGTH}\r\nContent-Type: video/mp4\r\n{}", secret());
    let mut stream = begin(port, head("PUT", "film", &headers).as_bytes());
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    for offset in (0..LENGTH).step_by(BLOCK) {
        fill(seed, offset, &mut block);
        hash.update(&block);
        stream.write_all(&block).unwrap_or_else(|e| panic!("after {offset} bytes: {e}"));
    }
    (answer(stream), as_digest(&hash.finalize()))
}

/// Reads the value, and compares each byte. Returns the head of the response.
fn download(port: u16) -> Answer {
    let mut download = Download::open(port, &head("GET", "film", ""));
    let (mut expected, mut found) = (vec![0; BLOCK], vec![0; BLOCK]);
    for offset in (0..LENGTH).step_by(BLOCK) {
        fill(SEED, offset, &mut expected);
        let count = download.read(&mut found);
        assert!(count == BLOCK && found == expected, "other bytes after {offset}; {count} were read");
    }
    assert_eq!(download.read(&mut found), 0, "more bytes than were stored");
    download.head
}

/// The most memory that kvs has used so far.
fn peak_memory_kb(server: &Server) -> u64 {
    let programs = server.site.programs();
    assert_eq!(programs.len(), 1, "{programs:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", programs[0].0)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn a_gigabyte_in_and_out(way: Way) {
    let server = start_with(way, 2 << 30);
    let begun = Instant::now();
    let (answer, digest) = upload(server.port, SEED);
    let answer = answer.expect("a response");
    assert_eq!((answer.status, answer.text()), (201, "OK".into()));
    let after_upload = peak_memory_kb(&server);
    let uploaded = begun.elapsed();
    let head = download(server.port);
    assert_eq!(head.status, 200);
    for (name, expected) in
        [("content-length", LENGTH.to_string()), ("content-type", "video/mp4".to_owned()), ("repr-digest", digest)]
    {
        assert_eq!(head.header(name), Some(expected.as_str()), "{name}");
    }
    let peak = peak_memory_kb(&server);
    eprintln!("{way:?}: in {uploaded:?}, {after_upload} kB; in and out {:?}, {peak} kB", begun.elapsed());
    assert!(peak < MAX_MEMORY_KB, "{after_upload} kB after the upload, {peak} kB in the end");
    assert_eq!(delete(&server, "film").status, 200);
    assert_blobs(&server, &[]);
}

#[test]
fn a_gigabyte_over_plain_http_needs_little_memory() {
    a_gigabyte_in_and_out(Way::Http);
}

#[test]
fn a_gigabyte_through_mod_proxy_fcgi_needs_little_memory() {
    a_gigabyte_in_and_out(Way::ModProxyFcgi);
}
