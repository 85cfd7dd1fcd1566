//! Finds a short list of steps that still fails: removes halves, then smaller parts, single steps, and faults.

use std::time::{Duration, Instant};

use super::plan::Plan;
use super::steps::{Fault, Step, What};

/// A failing plan, made as short as is possible within this time.
pub(super) fn shrink(plan: Plan, limit: Duration, fails: impl Fn(&Plan) -> bool) -> Plan {
    let end = Instant::now() + limit;
    let mut best = plan;
    loop {
        let before = size(&best);
        remove_steps(&mut best, end, &fails);
        remove_faults(&mut best, end, &fails);
        if size(&best) == before || Instant::now() >= end {
            return best;
        }
    }
}

fn size(plan: &Plan) -> usize {
    plan.steps.iter().map(|step| 1 + step.faults()).sum()
}

fn remove_steps(best: &mut Plan, end: Instant, fails: impl Fn(&Plan) -> bool) {
    let mut length = best.steps.len().div_ceil(2);
    while length > 0 {
        let mut from = 0;
        while from < best.steps.len() && Instant::now() < end {
            let mut shorter = best.clone();
            shorter.steps.drain(from..best.steps.len().min(from + length));
            if fails(&shorter) {
                *best = shorter;
            } else {
                from += length;
            }
        }
        length /= 2;
    }
}

/// The faults of a step, and of the step within one of them.
fn remove_faults(best: &mut Plan, end: Instant, fails: impl Fn(&Plan) -> bool) {
    for at in 0..best.steps.len() {
        let mut number = 0;
        while Instant::now() < end {
            let mut simpler = best.clone();
            if !remove_fault(&mut simpler.steps[at], number) {
                break;
            }
            if fails(&simpler) {
                *best = simpler;
            } else {
                number += 1;
            }
        }
    }
}

/// Removes the fault of this number. Returns false if there is none.
fn remove_fault(step: &mut Step, number: usize) -> bool {
    let Step::Do { faults, .. } = step else { return false };
    if number < faults.len() {
        faults.remove(number);
        return true;
    }
    let mut number = number - faults.len();
    for Fault { what, .. } in faults {
        if let What::Meanwhile { step, .. } = what
            && let Step::Do { faults, .. } = &mut **step
        {
            if number < faults.len() {
                faults.remove(number);
                return true;
            }
            number -= faults.len();
        }
    }
    false
}

#[test]
fn a_failing_list_of_steps_is_shrunk_to_those_that_matter() {
    let steps = (0..57).map(|milliseconds| Step::Pass { milliseconds }).collect();
    let has = |plan: &Plan, wanted: u64| {
        plan.steps.iter().any(|step| matches!(step, Step::Pass { milliseconds } if *milliseconds == wanted))
    };
    let shrunk = shrink(Plan { processes: 1, steps }, Duration::from_secs(60), |plan| has(plan, 3) && has(plan, 41));
    assert_eq!(shrunk.steps.len(), 2, "{shrunk:?}");
}
