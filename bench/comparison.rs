//! Compares kvs with a peer, in turns, and prints a table of the results.
//!
//! What always holds: both run round by round at the same time, and each is first in half of the rounds, so that a busy
//! machine slows both. A figure is a rate: more is better. The ratio is the median of the ratios of the rounds.

use std::time::{Duration, Instant};

/// Prints the heading of a table.
pub(crate) fn heading(title: &str) {
    println!("\n{title}");
    println!("{:<46} {:>12} {:>12} {:>7} {:>13}  goal", "", "kvs", "peer", "ratio", "from-to");
}

/// Measures both once in each round and prints a line. `goal` is the lowest ratio that is good enough.
pub(crate) fn compare(
    name: &str,
    goal: Option<f64>,
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut peer: impl FnMut() -> f64,
) {
    let measured = (0..rounds).map(|round| {
        if round % 2 == 0 {
            let ours = ours();
            (ours, peer())
        } else {
            let peer = peer();
            (ours(), peer)
        }
    });
    line(name, goal, measured.collect());
}

/// Prints the line of pairs that were measured in turns: the rate of kvs and that of the peer.
pub(crate) fn line(name: &str, goal: Option<f64>, measured: Vec<(f64, f64)>) {
    let ratios = sorted(measured.iter().map(|(ours, peer)| ours / peer).collect());
    let (least, most) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
    let (ours, peer): (Vec<f64>, Vec<f64>) = measured.into_iter().unzip();
    println!(
        "{name:<46} {:>12.1} {:>12.1} {:>7.2} {:>13}  {}",
        median(ours),
        median(peer),
        median(ratios),
        format!("{least:.2}-{most:.2}"),
        goal.map_or(String::new(), |goal| format!("{goal:.2}")),
    );
}

/// The median; zero without values.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The rate per second of something that happened `count` times since `start`.
#[expect(clippy::cast_precision_loss, reason = "a count, rounded for people")]
pub(crate) fn rate(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

/// Whether `cargo bench` started this program. `cargo test --all-targets` starts benchmarks too, but must not run them.
pub(crate) fn is_benchmark() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether to run a part: if an argument after `cargo bench --bench NAME --` is a part of its name, or if there is
/// none.
pub(crate) fn is_selected(part: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| part.contains(&word))
}
