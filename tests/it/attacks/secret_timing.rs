//! The time of a response says nothing about a secret. A clock cannot show this on a busy machine, so valgrind counts
//! the instructions of each comparison: they depend on the guess alone, not on the secrets in `auth.txt`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::support::served::Served;

const TOOL: [&str; 6] = [
    "valgrind",
    "--tool=callgrind",
    "--quiet",
    "--callgrind-out-file=counts",
    "--toggle-collect=*SecretList::permission",
    "--dump-after=*SecretList::permission",
];

/// The secrets of one server. Those of the other have other lengths.
const FIRST: [&str; 3] = ["a-secret-of-some-length", "short", "another-one"];
const OTHER: [&str; 3] = ["x", "Zq7-a-secret-that-is-much-longer-than-the-first-one-of-the-other-file-is", "secret-3"];

fn write_first(folder: &Path) {
    write_auth(folder, FIRST);
}

fn write_other(folder: &Path) {
    write_auth(folder, OTHER);
}

fn write_auth(folder: &Path, secrets: [&str; 3]) {
    File::create(folder.join("auth.txt")).unwrap().write_all(secrets.join("\n").as_bytes()).unwrap();
}

/// A text of this length whose hash begins with the same `bytes` bytes as that of the secret.
fn with_similar_hash(secret: &str, bytes: usize) -> String {
    let wanted = Sha256::digest(secret);
    let length = secret.len();
    let candidates = (0_u64..).map(|number| format!("{number:0length$}"));
    let is_similar = |text: &String| text.len() == length && Sha256::digest(text)[..bytes] == wanted[..bytes];
    candidates.take(1 << 24).find(is_similar).expect("one of 16 million")
}

/// Wrong secrets of many lengths, and those that have something in common with the right ones.
fn guesses() -> Vec<String> {
    let mut all: Vec<String> = [1, 4, 5, 6, 22, 23, 24, 54, 55, 56, 63, 64, 65, 72, 118, 119, 120, 500]
        .map(|length| "~".repeat(length))
        .to_vec();
    for secret in [FIRST[0], OTHER[1]] {
        let mut beginnings: Vec<String> = [1, secret.len() / 2, secret.len() - 1]
            .map(|same| secret[..same].to_owned() + &"~".repeat(secret.len() - same))
            .to_vec();
        beginnings.push(secret[..secret.len() - 1].to_owned());
        beginnings.push(format!("{secret}~"));
        beginnings.push("~".to_owned() + &secret[1..]);
        all.extend(beginnings);
    }
    all.extend([1, 2].map(|bytes| with_similar_hash(FIRST[0], bytes)));
    all
}

/// The instructions of the comparison of each of these secrets.
fn counted(prepare: fn(&Path), secrets: &[String]) -> Vec<u64> {
    let flags = ["--store", "memory:", "--trusted-proxies", "127.0.0.1"];
    let mut served = Served::under(&TOOL, &flags, prepare);
    for (number, secret) in secrets.iter().enumerate() {
        // Each comes from its own address, so that none is paused.
        let headers = format!("X-Forwarded-For: 192.0.2.{number}\r\nX-KVS-Auth: {secret}");
        let request = format!("GET /kv/default HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n\r\n");
        let answer = served.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    served.terminate();
    assert!(served.ended(Duration::from_secs(60)).is_some_and(|status| status.success()));
    let count = |number: usize| {
        let text = std::fs::read_to_string(served.folder().join(format!("counts.{number}"))).ok()?;
        text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
    };
    let counts: Vec<u64> = (1..).map_while(count).collect();
    assert_eq!(counts.len(), secrets.len(), "each request compares its secret once");
    assert!(counts.iter().all(|count| *count > 500), "nothing was counted: {counts:?}");
    counts
}

/// The right secrets are among the guesses: it takes the same number of instructions to find that a secret is right, in
/// whichever line it is.
#[test]
fn comparison_of_secrets_takes_the_same_instructions_whatever_the_secrets_are() {
    let mut secrets = guesses();
    let wrong = secrets.len();
    secrets.extend(FIRST.iter().chain(&OTHER).map(|&secret| secret.to_owned()));
    let (first, other) = (counted(write_first, &secrets), counted(write_other, &secrets));
    let differing: Vec<_> = secrets.iter().zip(first.iter().zip(&other)).filter(|(_, (a, b))| a != b).collect();
    assert!(differing.is_empty(), "the time depends on the secrets: {differing:?}");
    for (secret, count) in secrets.iter().zip(&first) {
        let same_length = secrets[..wrong].iter().zip(&first).find(|(guess, _)| guess.len() == secret.len());
        if let Some((guess, of_guess)) = same_length {
            assert_eq!(count, of_guess, "{secret:?} and {guess:?}");
        }
    }
}
