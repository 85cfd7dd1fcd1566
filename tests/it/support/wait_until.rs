//! Waiting for something that a server or a thread does soon.

use std::time::{Duration, Instant};

#[track_caller]
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
