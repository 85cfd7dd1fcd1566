//! Several clients read a large value while it is replaced: each gets one version completely.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::content::{content, digest};
use super::{assert_blobs, assert_sound, get, names, stored, through_each_way};
use crate::servers::Server;

through_each_way! {
    readers_get_one_version_completely_while_it_is_replaced,
}

const READERS: usize = 3;
const VERSIONS: u64 = 12;

/// Of equal length, so that a mixture of two has the right length.
fn version(number: u64) -> Vec<u8> {
    content(number, 2_000_001)
}

/// Reads until `stop` is set. Returns what was read: the ETag and the digest of the bytes.
fn read(server: &Server, reader: usize, stop: &AtomicBool) -> Vec<(String, String)> {
    let mut seen = vec![];
    while !stop.load(Ordering::Relaxed) {
        // Some read only the second half, so that a file of another version is noticed there too.
        let from = if reader == 0 { 1_000_000 } else { 0 };
        let range = if from > 0 { format!("Range: bytes={from}-\r\n") } else { String::new() };
        let answer = get(server, "image", &range);
        let status = if from > 0 { 206 } else { 200 };
        assert_eq!((answer.status, answer.whole), (status, true), "{}", answer.text());
        let tag = answer.header("etag").unwrap().to_owned();
        seen.push((format!("{tag} from {from}"), digest(&answer.body)));
    }
    seen
}

fn readers_get_one_version_completely_while_it_is_replaced(server: &Server) {
    let stop = AtomicBool::new(false);
    let mut written = BTreeMap::new();
    let mut write = |number| {
        let (tag, value) = (stored(server, "image", &version(number)), version(number));
        for from in [0, 1_000_000] {
            written.insert(format!("{tag} from {from}"), digest(&value[from..]));
        }
    };
    write(0);
    let seen = thread::scope(|scope| {
        let stop = &stop;
        let readers: Vec<_> = (0..READERS).map(|reader| scope.spawn(move || read(server, reader, stop))).collect();
        (1..VERSIONS).for_each(&mut write);
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    for (what, digest) in &seen {
        assert_eq!(written.get(what), Some(digest), "{what} has other bytes than were written");
    }
    let versions: std::collections::BTreeSet<_> = seen.iter().map(|(_, digest)| digest).collect();
    assert!(versions.len() >= 3, "only {} versions were read; nothing was replaced meanwhile", versions.len());
    let last = version(VERSIONS - 1);
    assert_blobs(server, &[&last]);
    assert_sound(server, &names(&[&last]));
}
