//! The end of a log that was written only in part is kept in a file of its own.

use super::{Deed, append, file, keeping, values};
use crate::support::disks::crash_disk::CrashFs;
use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::open;

const SEEDS: u64 = 60;

/// What a killed writer left.
const TAIL: &str = "- {index: 1, continues: true, value: torn, updated: 2027-01-15T08:00:01Z}\n- {index: 2, val";

pub(super) fn torn() -> CrashFs {
    let disk = CrashFs::default();
    append(&open(disk.clone()), &["one"]).unwrap();
    let bytes = [&disk.bytes(&file()).unwrap(), TAIL.as_bytes()].concat();
    disk.put(&file(), &bytes);
    disk
}

/// Whether some file has the tail.
fn is_kept(disk: &CrashFs) -> bool {
    let holds = |bytes: Vec<u8>| bytes.windows(TAIL.len()).any(|part| part == TAIL.as_bytes());
    disk.names().iter().filter_map(|name| disk.bytes(name)).any(holds)
}

#[test]
fn torn_append_is_kept_by_everything_that_changes_the_file() {
    for deed in
        [values(&["next"]), keeping(values(&["next"]), Some(9)), keeping(values(&[]), Some(9)), Deed::Remove(Some(1))]
    {
        let disk = torn();
        deed.run(&open(disk.clone())).unwrap();
        assert!(is_kept(&disk), "{deed:?}: {:?}", disk.names());
    }
}

#[test]
fn torn_append_is_durable_elsewhere_before_it_is_cut_off() {
    for stop in 0..100 {
        let disk = torn();
        disk.stop_before(stop);
        let done = append(&open(disk.clone()), &["next"]).is_ok();
        for number in 0..SEEDS {
            let left = disk.crashed(&mut Seed::new(number));
            assert!(is_kept(&left), "stopped before change {stop}, seed {number}: the torn append is lost");
        }
        if done {
            return;
        }
    }
    panic!("it never ends");
}
