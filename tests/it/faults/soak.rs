//! Random faults, one after another, until the time in `SOAK_SECONDS` is over.

use std::time::{Duration, Instant};

use super::call_faults::CALLS;
use super::disk_faults::DISK;
use super::file_faults::FILES;
use super::nothing_lost::can_run;
use super::other_faults::OTHERS;
use super::scenario::run;
use super::table::Fault;
use crate::support::disks::seed::Seed;

#[test]
fn random_faults_lose_nothing_until_the_time_is_over() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(0, |text| text.parse().expect("a number of seconds"));
    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let faults: Vec<Fault> =
        [&DISK[..], &CALLS, &FILES, &OTHERS].into_iter().flatten().copied().filter(can_run).collect();
    let mut dice = Seed::new(u64::from(std::process::id()));
    let (mut count, mut acknowledged, mut lost, mut failed) = (0, 0, 0, 0);
    loop {
        let fault = faults[dice.below(faults.len())];
        let tally = run(&fault);
        count += 1;
        acknowledged += tally.acknowledged;
        lost += tally.lost;
        failed += tally.failed_without_a_fault;
        if start.elapsed() >= time {
            break;
        }
    }
    println!("soak faults: faults {count}, acknowledged {acknowledged}, lost {lost}, failed without a fault {failed}");
    assert_eq!((lost, failed), (0, 0));
}
