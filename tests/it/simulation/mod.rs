//! Seeded runs of random operations on the store of files, with faults of the disk, kills and power cuts, compared with a
//! model.
//!
//! `plan` chooses the steps of a run from its seed, `game` does them, `known_bucket`, `uncertain_revisions` and `known_log`
//! say what must hold. A run is a function of its steps. If one fails, `shrink` finds fewer steps that fail too. The test
//! prints the seed, these steps, and how to run them again: `KVS_SEED=123 cargo test --test it simulation::`.

mod by_hand;
mod content;
mod faulty_disk;
mod faulty_file;
mod game;
mod known_bucket;
mod known_log;
mod operations;
mod plan;
mod shrink;
mod steps;
mod uncertain_revisions;
mod upkeep;

use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::game::Game;
use self::plan::{Plan, plan};
use crate::support::tally::{self, Tally};

/// The seeds of `make test`.
const SEEDS: u64 = 300;

/// The time to make a failing run shorter.
const SHRINKING: Duration = Duration::from_secs(60);

/// Does the steps. The error says what is wrong.
fn run(plan: &Plan, seed: u64) -> Result<Tally, String> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let game = Game::new(plan.processes);
        let stopped = plan.steps.iter().position(|step| !game.step(step));
        if stopped.is_none() {
            game.finish(seed);
        }
        let faults = game.disk().hits() as u64;
        let acknowledged = game.acknowledged.load(Ordering::SeqCst) as u64;
        match game.failure() {
            Some(text) => Err(stopped.map_or("at the end".into(), |step| format!("step {}", step + 1)) + ": " + &text),
            None => Ok(Tally { faults, acknowledged, ..Tally::default() }),
        }
    }));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!("panicked: {}", text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()))
    })
}

/// The first words of a failure, so that a run is not shrunk to one that fails for another reason.
fn kind(text: &str) -> &str {
    let text = text.split_once(": ").map_or(text, |(_, reason)| reason);
    text.split(|c: char| !c.is_alphabetic() && c != ' ').next().unwrap_or_default()
}

/// Runs a seed. A failure is shrunk and reported.
fn try_seed(seed: u64) -> Result<Tally, String> {
    let plan = plan(seed);
    run(&plan, seed).map_err(|first| {
        let is_same = |text: String| kind(&text) == kind(&first);
        let shrunk = shrink::shrink(plan, SHRINKING, |plan| run(plan, seed).is_err_and(is_same));
        let text = run(&shrunk, seed).err().unwrap_or_else(|| "it does not fail each time".into());
        let steps: String =
            shrunk.steps.iter().enumerate().map(|(n, step)| format!("  {}: {step:?}\n", n + 1)).collect();
        format!(
            "seed {seed} fails: {first}\n\nThese steps of {} processes fail too:\n{steps}{text}\n\nTo repeat it: KVS_SEED={seed} \
             cargo test --test it simulation::",
            shrunk.processes
        )
    })
}

/// Runs the seeds FROM-TO, without the last one, and lists those that fail.
fn try_seeds(seeds: &str) {
    let ends = seeds.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let (from, to): (u64, u64) = ends.expect("KVS_SEEDS is like 0-1000");
    let fails = |seed: &u64| run(&plan(*seed), *seed).inspect_err(|text| println!("SEED {seed}: {text}")).is_err();
    let failed: Vec<u64> = (from..to).filter(fails).collect();
    assert!(failed.is_empty(), "of {} seeds these fail: {failed:?}", to - from);
}

/// Runs new seeds on all cores until the time is up, or until one fails.
fn soak(end: Instant) -> Tally {
    // Other seeds than last time.
    let next = AtomicU64::new(u64::from(std::process::id()) << 32);
    let sum = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while Instant::now() < end && sum.lock().is_good() {
                    let done = try_seed(next.fetch_add(1, Ordering::SeqCst)).unwrap_or_else(|text| {
                        println!("{text}");
                        let failed = u64::from(text.contains("failed without a fault"));
                        Tally { lost: 1 - failed, failed, ..Tally::default() }
                    });
                    sum.lock().add(done);
                }
            });
        }
    });
    sum.into_inner()
}

#[test]
fn random_operations_with_faults_leave_what_was_acknowledged() {
    if let Ok(seed) = std::env::var("KVS_SEED") {
        let tally = try_seed(seed.parse().expect("KVS_SEED is a number")).unwrap_or_else(|text| panic!("{text}"));
        return println!("seed {seed} passes: {tally:?}");
    }
    if let Ok(seeds) = std::env::var("KVS_SEEDS") {
        return try_seeds(&seeds);
    }
    if let Some(end) = tally::soak_end() {
        let sum = soak(end);
        sum.print("simulation");
        return assert!(sum.is_good(), "{sum:?}");
    }
    let mut sum = Tally::default();
    for seed in 0..SEEDS {
        sum.add(try_seed(seed).unwrap_or_else(|text| panic!("{text}")));
    }
    // Otherwise the test proves little.
    assert!(sum.faults > SEEDS && sum.acknowledged > SEEDS * 5, "{sum:?}");
}
