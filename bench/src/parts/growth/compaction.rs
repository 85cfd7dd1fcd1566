//! How long writes take while a large file is compacted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{CONNECTIONS, LARGEST, PART};
use crate::client::{self, FORM};
use crate::row::Row;
use crate::run::Run;
use crate::servers::{SECRET, Servers};
use crate::wrk::Load;

/// The values that fill the log are as long as a value in the file may be, and there are so many in a form.
const VALUE_BYTES: usize = 60 << 10;
const VALUES: usize = 50;
/// The writes of a second, about. The log is filled until it lacks this much.
const REST_BYTES: u64 = 1 << 20;

pub(super) fn measure(run: &mut Run) {
    let servers = Servers::kvs(LARGEST, &[]);
    let file = servers.data().join("default.yaml");
    let load = Load::script(servers.port, CONNECTIONS, "post.lua", &["kvs", SECRET, "1000000"]);
    // The first read loads the file.
    client::answer(servers.port, &client::get(&format!("/?k={}", crate::data::key(0))));
    let figures: Vec<f64> =
        (0..run.options.long_rounds()).map(|round| slowest_while_compacting(&servers, &file, &load, round)).collect();
    let row = Row::limited(PART, "p99.9 of POST while 1,000,000 keys compact", "ms", 100.0);
    run.add(row.figures(figures));
}

/// Fills the log until it is nearly as long as the snapshot, then measures writes. One of them starts the compaction.
fn slowest_while_compacting(servers: &Servers, file: &Path, load: &Load, round: usize) -> f64 {
    // Without a log, so that the length of the file is that of its snapshot.
    servers.run_kvs(&["compact"]);
    let snapshot = fs::metadata(file).unwrap().len();
    let mut fill = 0;
    while fs::metadata(file).unwrap().len() + REST_BYTES < 2 * snapshot {
        let missing = 2 * snapshot - fs::metadata(file).unwrap().len() - REST_BYTES;
        let count = usize::try_from(missing).unwrap().div_ceil(VALUE_BYTES).min(VALUES);
        let pair = |at: usize| format!("&fill/{at}={}", format!("{round}-{fill:04}-").repeat(VALUE_BYTES / 8));
        let form: String = (0..count).map(pair).collect();
        client::answer(servers.port, &client::post("/", FORM, &format!("auth={SECRET}{form}")));
        fill += 1;
    }
    let before = fs::metadata(file).unwrap().ino();
    let report = load.run(std::time::Duration::from_secs(4));
    assert_eq!((report.failed, report.broken), (0, 0), "failed responses, broken connections");
    assert_ne!(fs::metadata(file).unwrap().ino(), before, "the file was not compacted");
    report.slowest_ms.unwrap()
}
