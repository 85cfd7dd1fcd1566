//! kvs is killed while a value of 1 GiB goes in and the one before comes out: each value is whole or absent, and a sweep
//! leaves no part of it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Child;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::content::{as_digest, fill, name_of};
use super::gigabyte::{BLOCK, LENGTH, upload};
use super::transfer::{Download, answer, begin};
use super::{assert_sound, command, head, secret, start_with};
use crate::contention::Dice;
use crate::servers::{Server, Way};

const ROUNDS: u64 = 20;

/// When the server is killed.
enum Moment {
    AfterBytes(u64),
    /// After all bytes, and this time.
    AfterEnd(Duration),
}

impl Moment {
    /// In every fourth round the value is complete, and is just being named and committed.
    fn of(round: u64, dice: &mut Dice) -> Self {
        if round.is_multiple_of(4) {
            Self::AfterEnd(Duration::from_millis(dice.below(1_000) as u64))
        } else {
            Self::AfterBytes(dice.below(usize::try_from(LENGTH).unwrap()) as u64)
        }
    }
}

/// Stores version `seed` of the value, and kills the server at the given moment. Returns whether the write was
/// acknowledged.
fn store_until_killed(port: u16, seed: u64, moment: &Moment, mut server: Child) -> bool {
    let mut stream = begin(port, head("PUT", "film", &format!("Content-Length: {LENGTH}\r\n{}", secret())).as_bytes());
    let end = if let Moment::AfterBytes(bytes) = moment { *bytes } else { LENGTH };
    let mut block = vec![0; BLOCK];
    for offset in (0..LENGTH).step_by(BLOCK).take_while(|offset| *offset < end) {
        fill(seed, offset, &mut block);
        let rest = usize::try_from(end - offset).unwrap().min(BLOCK);
        stream.write_all(&block[..rest]).unwrap_or_else(|e| panic!("after {offset} bytes: {e}"));
    }
    if let Moment::AfterEnd(time) = moment {
        thread::sleep(*time);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    answer(stream).is_some_and(|answer| answer.status == 200 && answer.whole)
}

/// Reads the value, which is this version, until its end or until the server is killed. Returns the number of bytes.
fn read_until_killed(mut download: Download, seed: u64) -> u64 {
    let (mut expected, mut found) = (vec![0; BLOCK], vec![0; BLOCK]);
    for offset in (0..LENGTH).step_by(BLOCK) {
        fill(seed, offset, &mut expected);
        let count = download.read(&mut found);
        assert!(found[..count] == expected[..count], "other bytes after {offset}");
        if count < BLOCK {
            return offset + count as u64;
        }
    }
    LENGTH
}

fn digest_of(seed: u64) -> String {
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    for offset in (0..LENGTH).step_by(BLOCK) {
        fill(seed, offset, &mut block);
        hash.update(&block);
    }
    as_digest(&hash.finalize())
}

/// The digest and the length of the value.
fn found(server: &Server) -> (String, String) {
    let answer = server.send(head("HEAD", "film", "").as_bytes());
    let header = |name| answer.header(name).unwrap_or_else(|| panic!("{} {name}", answer.status)).to_owned();
    (header("repr-digest"), header("content-length"))
}

#[test]
fn a_gigabyte_is_stored_whole_or_not_at_all() {
    // It outlives the others, and sees what they have left.
    let server = start_with(Way::Http, 2 << 30);
    let mut dice = Dice::new(std::process::id().into());
    let (mut current, mut acknowledged) = (0, 0);
    let (answer, mut digest) = upload(server.port, current);
    assert_eq!(answer.map(|answer| answer.status), Some(201));
    for round in 1..=ROUNDS {
        let moment = Moment::of(round, &mut dice);
        let (port, second) = server.serve_second();
        let download = Download::open(port, &head("GET", "film", ""));
        let is_acknowledged = thread::scope(|scope| {
            scope.spawn(|| read_until_killed(download, current));
            store_until_killed(port, round, &moment, second)
        });
        acknowledged += u32::from(is_acknowledged);
        // Twenty interrupted uploads would fill a small disk.
        assert!(command(&server, &["sweep"]).status.success(), "round {round}");
        let (is, length) = found(&server);
        assert_eq!(length, LENGTH.to_string());
        if is == digest {
            assert!(!is_acknowledged, "round {round}: an acknowledged value is lost");
            continue;
        }
        (current, digest) = (round, digest_of(round));
        assert!(matches!(moment, Moment::AfterEnd(_)), "round {round}: a part of the value is stored");
        assert_eq!(is, digest, "round {round}");
        let download = Download::open(server.port, &head("GET", "film", ""));
        assert_eq!(read_until_killed(download, current), LENGTH, "round {round}");
    }
    eprintln!("{acknowledged} of {ROUNDS} values were acknowledged; version {current} is stored");
    // The check reads all bytes.
    assert_sound(&server, &BTreeSet::from([name_of(&digest)]));
}
