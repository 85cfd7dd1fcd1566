//! Measures two sides in turns.
//!
//! What always holds: in each round both sides run at nearly the same time, and the first side of a round is the second
//! one of the next, so that a busy machine slows both.

use std::time::{Duration, Instant};

/// Measures both sides once in each round.
pub(crate) fn in_turns<T>(rounds: usize, mut ours: impl FnMut() -> T, mut peer: impl FnMut() -> T) -> Vec<(T, T)> {
    let round = |round: usize| {
        if round.is_multiple_of(2) {
            let ours = ours();
            (ours, peer())
        } else {
            let peer = peer();
            (ours(), peer)
        }
    };
    (0..rounds).map(round).collect()
}

/// Repeats something for this time, each time with the next number. Returns how often it happened per second.
pub(crate) fn repeat(time: Duration, next: &mut usize, mut act: impl FnMut(usize)) -> f64 {
    let (start, first) = (Instant::now(), *next);
    while start.elapsed() < time {
        act(*next);
        *next += 1;
    }
    rate(*next - first, start)
}

/// The median; zero without values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The rate per second of something that happened `count` times since `start`.
pub(crate) fn rate(count: usize, start: Instant) -> f64 {
    float(count) / start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a count, rounded for people")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}
