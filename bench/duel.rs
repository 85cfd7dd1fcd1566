//! Two contestants in turns, and a table of what came out.
//!
//! What always holds: both run in the same process time, round by round, each as often first as second, so that a busy
//! machine slows both. A figure is a rate: more is better. The ratio is the median of the rounds' ratios.

use std::time::{Duration, Instant};

/// Prints the heading of a table.
pub(crate) fn heading(title: &str) {
    println!("\n{title}");
    println!("{:<46} {:>12} {:>12} {:>7} {:>13}  goal", "", "kvs", "peer", "ratio", "from-to");
}

/// Measures both once for each round and prints a line. `goal` is the least ratio that was aimed at.
pub(crate) fn duel(
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

/// Prints the line of pairs that were measured in turns: ours, and the peer's.
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

/// The middle one; zero of none.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// How often a second something happened that happened so often since `start`.
#[expect(clippy::cast_precision_loss, reason = "a count, rounded for people")]
pub(crate) fn rate(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

/// Whether this was started by `cargo bench`. `cargo test --all-targets` starts benches too, only to see them start.
pub(crate) fn wanted() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether a part was asked for: by a word of its name behind `cargo bench --bench NAME --`, or all without a word.
pub(crate) fn asked(part: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| part.contains(&word))
}
