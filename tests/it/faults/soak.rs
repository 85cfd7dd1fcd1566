//! Random faults, one after another: one, or as many as there is time for in `make soak`.

use std::time::Instant;

use super::call_faults::CALLS;
use super::disk_faults::{DISK, DISK_CALLS};
use super::file_faults::FILES;
use super::nothing_lost::can_run;
use super::other_faults::OTHERS;
use super::scenario::run;
use super::table::Fault;
use crate::support::disks::seed::Seed;
use crate::support::tally::{Tally, soak_end};

#[test]
fn random_faults_lose_nothing_until_the_time_is_over() {
    let end = soak_end();
    let faults: Vec<Fault> =
        [&DISK[..], &DISK_CALLS, &CALLS, &FILES, &OTHERS].into_iter().flatten().copied().filter(can_run).collect();
    let (mut dice, mut sum) = (Seed::new(u64::from(std::process::id())), Tally::default());
    loop {
        sum.add(run(&faults[dice.below(faults.len())]));
        if end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    sum.print("faults");
    assert!(sum.is_good(), "{sum:?}");
}
