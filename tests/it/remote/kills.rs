//! A server that is killed again and again while others write to it over HTTP: no acknowledged write is lost, none is
//! done twice, and what is unknown is reported as such.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvs::model::{Batch, Bucket, End, ErrorKind, Key, Returning, Write};
use kvs::remote::{RemoteOptions, RemoteStore};
use kvs::store::Store;

use super::SECRET;
use super::apache::Apache;

const KILLS: usize = 50;
const WRITERS: usize = 4;

/// What is known of the writes of a writer: those that were acknowledged, those that were certainly not done, and those
/// of which nobody knows.
#[derive(Default, Debug)]
struct History {
    done: Vec<u32>,
    not_done: Vec<u32>,
    unknown: Vec<u32>,
}

fn start(folder: &std::path::Path, port: u16) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs"));
    command.env_clear().env("KVS_HOME", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["serve", "--http", &format!("127.0.0.1:{port}")]).spawn().unwrap()
}

/// Appends numbers to a value until `stop` is set. If an append is done twice, its number is in the value twice.
async fn write(store: Arc<RemoteStore>, key: Key, stop: Arc<AtomicBool>) -> History {
    let mut history = History::default();
    for number in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let append = Write::Append { key: key.clone(), value: format!("{number};").into(), end: End::Append };
        match store.apply(&Bucket::default(), Batch::new(vec![append]).returning(Returning::Nothing)).await {
            Ok(_) => history.done.push(number),
            Err(error) if error.is_outcome_unknown() => {
                assert!(error.to_string().contains("unknown whether the write was done"), "{error}");
                history.unknown.push(number);
            }
            Err(error) => {
                assert!(error.kind() == ErrorKind::Busy && error.to_string().contains("nothing was"), "{error}");
                history.not_done.push(number);
            }
        }
    }
    history
}

async fn kill_under_writers(address: impl Fn(u16) -> String, options: RemoteOptions) {
    let folder = tempfile::tempdir().unwrap();
    let auth = std::fs::File::create(folder.path().join("auth.txt"));
    auth.and_then(|mut file| std::io::Write::write_all(&mut file, SECRET.as_bytes())).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = Arc::new(RemoteStore::new(address(port).parse().unwrap(), &options).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let key = |writer: usize| Key::new(&format!("trail/{writer}")).unwrap();
    let mut server = start(folder.path(), port);
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(Arc::clone(&store), key(n), Arc::clone(&stop)))).collect();
    for kill in 0..KILLS {
        // At different moments of a write.
        tokio::time::sleep(Duration::from_millis(60 + (kill as u64 * 37) % 90)).await;
        server.kill().unwrap();
        server.wait().unwrap();
        server = start(folder.path(), port);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = History::default();
    for (number, writer) in writers.into_iter().enumerate() {
        let history = writer.await.unwrap();
        let value = store.get_values(&Bucket::default(), &[key(number)]).await.unwrap().remove(0).unwrap();
        let trail: Vec<u32> =
            std::str::from_utf8(&value).unwrap().split_terminator(';').map(|n| n.parse().unwrap()).collect();
        assert!(trail.is_sorted_by(|a, b| a < b), "none was done twice: {trail:?}");
        for done in &history.done {
            assert!(trail.binary_search(done).is_ok(), "{done} was acknowledged and is lost");
        }
        for not_done in &history.not_done {
            assert!(trail.binary_search(not_done).is_err(), "{not_done} was done, but reported as not done");
        }
        all.done.extend(history.done);
        all.not_done.extend(history.not_done);
        all.unknown.extend(history.unknown);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(all.done.len() > KILLS && !all.unknown.is_empty(), "the kills hit writes: {} {all:?}", all.done.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_do_nothing_twice() {
    let options = RemoteOptions { secret: Some(SECRET.to_owned()), ..RemoteOptions::default() };
    kill_under_writers(|port| format!("http://127.0.0.1:{port}/"), options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_behind_apache_with_tls_neither() {
    let apache = Apache::shared();
    let root_certificates = Some(apache.certificate());
    let options = RemoteOptions { secret: Some(SECRET.to_owned()), root_certificates, ..RemoteOptions::default() };
    kill_under_writers(|port| apache.address(port), options).await;
}
