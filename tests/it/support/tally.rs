//! What a long test has seen, and the line that `make soak` adds up. Also included by the tests with real web servers.

use std::time::{Duration, Instant};

/// Counts of a long test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Faults that were caused: failed calls, kills, power cuts, restarts.
    pub(crate) faults: u64,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged writes that are missing, and reads of what was never written.
    pub(crate) lost: u64,
    /// Requests that failed although nothing had been done to the server.
    pub(crate) failed: u64,
}

impl Tally {
    /// Adds the counts of another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.failed += other.failed;
    }

    /// Whether nothing was lost, and nothing failed without a fault.
    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.failed == 0
    }

    /// The line that `tests/soak.sh` reads.
    pub(crate) fn line(&self, name: &str) -> String {
        let Self { faults, acknowledged, lost, failed } = self;
        format!(
            "soak {name}: faults {faults}, acknowledged {acknowledged}, lost {lost}, failed without a fault {failed}"
        )
    }

    /// Prints the line if this is a long run.
    pub(crate) fn print(&self, name: &str) {
        if soak_end().is_some() {
            // A line of its own, also after the name of a test.
            println!("\n{}", self.line(name));
        }
    }
}

/// When a long run ends: `SOAK_SECONDS` from now; `None` in `make test`.
pub(crate) fn soak_end() -> Option<Instant> {
    let seconds = std::env::var("SOAK_SECONDS").ok()?;
    Some(Instant::now() + Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number")))
}

#[test]
fn the_line_of_a_long_run_has_the_form_that_is_added_up() {
    let tally = Tally { faults: 1, acknowledged: 2, lost: 3, failed: 4 };
    let mut sum = tally;
    sum.add(tally);
    assert_eq!(sum.line("x"), "soak x: faults 2, acknowledged 4, lost 6, failed without a fault 8");
}
